"""Free space on the disks of this host: checked before the first byte, and named if it runs out.

The space that a quota leaves is not visible before it is used up.
"""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from assembler.errors import HostError, InternalError, Message, ProgramError, Setting, reason
from assembler.units import MIB, format_size

_FULL = MIB  # bytes: with less than that free, a disk counts as full


class FullDiskError(HostError):
    """A disk is full, or has too little room; its name is in the first line."""


@dataclass(frozen=True, slots=True)
class Need:
    """What is to be written below a directory, in bytes; `name` is what messages call its disk."""

    directory: Path
    name: str
    size: int = 0
    remedy: str = "make room there"


def temporary(directory: Path, size: int = 0) -> Need:
    """What is to be written into TMPDIR, which `directory` is."""
    return Need(directory, f"TMPDIR ({directory})", size, "set TMPDIR to a directory with room")


def beside_output(directory: Path, size: int = 0) -> Need:
    """What is to be written into the directory of the output."""
    return Need(directory, Message("the disk of ", Setting("out"), f" ({directory})"), size)


def free(directory: Path) -> int | None:
    """The bytes that this process may still write to a disk; None if they are unknown.

    Raises OSError.
    """
    disk = os.statvfs(directory)
    if disk.f_blocks == 0:
        return None
    if disk.f_files and not disk.f_ffree:  # no inode is left
        return 0
    return disk.f_frsize * (disk.f_bfree if os.geteuid() == 0 else disk.f_bavail)


def require_room(needs: Sequence[Need]) -> None:
    """Raise FullDiskError, with a line for each disk, unless all needs can be met."""
    by_disk: dict[int, list[Need]] = {}
    for need in needs:
        by_disk.setdefault(os.stat(need.directory).st_dev, []).append(need)
    lines: list[str] = []
    for together in by_disk.values():
        room, size = free(together[0].directory), sum(need.size for need in together)
        if room is not None and room < size:
            first, *others = (need.name for need in together)
            names = [part for name in others for part in (" and ", name)]
            one = "has" if not others else "are on one disk, which has"
            rest = f" {one} {format_size(room)} free, and {format_size(size)} are needed: "
            lines.append(Message(first, *names, rest, together[-1].remedy))
    if lines:
        raise FullDiskError(*lines)


def extend(file: Path, size: int, disk: Need) -> None:
    """Give a file that is to be on a disk so many bytes, which are holes; raises HostError."""
    try:
        os.truncate(file, size)
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise
        why = f" takes no file of {format_size(size)}, as the raw image is: its file system, or "
        remedy = "ulimit -f, has a lower limit: put the image on another file system, or take a "
        raise HostError(Message(disk.name, why, remedy, "smaller ", Setting("size"))) from None


@contextmanager
def watched(*needs: Need) -> Iterator[None]:
    """Raise FullDiskError if the block fails because a disk is full: a line for each such disk.

    Use it inside the context that cleans up, while everything that was written is still there.
    """
    try:
        yield
    except FullDiskError:  # another one has looked
        raise
    except (OSError, HostError, InternalError) as error:
        if not (lines := [line for need in needs for line in _full(need)]):
            raise
        cause = reason(error) if isinstance(error, OSError) else error.lines[0]
        # How a program ends on a full disk helps nobody; another failure may have its own cause.
        if isinstance(error, ProgramError) or os.strerror(errno.ENOSPC) in cause:
            raise FullDiskError(*lines) from error
        raise FullDiskError(*lines, cause) from error


def require_some_room(need: Need) -> None:
    """Raise FullDiskError if a disk is full."""
    if lines := _full(need):
        raise FullDiskError(*lines)


def _full(need: Need) -> list[str]:
    with suppress(OSError):
        room = free(need.directory)
        if room is not None and room < _FULL:
            wanted = f", and {format_size(need.size)} are needed" if need.size else ""
            free_now = f" is full: {format_size(room)} are free{wanted}: {need.remedy}"
            return [Message(need.name, free_now)]
    return []
