"""A running appliance: start it, let its shell do things, end it."""

import importlib.util
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import TimeoutExpired
from types import TracebackType
from typing import Any, Self

from assembler.appliance import accelerator, worker
from assembler.appliance.accelerator import Accelerator
from assembler.appliance.faults import cause, kvm_failed, last_resort, write_failed
from assembler.appliance.logbook import Logbook
from assembler.appliance.resources import DEFAULT_CACHE, memory_for, processors
from assembler.errors import HostError
from assembler.host import process
from assembler.host.progress import Progress, Step
from assembler.host.scratch import scratch_directory
from assembler.host.temporary import temporary_directory
from assembler.units import SECTOR, format_size

log = logging.getLogger(__name__)

# Without KVM, the string instructions that these features (of Linux arch/x86/include/asm/
# cpufeatures.h: 32 a word) recommend for copying are the slowest way: QEMU emulates them
# byte by byte. Without them a kernel copies by plain loads and stores, a third faster on the whole.
_SLOW_COPIES = "clearcpuid=297,580,112"  # erms, fsrm, rep_good
# In a machine that runs nothing but us there is nobody to be protected from.
_UNGUARDED = "mitigations=off init_on_alloc=0"
_PATIENCE = 15  # seconds for an appliance to clear up before it is killed
_TAIL_LINES = 12  # of what a failed script said
_LONGEST_RUNTIME_PATH = 70  # bytes: a socket's path has 108 (unix(7)), libguestfs adds its own
# Where the disks are on the appliance's PCI bus, so that they are /dev/vda, /dev/vdb in this order.
_FIRST_SLOT = 0x10


@dataclass(frozen=True, slots=True)
class Disk:
    """A raw image to attach: the first is /dev/vda in the appliance, the second /dev/vdb."""

    path: Path
    read_only: bool = False
    sector_size: int = SECTOR  # bytes

    def options(self, slot: int) -> list[str]:
        """QEMU's `-device` and `-drive` for it."""
        # What the image gets is flushed once, when it is finished. A full disk is an I/O error:
        # by default QEMU would stop the machine and wait for somebody.
        how = "readonly=on" if self.read_only else "discard=unmap,werror=report"
        file = os.fsdecode(self.path).replace(",", ",,")
        # libguestfs sets the property `scsi` of virtio-blk-pci, which QEMU 9.1 dropped, so that no
        # such device starts. This kind of the same device gets no property.
        return [
            f"virtio-blk-pci-non-transitional,drive=disk{slot},addr={_FIRST_SLOT + slot:#x},"
            f"logical_block_size={self.sector_size},physical_block_size={self.sector_size}",
            f"file={file},format=raw,if=none,id=disk{slot},cache=unsafe,{how}",
        ]


def problems() -> list[str]:
    """What this host lacks for an appliance, one line each."""
    if importlib.util.find_spec("guestfs") is None:
        return [
            "libguestfs's Python binding is not installed: it is in the package python3-guestfs "
            "(Debian) or libguestfs (nixpkgs)"
        ]
    return []


class Appliance:
    """An appliance with the disks given; a context manager that never leaves one running.

    All failures are HostError, with cause, remedy and the place of the log.
    """

    def __init__(
        self, disks: Sequence[Disk], asked: Accelerator, progress: Progress, *, memory: int = 0
    ) -> None:
        """`memory` is what the work may take, in bytes, besides what any appliance does."""
        self._disks, self._asked, self._progress = disks, asked, progress
        self._scratch = scratch_directory()
        self._directory = Path(self._scratch.name)
        self._log = Logbook(self._directory / "log")
        self._memory = os.environ.get("LIBGUESTFS_MEMSIZE", "") or str(memory_for(memory))
        cache = os.environ.get("LIBGUESTFS_CACHEDIR") or DEFAULT_CACHE
        self._cache = cache if os.access(cache, os.W_OK) else str(self._directory)
        self._worker: process.Running | None = None
        self._started = False

    def __enter__(self) -> Self:
        try:
            with self._progress.step("starting the appliance", total=100, unit="%") as step:
                self._start(step)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def sh(self, script: str, *, what: str, heard: Callable[[str], None] | None = None) -> str:
        """Let the appliance's shell run `script`, until a command fails, and give what it prints.

        `heard` gets every line that is written to /dev/console meanwhile. Raises HostError.
        """
        answer = self._call({"sh": f"set -e\n{script}"}, heard)
        if "error" in answer:
            raise self._failure(what, answer)
        return str(answer["done"])

    def shutdown(self) -> None:
        """End the appliance in good order, with all in the images; otherwise raises HostError."""
        answer = self._call({"shutdown": True})
        if "error" in answer or write_failed(self._log.said()):
            answer.setdefault("error", "the image could not be written")
            raise self._failure("ending the appliance", answer)

    def _start(self, step: Step) -> None:
        ways = accelerator.attempts(self._asked)
        without_kvm = passing = ""
        for way in ways:
            answer = self._launch(way, step)
            if "error" not in answer:
                break
            log.debug("launch with %s: %s", way, answer["error"])
            if way is not ways[-1]:
                self._end_worker()  # so that the log has QEMU's last words
                message = str(answer["error"])
                without_kvm = kvm_failed(f"{message}\n{self._log.said()}")
                # What is known to come of something else may not come again.
                passing = "" if without_kvm else self._cause(message)
        else:
            # Once more, for the words that libguestfs holds back unless it is told to say all.
            self._end_worker()
            answer = self._launch(way, step, verbose=True)
            if "error" in answer:
                raise self._failure("starting the appliance", answer)
        self._started = True
        self._memory = str(answer["done"])
        if way is not ways[0]:
            why = without_kvm or passing or "QEMU died"
            log.warning("the appliance does not start with KVM (%s): going on without it", why)
        if Accelerator.KVM in ways and not passing:
            accelerator.remember(kvm_fails=way is not Accelerator.KVM)

    def _launch(self, way: Accelerator, step: Step, *, verbose: bool = False) -> dict[str, Any]:
        found = importlib.util.find_spec("guestfs")
        assert found is not None
        assert found.origin is not None
        if way is Accelerator.KVM:
            accelerator.forget_what_libguestfs_learnt(Path(self._cache))
        self._log.begin_launch()
        self._start_worker()
        options = {
            "binding": str(Path(found.origin).parent),
            "settings": way.backend_settings,
            "disks": [disk.options(slot) for slot, disk in enumerate(self._disks)],
            "processors": processors(),
            "memory": None if os.environ.get("LIBGUESTFS_MEMSIZE") else int(self._memory),
            "append": f"{_UNGUARDED} {_SLOW_COPIES}" if way is Accelerator.TCG else _UNGUARDED,
            "cache": self._cache,
            "verbose": verbose or log.isEnabledFor(logging.DEBUG),
        }
        return self._call({"launch": options}, None, step)

    def _start_worker(self) -> None:
        environment = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(("LIBGUESTFS_", "SUPERMIN_")) and value  # "" is an error to it
        }
        # QEMU, too, leaves a file there when it is killed early.
        environment |= {
            "LIBGUESTFS_TMPDIR": str(self._directory),
            "TMPDIR": str(self._directory),
        }
        if len(os.fsencode(self._directory)) <= _LONGEST_RUNTIME_PATH:
            environment |= {"XDG_RUNTIME_DIR": str(self._directory)}
        with self._log.path.open("ab") as said:
            self._worker = process.start(
                [sys.executable, "-I", worker.__file__],
                stdin=process.PIPE,
                stdout=process.PIPE,
                stderr=said.fileno(),
                env=environment,
            )

    def _call(
        self,
        request: dict[str, object],
        heard: Callable[[str], None] | None = None,
        step: Step | None = None,
    ) -> dict[str, Any]:
        """Send a request and wait for its answer, listening to what comes before it."""
        assert self._worker is not None
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        with suppress(BrokenPipeError):
            self._worker.stdin.write(json.dumps(request).encode() + b"\n")
            self._worker.stdin.flush()
        done = 0
        for raw in self._worker.stdout:
            match json.loads(raw):
                case {"line": line}:
                    log.debug("appliance: %s", line)
                    if heard is not None:
                        heard(line)
                case {"progress": [position, total]} if step is not None and total:
                    step.advance(100 * position // total - done)
                    done = 100 * position // total
                case {"progress": _}:
                    pass
                case answer:
                    assert isinstance(answer, dict)
                    return answer
        return {"error": "libguestfs's process ended", "alive": False}

    def _failure(self, what: str, answer: dict[str, Any]) -> HostError:
        """The error for a failed request; the log is put where it stays."""
        message = str(answer["error"]).removeprefix("debug: ").strip()
        alive = bool(answer.get("alive"))
        if not alive:
            self._end_worker()  # so that the log has its last words
        known = self._cause(message)
        if alive and not known:
            first, *tail = message.splitlines()[-_TAIL_LINES:] or [""]
            return HostError(f"{what}: {first}", *tail, self._log.keep(message))
        why = known or last_resort(message, started=self._started)
        return HostError(f"{what}: {why}; {self._log.keep(message)}")

    def _cause(self, message: str) -> str:
        image = self._disks[0].path.resolve().parent
        facts = {
            "memory": self._memory,
            "path": os.environ.get("LIBGUESTFS_PATH", ""),
            "cache": self._cache,
            "tmpdir": str(temporary_directory()),
            "image": str(image),
            "free": format_size(shutil.disk_usage(image).free),
        }
        return cause(f"{message}\n{self._log.said()}", facts, started=self._started)

    def _end(self) -> None:
        self._end_worker()
        self._scratch.cleanup()

    def _end_worker(self) -> None:
        """End libguestfs's process and QEMU with it, however far they are."""
        running, self._worker = self._worker, None
        if running is None:
            return
        for pipe in (running.stdin, running.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        try:
            running.wait(_PATIENCE)
        except TimeoutExpired:
            pass
        finally:
            process.kill_group(running)
