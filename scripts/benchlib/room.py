"""Directories to measure in: on a tmpfs, a disk or an XFS of their own; all gone afterwards."""

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assembler.errors import HostError
from assembler.host import process, programs
from assembler.units import BLOCK, GIB, MIB, format_size
from benchlib.closure import Shape

_TMPFS = Path("/dev/shm")
_SPARE = GIB  # bytes of memory to leave to everybody else
_INODE = 1024  # bytes that tmpfs takes for an inode, and more than ext4 does
_IMAGE_EXTRA = 512 * MIB  # ESP, journal, tables


@contextmanager
def scratch_directory(wanted: Path | None, need: int) -> Iterator[Path]:
    """A directory with room for `need` bytes, removed in the end with all that is in it.

    It is made below `wanted`, else on a tmpfs that has room, else below TMPDIR. Raises HostError
    where there is none.
    """
    parent = wanted or (_TMPFS if _fits_in_memory(need) else Path(tempfile.gettempdir()))
    try:
        free = shutil.disk_usage(parent).free
        if free < need:
            raise HostError(
                f"{parent} has {format_size(free)} free, {format_size(need)} are needed"
            )
        directory = Path(tempfile.mkdtemp(prefix="assemble-benchmark-", dir=parent))
    except OSError as error:
        raise HostError(f"cannot measure in {parent}: {error.strerror}") from None
    try:
        yield directory
    finally:
        remove(directory)


def _fits_in_memory(need: int) -> bool:
    """Whether the tmpfs and the memory behind it have room for `need` bytes."""
    try:
        memory = re.search(r"^MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text(), re.M)
        writable = os.access(_TMPFS, os.W_OK) and shutil.disk_usage(_TMPFS).free > need
    except OSError:
        return False
    return writable and memory is not None and int(memory[1]) * 1024 > need + _SPARE


def remove(directory: Path) -> None:
    """Remove a directory and all below it, read-only as a store is."""
    for here, _, _ in os.walk(directory):
        os.chmod(here, 0o700)
    shutil.rmtree(directory)


def need(shape: Shape) -> int:
    """Bytes that a closure of a shape and one image of it take together."""
    inodes = shape.inodes + shape.directory_of
    return 2 * (shape.size + inodes * (BLOCK // 2 + _INODE)) + _IMAGE_EXTRA


def file_system(directory: Path) -> str:
    """What kind of file system a directory lies on, as stat(1) calls it; raises HostError."""
    done = process.run(
        ["stat", "--file-system", "--format=%T", directory], what="asking for the file system"
    )
    return done.stdout.decode().strip()


def touch_memory(file: Path, size: int) -> None:
    """Write `size` bytes to a new file on a tmpfs, and remove it.

    The host of a virtual machine may give memory only when it is touched, and take it back soon
    after it is free: getting it takes longer than anything measured here.
    """
    zeros = bytes(MIB)
    try:
        with file.open("xb", buffering=0) as target:
            for _ in range(0, size, MIB):
                target.write(zeros)
    finally:
        file.unlink()


@contextmanager
def mounted_xfs(directory: Path, size: int) -> Iterator[Path]:
    """An XFS with reflinks in a file below `directory`, for this user to write to.

    Needs root, for mounting alone. Raises HostError.
    """
    file, point = directory / "xfs.raw", directory / "xfs"
    file.touch()
    os.truncate(file, size)
    point.mkdir()
    what = "making an XFS"
    process.run(["mkfs.xfs", "-q", "-m", "reflink=1", file], what=what)
    try:
        process.run(["mount", "-o", "loop", file, point], what="mounting an XFS")
        yield point
    finally:
        if os.path.ismount(point):
            # Detached, it goes as soon as the last process that was interrupted has gone.
            lazy = [] if sys.exception() is None else ["--lazy"]
            process.run(["umount", *lazy, point], what="unmounting the XFS")


def why_no_xfs() -> str:
    """Why no XFS can be made and mounted here, or nothing."""
    if os.geteuid() != 0:
        return "only root may mount one"
    for program in ("mkfs.xfs", "mount", "umount", "filefrag"):
        if programs.which(program) is None:
            return f"the program {program} is absent"
    xfs = "xfs" in Path("/proc/filesystems").read_text().split()
    if not xfs and not Path(f"/lib/modules/{os.uname().release}").is_dir():
        return "the kernel has no XFS"
    return "" if Path("/dev/loop-control").exists() else "there are no loop devices"
