"""A running appliance: start it, run scripts in its shell, end it."""

import importlib.util
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from assembler.appliance import accelerator
from assembler.appliance.accelerator import Accelerator
from assembler.appliance.faults import (
    TOO_SLOW,
    cause,
    kvm_failed,
    last_resort,
    too_slow_without_kvm,
    write_failed,
)
from assembler.appliance.logbook import Logbook
from assembler.appliance.resources import DEFAULT_CACHE, memory_for, processors
from assembler.appliance.worker_process import WorkerProcess
from assembler.errors import HostError, Message
from assembler.host.progress import Progress, Step
from assembler.host.scratch import scratch_directory
from assembler.host.temporary import temporary_directory
from assembler.units import SECTOR, format_size

log = logging.getLogger(__name__)

# Without KVM, the string instructions that these features (of Linux arch/x86/include/asm/
# cpufeatures.h: 32 a word) recommend for copying are the slowest way: QEMU emulates them
# byte by byte. Without them a kernel copies by plain loads and stores, a third faster on the whole.
_SLOW_COPIES = "clearcpuid=297,580,112"  # erms, fsrm, rep_good
# A machine that runs only our programs needs no protection from others.
_UNGUARDED = "mitigations=off init_on_alloc=0"
# Seconds in which an appliance must start with KVM: before it is tried without, and where it must
# have KVM. Some hosts have a KVM that is broken, or slower than emulation; with one that works the
# start takes a few seconds. Without KVM it takes ten, and minutes on a busy host.
_LIMIT_BEFORE_TCG = 40
_LIMITS = {Accelerator.KVM: 120, Accelerator.TCG: 1800}
_TAIL_LINES = 12  # of the output of a failed script
# Where the disks are on the appliance's PCI bus, so that they are /dev/vda, /dev/vdb in this order.
_FIRST_SLOT = 0x10


@dataclass(frozen=True, slots=True)
class AttachedDisk:
    """A raw image to attach: the first is /dev/vda in the appliance, the second /dev/vdb."""

    path: Path
    read_only: bool = False
    sector_size: int = SECTOR  # bytes

    def options(self, slot: int) -> list[str]:
        """QEMU's `-device` and `-drive` for it."""
        # The image is flushed once, when it is finished. A full disk is an I/O error: by default
        # QEMU would stop the machine and wait for a user.
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
    """An appliance with some disks; a context manager that never leaves one running.

    All failures are HostError, with cause, remedy and the place of the log.
    """

    def __init__(
        self,
        disks: Sequence[AttachedDisk],
        asked: Accelerator,
        progress: Progress,
        *,
        memory: int = 0,
    ) -> None:
        """`memory` is what the work may take, in bytes, beside the needs of any appliance."""
        self._disks, self._asked, self._progress = disks, asked, progress
        self._scratch = scratch_directory()
        self._directory = Path(self._scratch.name)
        self._log = Logbook(self._directory / "log")
        self._memory = os.environ.get("LIBGUESTFS_MEMSIZE", "") or str(memory_for(memory))
        cache = os.environ.get("LIBGUESTFS_CACHEDIR") or DEFAULT_CACHE
        self._cache = cache if os.access(cache, os.W_OK) else str(self._directory)
        self._worker = WorkerProcess(self._log.path, self._directory)
        self._started = False

    def __enter__(self) -> Self:
        try:
            with self._progress.step("starting the appliance", total=100, unit="%") as step:
                self._start(step)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def sh(self, script: str, *, what: str, on_line: Callable[[str], None] | None = None) -> str:
        """Run `script` in the appliance's shell, until a command fails, and return what it prints.

        `on_line` gets every line that is written to /dev/console meanwhile. Raises HostError.
        """
        answer = self._worker.call({"sh": f"set -e\n{script}"}, on_line)
        if "error" in answer:
            raise self._failure(what, answer)
        return str(answer["done"])

    def shutdown(self) -> None:
        """End the appliance in good order, with all in the images; otherwise raises HostError."""
        answer = self._worker.call({"shutdown": True})
        if "error" in answer or write_failed(self._log.text()):
            answer.setdefault("error", "the image could not be written")
            raise self._failure("ending the appliance", answer)

    def _start(self, step: Step) -> None:
        *better, last = accelerator.attempts(self._asked)
        why = ""
        for way in better:
            answer = self._launch(way, step, limit=_LIMIT_BEFORE_TCG)
            if "error" not in answer:
                break
            log.debug("launch with %s: %s", way, answer["error"])
            self._worker.end()  # which completes the log
            why = self._without_kvm(str(answer["error"]))
        else:
            answer = self._launch_last(last, step)
        self._started = True
        self._memory = str(answer["done"])
        if why:
            log.warning("the appliance does not start with KVM (%s): going on without it", why)

    def _launch_last(self, way: Accelerator, step: Step) -> dict[str, Any]:
        """Launch where no other way is left; raises HostError."""
        limit = _LIMITS[way]
        answer = self._launch(way, step, limit=limit)
        if "error" in answer and not self._worker.was_too_slow:
            # Once more: libguestfs prints some messages in its verbose mode only.
            self._worker.end()
            answer = self._launch(way, step, limit=limit, verbose=True)
        if self._worker.was_too_slow and way is Accelerator.TCG:
            answer["error"] = too_slow_without_kvm(limit)
        if "error" in answer:
            raise self._failure("starting the appliance", answer)
        return answer

    def _without_kvm(self, message: str) -> str:
        """Why the appliance did not start with KVM, in a few words."""
        if self._worker.was_too_slow:
            return TOO_SLOW
        known = kvm_failed(f"{message}\n{self._log.text()}") or self._cause(message)
        return known or "QEMU died"

    def _launch(
        self, way: Accelerator, step: Step, *, limit: float, verbose: bool = False
    ) -> dict[str, Any]:
        found = importlib.util.find_spec("guestfs")
        assert found is not None
        assert found.origin is not None
        self._log.begin_launch()
        self._worker.start()
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
        return self._worker.call({"launch": options}, None, step, limit)

    def _failure(self, what: str, answer: dict[str, Any]) -> HostError:
        """The error for a failed request; the log is put where it stays."""
        message = str(answer["error"]).removeprefix("debug: ").strip()
        alive = bool(answer.get("alive"))
        if not alive:
            self._worker.end()  # so that the log is complete
        known = self._cause(message)
        if alive and not known:
            first, *tail = message.splitlines()[-_TAIL_LINES:] or [""]
            return HostError(f"{what}: {first}", *tail, self._log.keep(message))
        why = known or last_resort(message, started=self._started)
        return HostError(Message(f"{what}: ", why, f"; {self._log.keep(message)}"))

    def _cause(self, message: str) -> str:
        if self._worker.was_too_slow:
            message = f"{message}\n{TOO_SLOW}"
        image = self._disks[0].path.resolve().parent
        facts = {
            "memory": self._memory,
            "path": os.environ.get("LIBGUESTFS_PATH", ""),
            "cache": self._cache,
            "tmpdir": str(temporary_directory()),
            "image": str(image),
            "free": format_size(shutil.disk_usage(image).free),
        }
        return cause(f"{message}\n{self._log.text()}", facts, started=self._started)

    def _end(self) -> None:
        self._worker.end()
        self._scratch.cleanup()
