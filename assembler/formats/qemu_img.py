"""Formats that qemu-img writes. Source of their options: qemu-img(1)."""

import json
import os
import re
import tempfile
from abc import abstractmethod
from pathlib import Path
from typing import BinaryIO, ClassVar

from assembler.errors import HostError
from assembler.formats.format import Disk, Format, unpacking_limit
from assembler.host import process
from assembler.host.output import Output
from assembler.host.progress import Step
from assembler.host.scratch import scratch_directory
from assembler.host.temporary import temporary_directory
from assembler.units import MIB

_COROUTINES = 16  # requests that run at once
_PERCENT = re.compile(rb"\(([0-9]+\.[0-9]+)/100%\)")
_READING = "reading the image"
_RATE = MIB  # bytes a second of a file that is read
# What qemu-img tells of a disk whose data is in another file.
_ELSEWHERE = ("backing-filename", "data-file")
_UNSOUND, _NO_CHECK = (2, 3), 63  # exit statuses of `qemu-img check`: errors, leaks; not supported
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

    def unpack(self, file: Path, raw: Path) -> None:
        """Convert the file back."""
        convert_back(file, self.driver, raw)

    def faults(self, file: Path) -> list[str]:
        """What `qemu-img check` finds wrong."""
        return faults(file, self.driver)

    @abstractmethod
    def fix(self, file: BinaryIO, disk: Disk) -> None:
        """Overwrite the fields that differ from run to run."""


def convert(disk: Disk, target: Path, driver: str, options: tuple[str, ...], step: Step) -> None:
    """Write `target` in a format of qemu-img; raises HostError."""
    argv = ["qemu-img", "convert", "-p", "-f", "raw", "-O", driver]
    argv += ["-m", str(_COROUTINES), *options, str(disk.image), str(target)]
    with tempfile.TemporaryFile(dir=temporary_directory()) as printed:

        def tick(_: int) -> None:
            end = printed.seek(0, os.SEEK_END)
            tail = os.pread(printed.fileno(), _TAIL, max(0, end - _TAIL))
            if found := _PERCENT.findall(tail):
                step.reach(int(disk.size * float(found[-1]) / 100))

        process.follow(argv, what="converting the image", tick=tick, stdout=printed.fileno())
        step.reach(disk.size)


def convert_back(file: Path, driver: str, raw: Path, *, offset: int = 0, length: int = 0) -> None:
    """Write the disk in `file`, or in a range of its bytes, to `raw`; raises HostError.

    The file may be anybody's: one that names other files is not opened.
    """
    whole = {"driver": "file", "filename": str(file)}
    described = {"driver": "raw", "offset": offset, "file": whole}
    if length:
        described["size"] = length
    source = f"json:{json.dumps({'driver': driver, 'file': described})}"
    limit = unpacking_limit(file, _RATE)
    info = process.run(["qemu-img", "info", "--output=json", source], what=_READING, limit=limit)
    if named := [key for key in _ELSEWHERE if f'"{key}":'.encode() in info.stdout]:
        raise HostError(f"{file} has no disk of its own: it names another file ({named[0]})")
    process.run(["qemu-img", "convert", "-O", "raw", source, raw], what=_READING, limit=limit)


def faults(file: Path, driver: str) -> list[str]:
    """What `qemu-img check` finds wrong with a file; nothing where it knows no check."""
    argv = ["qemu-img", "check", "-q", "-f", driver, str(file)]
    limit = unpacking_limit(file, _RATE)
    done = process.run(argv, what=_READING, ok=(0, *_UNSOUND, _NO_CHECK), limit=limit)
    if done.returncode not in _UNSOUND:
        return []
    printed = (done.stdout + done.stderr).decode(errors="replace").strip()
    return [f"{driver}: qemu-img check: {printed.splitlines()[0] if printed else 'it is damaged'}"]
