"""Scratch directories: private, below one directory of the run, removed after use.

The directory of a run is TMPDIR/assemble-<random>. The process holds a lock on it (flock(2)). If
such a directory has no lock, its run was killed: the next run of the same user removes it.
"""

import logging
import os
import re
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from assembler.errors import HostError, reason
from assembler.host import process
from assembler.host.locks import is_at, lock
from assembler.host.temporary import temporary_directory

log = logging.getLogger(__name__)

_PREFIX = "assemble-"
_RANDOM = 6  # bytes
_NAME = re.compile(f"{_PREFIX}[0-9a-f]{{{2 * _RANDOM}}}")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


# Makes directories writable: one at a time before find enters them, the others many at once.
_OPEN_UP = (
    *("-type", "d", "("),
    *("!", "-perm", "-u+rx", "-exec", "chmod", "u+rwx", "{}", ";"),
    *("-o", "!", "-perm", "-u+w", "-exec", "chmod", "u+w", "{}", "+", ")"),
)


def remove_tree(path: Path) -> None:
    """Remove a file, or a directory tree whose directories may be read-only; or nothing at all.

    The mode of a file stays, since a hard link elsewhere has the same one. It uses find
    and rm, because shutil.rmtree fails for a deep tree.
    """
    if path.is_symlink():  # `exists` is false for a dangling link
        path.unlink()
    elif path.exists():
        process.run(["find", path.absolute(), *_OPEN_UP], what=f"removing {path}")
        process.run(["rm", "-rf", path.absolute()], what=f"removing {path}")


class _Run:
    """The directory of this process, there from the first scratch directory to the last.

    A signal may come at any time: the directories that are listed here are still to be removed.
    """

    def __init__(self) -> None:
        self._guard = threading.RLock()
        self._top: Path | None = None
        self._handle = -1  # holds the lock
        self._made = 0
        self._used: set[Path] = set()

    def make(self) -> Path:
        """Make a scratch directory; raises OSError, and HostError for a TMPDIR that is none."""
        with self._guard:
            top = self._begin() if self._top is None else self._top
            self._made += 1
            path = top / str(self._made)
            self._used.add(path)
            try:
                path.mkdir(mode=0o700)
            except OSError:
                self.remove(path)
                raise
        return path

    def remove(self, path: Path) -> None:
        """Remove a scratch directory, and with the last one that of the run."""
        _remove(path)
        with self._guard:
            self._used.discard(path)
            if not self._used:
                self.end()

    def _begin(self) -> Path:
        parent = temporary_directory()
        _remove_left_over(parent)
        while True:
            self._top = parent / f"{_PREFIX}{secrets.token_hex(_RANDOM)}"
            try:
                self._top.mkdir(mode=0o700)
                self._handle = os.open(self._top, _DIRECTORY)
                _lock(self._handle)
                if is_at(self._top, self._handle):
                    return self._top
            except FileNotFoundError:
                if not parent.is_dir():
                    self._top = None
                    raise
            except OSError:
                self._top = None
                raise
            self.end()  # before we locked it, another run removed it as a left-over

    def end(self) -> None:
        """Remove the directory of this run with all that may be in it."""
        with self._guard:
            top, handle = self._top, self._handle
            if top is not None:
                _remove(top)
            if handle >= 0:
                os.close(handle)
            self._top, self._handle = None, -1
            self._used.clear()


_run = _Run()


def _remove(path: Path) -> None:
    """Remove a tree, though directories in it may be read-only."""
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        pass
    except (OSError, RecursionError):  # a directory is read-only, or the tree a thousand deep
        remove_tree(path)


def _lock(handle: int) -> bool:
    """Lock a directory, if nobody else has locked it and its file system has locks."""
    try:
        lock(handle)
    except OSError:
        return False
    return True


def _remove_left_over(parent: Path) -> None:
    """Remove what killed runs of this user left in a directory."""
    try:
        names = os.listdir(parent)
    except PermissionError:  # it may still be writable
        return
    for name in filter(_NAME.fullmatch, names):
        path = parent / name
        with suppress(OSError, HostError):  # another user's, or still in use
            handle = os.open(path, _DIRECTORY)
            try:
                ours = os.fstat(handle).st_uid == os.geteuid()
                if ours and _lock(handle) and is_at(path, handle):
                    log.info("removing %s, which a killed run left", path)
                    _remove(path)
            finally:
                os.close(handle)


class ScratchDirectory:
    """A private directory, `name`, that is removed with its content; a context manager."""

    def __init__(self) -> None:
        self._path = _run.make()
        self.name = str(self._path)

    def cleanup(self) -> None:
        """Remove it, though directories in it may be read-only."""
        _run.remove(self._path)

    def __enter__(self) -> str:
        return self.name

    def __exit__(self, *_: object) -> None:
        self.cleanup()


def scratch_directory() -> ScratchDirectory:
    """A private directory below TMPDIR, removed when the context ends; raises HostError."""
    try:
        return ScratchDirectory()
    except OSError as error:
        raise HostError(
            f"cannot make a temporary directory: {reason(error)}; "
            "set TMPDIR to a directory that you may write to"
        ) from None


def remove_scratch() -> None:
    """Remove the scratch directories whose making or removal was interrupted."""
    with suppress(OSError, HostError):
        _run.end()


@contextmanager
def plain_name(path: Path) -> Iterator[Path]:
    """Return a name for `path` that no tool misreads: a symlink in a scratch directory.

    e2fsprogs reads options after a `?`, and mtools an offset after an `@`. A leading dash, a
    newline and bytes that are not UTF-8 harm other tools.
    """
    with scratch_directory() as scratch:
        alias = Path(scratch) / "image"
        alias.symlink_to(path.absolute())
        yield alias
