"""Locks (flock(2)) that show what another run still uses, and what a killed one left."""

import fcntl
import os
from pathlib import Path


def lock(handle: int, *, wait: bool = False) -> None:
    """Lock an open file for as long as it is open.

    If another run has it, `wait` for that one, or raise BlockingIOError.

    Raises OSError where the file system has no locks.
    """
    fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def is_at(path: Path, handle: int) -> bool:
    """Whether `path` still names the open file: another run may have removed or replaced it."""
    try:
        return os.path.samestat(os.fstat(handle), path.lstat())
    except OSError:
        return False
