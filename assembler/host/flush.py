"""Wait until what was written is on the disk."""

import ctypes
import os
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)  # for syncfs(2), which Python lacks


def flush_file_system(directory: Path) -> None:
    """Wait until all of the file system that holds `directory` is on the disk; raises OSError."""
    handle = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(handle):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), os.fspath(directory))
    finally:
        os.close(handle)


def flush_directory(directory: Path) -> None:
    """Make a rename durable, if the directory may be opened."""
    try:
        handle = os.open(directory, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
