"""What every output format offers."""

import errno
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar
from uuid import UUID

from assembler.errors import DamagedError, HostError, ProgramError, TooSlowError
from assembler.host.holes import data_ranges
from assembler.host.output import Output
from assembler.host.progress import Step
from assembler.host.room import require_room, temporary
from assembler.host.temporary import temporary_directory
from assembler.tree.linux import MAX_FILE
from assembler.units import MIB, format_size

_SIGNATURE = 510, b"\x55\xaa"  # of a boot sector
_SECONDS = 300
_STAT_BLOCK = 512  # bytes (stat(2))
# How zstd, gzip, xz and pigz name the file that they complain of.
_STANDARD_INPUT = re.compile(r"^(?:\w+: )*(?:/\*stdin\*\\|stdin|\(stdin\)|<stdin>) ?: ")
_LONG = 4  # bytes: a shorter mark is also found by chance


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A complete and checked raw image, and what a format may contain about its machine."""

    image: Path  # a name without characters that a tool could misread
    size: int  # bytes
    uuid: Callable[[str], UUID]  # derived from the request: the same input gives the same
    epoch: int  # seconds since 1970: the time of everything
    bios: bool  # whether a BIOS starts it
    efi: bool  # whether UEFI starts it


class Format(ABC):
    """An output format. Two runs give the same bytes: no field is random, a time or a name."""

    name: ClassVar[str]  # as users write it
    title: ClassVar[str]  # in sentences, after "the format is"
    endings: ClassVar[tuple[str, ...]]  # what names of such files end in, after a dot; lower case
    programs: ClassVar[tuple[str, ...]] = ()  # that write it
    driver: ClassVar[str] = ""  # as QEMU calls it; empty for what QEMU does not read
    unit: ClassVar[int] = 1  # of the disk's size, in bytes
    largest: ClassVar[int] = MAX_FILE  # bytes of the disk
    has_large_sectors: ClassVar[bool] = True  # whether a disk in it may have those of 4096 bytes
    in_place: ClassVar[bool] = False  # whether the raw image itself becomes the output
    streams: ClassVar[bool] = False  # whether it is written from the start to the end
    has_block_map: ClassVar[bool] = False  # whether bmaptool finds the raw disk in it
    compresses: ClassVar[bool] = False
    wraps: ClassVar[bool] = False  # whether names have the ending of the raw disk in it, too

    marks: ClassVar[tuple[tuple[int, bytes], ...]] = ()  # places in the file, and what is there

    def __str__(self) -> str:
        return self.name

    @abstractmethod
    def write(self, disk: Disk, out: Output, step: Step) -> None:
        """Write `disk` to `out`; `step` counts the bytes of the disk that are done.

        With `in_place`, `out` is the image already. Raises HostError when a tool fails, and OSError
        when `out` cannot be written.
        """

    def is_in(self, file: Path) -> bool:
        """Whether a file has this format, by its marks; raises OSError.

        A short mark may begin the boot code of a raw image, which has a signature, too.
        """
        with file.open("rb") as opened:
            has_signature = _read(opened, *_SIGNATURE)
            return any(
                _read(opened, place, mark) and not (len(mark) < _LONG and has_signature)
                for place, mark in self.marks
            )

    @abstractmethod
    def unpack(self, file: Path, raw: Path) -> list[str]:
        """Write the disk in `file`, holes staying holes, to the new file `raw`.

        Returns what is wrong with `file` though its disk can be read; each goes on after the name
        of the format. Raises DamagedError when the disk cannot be read, HostError when a tool
        fails for another reason, and OSError.
        """


@contextmanager
def foreign() -> Iterator[None]:
    """A program that fails in the block finds fault with the file that it reads: DamagedError."""
    try:
        yield
    except ProgramError as error:
        raise DamagedError(_STANDARD_INPUT.sub("", error.complaint)) from None
    except TooSlowError as error:
        raise DamagedError(str(error)) from None


def unpacking_limit(file: Path, rate: int) -> float:
    """How long a program may unpack a file that may be anybody's, in seconds.

    `rate` is in bytes of the file a second, far below what any host does. Holes do not count.
    Raises OSError.
    """
    found = file.stat()
    return _SECONDS + (found.st_blocks * _STAT_BLOCK or found.st_size) / rate


def require_scratch(size: int) -> None:
    """Raise HostError unless TMPDIR has room for `size` bytes of an unpacked disk."""
    require_room([temporary(temporary_directory(), size)])


def set_size(image: BinaryIO, size: int) -> None:
    """Give an unpacked disk its size in bytes; raises HostError, and OSError."""
    try:
        image.truncate(size)
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        raise HostError(
            f"TMPDIR ({temporary_directory()}) takes no file of {format_size(size)}, as the disk "
            "in the image is: set TMPDIR to a directory on another file system"
        ) from None


def is_cut(size: int, end: int) -> DamagedError:
    """The error for a file of `size` bytes whose own header has data up to the byte `end`."""
    return DamagedError(f"it is cut: it has {size} bytes, and its data ends at byte {end}")


def has_data(file: BinaryIO, start: int, end: int) -> bool:
    """Whether a file has anything but zeros from the byte `start` to `end`; raises OSError."""
    for one in data_ranges(file.fileno(), start, end):
        file.seek(one.start)
        left = len(one)
        while chunk := file.read(min(MIB, left)):
            if any(chunk):
                return True
            left -= len(chunk)
    return False


def _read(file: BinaryIO, place: int, mark: bytes) -> bool:
    """Whether a file has some bytes at a place, which is counted from its end if it is negative."""
    size = file.seek(0, os.SEEK_END)
    if not 0 <= (start := place if place >= 0 else size + place) < size:
        return False
    file.seek(start)
    return file.read(len(mark)) == mark
