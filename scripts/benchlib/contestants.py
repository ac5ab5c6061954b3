"""What is measured: ways to get a closure's bytes into an image, and the floor beneath them.

A contestant has a name and a `run` that makes `out` anew; `CONTESTANTS` lists them.
"""

import json
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from assembler.errors import HostError
from assembler.filesystems.ext4.mke2fs import make_ext4
from assembler.host import process
from benchlib.closure import Load
from benchlib.measure import Finished, Measured, run

_REPOSITORY = Path(__file__).parents[2]
_COMMAND = "from assembler.cli.commands import assemble_main; assemble_main()"

FLOOR = "floor: sendfile to one file"
MKE2FS = "mke2fs -d"
WRITE = "assemble: writing ext4"
WHOLE = "assemble: whole command"
GUESTFS = "assemble --writer guestfs"
VIRT_MAKE_FS = "virt-make-fs"


class Contestant(Protocol):
    """One way to make an image."""

    def run(self, out: Path) -> list[Measured]:
        """Make `out`, which does not exist; raises HostError."""


@dataclass(frozen=True, slots=True)
class Floor:
    """One thread in the kernel's fastest copy, and no file system at all."""

    load: Load

    def run(self, out: Path) -> list[Measured]:
        """Send every file into `out`, one after another."""
        start = time.perf_counter()
        image = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            for path, size in self.load.files:
                send(path, size, image)
        finally:
            os.close(image)
        return [Measured(FLOOR, time.perf_counter() - start)]


def send(path: str, size: int, target: int) -> None:
    """Let the kernel copy the `size` bytes of a file to the file descriptor `target`."""
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sent = 0
        while sent < size:
            sent += os.sendfile(target, source, sent, size - sent)
    finally:
        os.close(source)


def assemble(load: Load, out: Path, *options: str) -> Finished:
    """Run the command `assemble` of this very repository; raises HostError."""
    where: list[process.Arg] = ["--out", out, "--store", load.root, "--system", load.system]
    argv: list[process.Arg] = [sys.executable, "-c", _COMMAND, "--json", *where, *options]
    return run(argv, env={"PYTHONPATH": str(_REPOSITORY)})


def seconds_of_steps(done: Finished) -> dict[str, float]:
    """How long each step took, of what `assemble` printed."""
    return {name: float(seconds) for name, seconds in json.loads(done.stdout)["seconds"].items()}


@dataclass(slots=True)
class Assemble:
    """The whole command, and of it the step that a writer takes; keeps the steps' seconds."""

    load: Load
    name: str = "assemble"
    steps: dict[str, list[float]] = field(default_factory=dict)

    def run(self, out: Path) -> list[Measured]:
        """Assemble the image."""
        done = assemble(self.load, out)
        steps = seconds_of_steps(done)
        if "writing ext4" not in steps:
            raise HostError(f"assemble did not say how long it wrote: {done.stdout}")
        steps["start, end and all between the steps"] = done.seconds - sum(steps.values())
        for name, seconds in steps.items():
            self.steps.setdefault(name, []).append(seconds)
        return [
            Measured(WRITE, steps["writing ext4"], done.peak),
            Measured(WHOLE, done.seconds, done.peak),
        ]


class Guestfs(Assemble):
    """The whole command with the guestfs writer, and no KVM."""

    def run(self, out: Path) -> list[Measured]:
        """Assemble the image."""
        done = assemble(self.load, out, "--writer", "guestfs", "--accelerator", "tcg")
        for name, seconds in seconds_of_steps(done).items():
            self.steps.setdefault(name, []).append(seconds)
        return [Measured(GUESTFS, done.seconds, done.peak)]


@dataclass(frozen=True, slots=True)
class VirtMakeFs:
    """libguestfs's own program for it: a tar stream into an appliance, and no KVM."""

    load: Load

    def run(self, out: Path) -> list[Measured]:
        """Make an ext4 of the load's own store, without a partition table."""
        done = run(
            ["virt-make-fs", "--format=raw", "--type=ext4", "--size=+512M", self.load.root, out],
            env={"LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"},
        )
        return [Measured(VIRT_MAKE_FS, done.seconds, done.peak)]


class Mke2fs:
    """mke2fs fills the same ext4 from a tree that stands ready: the load's own store."""

    def __init__(self, load: Load, scratch: Path) -> None:
        """Learn what assemble would make, with an ext4 of it below `scratch`; raises HostError."""
        plan = json.loads(assemble(load, scratch / "planned", "--plan", "--json").stdout)
        self._size = _root_size(plan)
        like = scratch / "like.ext4"
        like.touch()
        os.truncate(like, self._size)
        nil = UUID(int=1)
        make_ext4(
            like,
            offset=0,
            size=self._size,
            inodes=plan["root"]["inodes"],
            label="like",
            uuid=nil,
            hash_seed=nil,
            epoch=1,
        )
        self._options = _options(like)
        like.unlink()
        self._tree = load.root

    def run(self, out: Path) -> list[Measured]:
        """Make and fill the ext4."""
        out.touch(exist_ok=False)
        os.truncate(out, self._size)
        done = run(["mke2fs", "-q", "-F", *self._options, "-d", self._tree, out])
        return [Measured(MKE2FS, done.seconds, done.peak)]


def _root_size(plan: dict[str, Any]) -> int:
    """Bytes of the root partition: the largest."""
    return int(max(part["size"] for part in plan["partitions"]))


def _options(image: Path) -> list[str]:
    """The options with which mke2fs makes an ext4 as that in `image`; raises HostError."""
    done = process.run(["dumpe2fs", "-h", image], what="reading the ext4 back")
    facts = dict(re.findall(r"^([^:\n]+):[ \t]+(.*)$", done.stdout.decode(), re.MULTILINE))
    features = ",".join(["none", *facts["Filesystem features"].split()])
    journal = re.fullmatch(r"(\d+)M", facts["Total journal size"])
    if journal is None:
        raise HostError(f"the journal has a size of {facts['Total journal size']}")
    return [
        *("-t", "ext4", "-b", facts["Block size"], "-I", facts["Inode size"], "-m", "0"),
        *("-O", features, "-N", facts["Inode count"], "-J", f"size={journal[1]}"),
        *("-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0"),
    ]


# In the order of the first round; the next round has it reversed. Further peers go here.
Make = Callable[[Load, Path], Contestant]
CONTESTANTS: tuple[Make, ...] = (
    lambda load, _: Floor(load),
    Mke2fs,
    lambda load, _: Assemble(load),
)
# A minute a round more.
IN_APPLIANCES: tuple[Make, ...] = (
    lambda load, _: Guestfs(load, GUESTFS),
    lambda load, _: VirtMakeFs(load),
)
