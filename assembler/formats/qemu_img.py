"""Formats that qemu-img writes. Source of their options: qemu-img(1)."""

import json
import os
import re
import tempfile
from abc import abstractmethod
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from assembler.errors import DamagedError
from assembler.formats.format import Disk, Format, foreign, is_cut, require_scratch, unpacking_limit
from assembler.host import process
from assembler.host.output import Output
from assembler.host.progress import Step
from assembler.host.scratch import scratch_directory
from assembler.host.temporary import temporary_directory
from assembler.units import MIB, format_size

_COROUTINES = 16  # requests that run at once
_PERCENT = re.compile(rb"\(([0-9]+\.[0-9]+)/100%\)")
_READING = "reading the image"
_RATE = MIB  # bytes a second of a file that is read
# What qemu-img prints only for a disk whose data is in another file.
_ELSEWHERE = ("backing-filename", "data-file")
# Exit statuses of `qemu-img check`: it ended early, errors, leaks only; not supported.
_UNSOUND, _NO_CHECK = (1, 2, 3), 63
_NAME = re.compile("^qemu-img: (?:Could not open '.*': )?")  # before the reason
_TAIL = 64  # bytes, in which the last percentage is found


class QemuFormat(Format):
    """A format that `qemu-img convert` writes; `fix` then gives values to fields it draws."""

    programs = ("qemu-img",)
    options: ClassVar[tuple[str, ...]] = ()  # of `qemu-img convert`
    fixed_name: ClassVar[str] = "image"  # what the format may write down as the file's name
    file_unit: ClassVar[int] = 1  # of the file's size, in bytes

    def write(self, disk: Disk, out: Output, step: Step) -> None:
        """Convert the image, and give the same values to what qemu-img draws at random."""
        assert out.path is not None
        with scratch_directory() as scratch:
            target = Path(scratch) / self.fixed_name
            target.symlink_to(out.path)
            convert(disk, target, self.driver, self.options, step)
        with out.path.open("r+b") as file:
            self.fix(file, disk)

    def unpack(self, file: Path, raw: Path) -> list[str]:
        """Convert the file back, and let qemu-img check it."""
        size = file.stat().st_size
        if size % self.file_unit:
            raise DamagedError(
                f"it is cut, or something follows it: {size} bytes are not a whole number of "
                f"{format_size(self.file_unit)}"
            )
        with file.open("rb") as opened:
            faults = self.inspect(opened, size)
        return faults + convert_back(file, self.driver, raw)

    def inspect(self, _file: BinaryIO, _size: int) -> list[str]:
        """What is wrong with a file of so many bytes that qemu-img overlooks.

        Raises as `Format.unpack`.
        """
        return []

    @abstractmethod
    def fix(self, file: BinaryIO, disk: Disk) -> None:
        """Overwrite the fields that differ from run to run."""


def convert(disk: Disk, target: Path, driver: str, options: tuple[str, ...], step: Step) -> None:
    """Write `target` in a format of qemu-img; raises HostError.

    In the order of the disk: with -W, which is faster, that of the clusters is never the same. The
    cache stays `unsafe`, which is the default of convert: who calls this waits for the disk.
    """
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


def convert_back(
    file: Path, driver: str, raw: Path, *, offset: int = 0, length: int = 0
) -> list[str]:
    """Write the disk in `file`, or in a range of its bytes, to `raw`, and check the format.

    Returns and raises as `Format.unpack`. The file may be anybody's: one that names other files is
    not opened.
    """
    whole = {"driver": "file", "filename": str(file)}
    described = {"driver": "raw", "offset": offset, "file": whole}
    if length:
        described["size"] = length
    source = f"json:{json.dumps({'driver': driver, 'file': described})}"
    limit = unpacking_limit(file, _RATE)
    try:
        info = _ask("info", source, limit)
        if named := [key for key in _ELSEWHERE if f'"{key}":' in json.dumps(info)]:  # at any depth
            raise DamagedError(f"it has no disk of its own: it names another file ({named[0]})")
        size = length or file.stat().st_size
        mapped = _ask("map", source, limit)
        extents = [one for one in mapped if one["data"] and "offset" in one]
        end = max((one["offset"] + one["length"] for one in extents), default=0)
        if end > size:
            raise is_cut(size, end)
        faults = _check(source, limit)
        require_scratch(sum(one["length"] for one in mapped if one["data"] and not one["zero"]))
        with foreign():
            argv = ["qemu-img", "convert", "-O", "raw", source, str(raw)]
            process.run(argv, what=_READING, limit=limit)
    except DamagedError as error:
        raise DamagedError(_NAME.sub("", str(error))) from None
    return faults


def _ask(what: str, source: str, limit: float) -> Any:
    """What qemu-img prints about a file, from JSON."""
    with foreign():
        argv = ["qemu-img", what, "--output=json", source]
        return json.loads(process.run(argv, what=_READING, limit=limit).stdout)


def _check(source: str, limit: float) -> list[str]:
    """What `qemu-img check` finds wrong; nothing where it has no check for the format."""
    argv = ["qemu-img", "check", "-q", source]
    with foreign():
        done = process.run(argv, what=_READING, ok=(0, *_UNSOUND, _NO_CHECK), limit=limit)
    if done.returncode not in _UNSOUND:
        return []
    first, _, _ = (done.stdout + done.stderr).decode(errors="replace").strip().partition("\n")
    return [f"qemu-img check: {_NAME.sub('', first)}"]
