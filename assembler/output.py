"""The file that becomes `--out`: written under a hidden name, renamed when it is whole."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from assembler import process
from assembler.errors import HostError, reason


@contextmanager
def all_or_nothing(out: Path) -> Iterator[Path]:
    """Give the path of an empty file beside `out`, which replaces `out` when the block ends well.

    The path given has no character that a tool could take for an option. When the block raises,
    the file goes away and `out` is what it was. A killed run leaves the hidden file; the next run
    for the same `out` takes it over. Raises HostError when another run is writing it now.
    """
    out = out.absolute()
    if os.path.islink(out):
        out = Path(os.path.realpath(out))
    hidden = out.with_name(f".{out.name}.partial")
    try:
        handle = _open_locked(hidden)
    except OSError as error:
        raise HostError(f"cannot create {hidden}: {error.strerror}") from None
    try:
        os.ftruncate(handle, 0)
        with process.plain_name(hidden) as alias:
            yield alias
        os.fsync(handle)
        os.fchmod(handle, 0o666 & ~_umask())
        hidden.rename(out)
        _sync_directory(out.parent)
    except OSError as error:
        raise HostError(f"cannot write {out}: {reason(error)}") from None
    finally:
        with suppress(OSError):
            if os.fstat(handle).st_ino == hidden.stat().st_ino:
                hidden.unlink()
        os.close(handle)


def _open_locked(hidden: Path) -> int:
    """Open the hidden file and hold its lock; the lock goes with the process that holds it."""
    while True:
        handle = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.lexists(hidden) and os.path.samestat(os.fstat(handle), hidden.stat()):
                return handle
        except BlockingIOError:
            os.close(handle)
            raise HostError(f"another run is writing {hidden} now") from None
        os.close(handle)  # its holder renamed it between our open and our lock


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _sync_directory(directory: Path) -> None:
    """Make a rename durable, where the directory may be opened at all."""
    try:
        handle = os.open(directory, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
