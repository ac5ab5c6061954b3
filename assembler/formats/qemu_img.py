"""Formats that qemu-img writes. Source of their options: qemu-img(1)."""

import os
import re
import tempfile
from abc import abstractmethod
from pathlib import Path
from typing import BinaryIO, ClassVar

from assembler.formats.format import Disk, Format
from assembler.host import process
from assembler.host.output import Output
from assembler.host.progress import Step
from assembler.host.scratch import scratch_directory
from assembler.host.temporary import temporary_directory

_COROUTINES = 16  # requests that run at once
_PERCENT = re.compile(rb"\(([0-9]+\.[0-9]+)/100%\)")
_TAIL = 64  # bytes, in which the last percentage is found


class QemuFormat(Format):
    """A format that `qemu-img convert` writes; `fix` then gives values to fields it draws."""

    programs = ("qemu-img",)
    options: ClassVar[tuple[str, ...]] = ()  # of `qemu-img convert`
    fixed_name: ClassVar[str] = "image"  # what the format may write down as the file's name

    def write(self, disk: Disk, out: Output, step: Step) -> None:
        """Convert the image, and give the same values to what qemu-img draws at random."""
        assert out.path is not None
        with scratch_directory() as scratch:
            target = Path(scratch) / self.fixed_name
            target.symlink_to(out.path)
            convert(disk, target, self.driver, self.options, step)
        with out.path.open("r+b") as file:
            self.fix(file, disk)

    @abstractmethod
    def fix(self, file: BinaryIO, disk: Disk) -> None:
        """Overwrite the fields that differ from run to run."""


def convert(disk: Disk, target: Path, driver: str, options: tuple[str, ...], step: Step) -> None:
    """Write `target` in a format of qemu-img; raises HostError."""
    argv = ["qemu-img", "convert", "-p", "-f", "raw", "-O", driver]
    argv += ["-m", str(_COROUTINES), *options, str(disk.image), str(target)]
    done = 0
    with tempfile.TemporaryFile(dir=temporary_directory()) as printed:

        def tick(_: int) -> None:
            nonlocal done
            end = printed.seek(0, os.SEEK_END)
            tail = os.pread(printed.fileno(), _TAIL, max(0, end - _TAIL))
            if found := _PERCENT.findall(tail):
                now = int(disk.size * float(found[-1]) / 100)
                step.advance(now - done)
                done = now

        process.follow(argv, what="converting the image", tick=tick, stdout=printed.fileno())
        step.advance(disk.size - done)
