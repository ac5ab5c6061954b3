"""Read regular files of this host; a FIFO or a device in their place is an error, not a wait."""

import errno
import os
import shlex
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular(path: Path | str | bytes) -> int:
    """Open a regular file and give its descriptor; raises OSError, also for anything else."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(0, "it is not a regular file", path)
    return handle


def open_file(path: Path) -> BinaryIO:
    """Open a regular file to read from; raises as `open_regular`."""
    return os.fdopen(open_regular(path), "rb")


def read_file(path: Path) -> bytes:
    """What a regular file holds; raises as `open_regular`."""
    with open_file(path) as file:
        return file.read()


def input_fault(path: Path) -> str:
    """Why a file of the user is not read: the end of a sentence, or empty.

    A pipe that is already open, such as a shell's <(...), can be read. To open a FIFO is to wait
    for a writer, which may never come.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        absent = error.errno in (errno.ENOENT, errno.ENOTDIR)
        return "does not exist" if absent else f"cannot be read: {error.strerror}"
    if stat.S_ISFIFO(mode) and os.path.exists(os.path.realpath(path)):
        return f"is a FIFO, not a regular file: take <(cat {shlex.quote(str(path))}) in a shell"
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        return "is a device, not a regular file"
    return ""
