"""Regular files of this host, to read: a FIFO or a device in the place of one is not waited for."""

import os
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
