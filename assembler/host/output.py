"""The output: a file with a hidden name until it is whole, or a stream."""

import errno
import hashlib
import os
import select
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedWriter, FileIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from assembler.errors import HostError, Message, Setting, reason
from assembler.host.flush import flush_directory
from assembler.host.locks import is_at, lock
from assembler.host.scratch import plain_name, scratch_directory
from assembler.units import NAME_MAX

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_PREFIX, _SUFFIX = ".", ".partial"
_LEGIBLE = 200  # bytes of a name too long to be kept whole in the hidden one
_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW


STANDARD_OUTPUT = Path("-")
_STDOUT = 1  # its file descriptor


@dataclass(frozen=True, slots=True)
class Output:
    """What is being written: a file that can be reached by a path, too, or a stream."""

    handle: int  # an open file
    path: Path | None = None  # without a character that a tool could misread; None: a stream

    def open(self) -> BinaryIO:
        """The open file, to be written from where it is; a failing write names a stream."""
        kind = FileIO if self.path is not None else _Stream
        return BufferedWriter(kind(self.handle, "wb", closefd=False))

    @property
    def direction(self) -> str:
        """What messages add to the name of a job that writes it."""
        return f" to {_Stream.title}" if self.path is None else ""

    @property
    def room(self) -> str:
        """Where to make room if a stream cannot be written; empty for a file."""
        return f"where {_Stream.title} goes" if self.path is None else ""


class _Stream(FileIO):
    """A file that names standard output in its errors."""

    title = "standard output"

    def write(self, data: "ReadableBuffer") -> int:
        """Write some of `data`; raises OSError."""
        try:
            return super().write(data)
        except OSError as error:
            why = error.strerror
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                why = f"{why}: make room where it goes"
            raise OSError(error.errno, why, self.title) from None


def destination(out: Path) -> Path:
    """The absolute path of the image: `out`, or the path that it links to."""
    return Path(os.path.realpath(out))


def hidden_name(name: str) -> str:
    """The name of the file `name` until it is whole: the same for every run."""
    hidden = f"{_PREFIX}{name}{_SUFFIX}"
    if len(os.fsencode(hidden)) <= NAME_MAX:
        return hidden
    encoded = os.fsencode(name)
    legible = encoded[:_LEGIBLE].decode(errors="ignore")
    return f"{_PREFIX}{legible}-{hashlib.sha256(encoded).hexdigest()[:16]}{_SUFFIX}"


def out_problems(out: Path) -> list[str]:
    """One line for the reason why no image can be put at `out`, if there is one."""
    fault = _stream_fault() if out == STANDARD_OUTPUT else place_fault(out)
    return [Message(Setting("out", out), fault)] if fault else []


def place_fault(path: Path) -> str:
    """Why no file can be put at a path: the end of a sentence; empty if one can."""
    real = destination(path)
    parent = real.parent
    fault = ""
    # Not Path.is_file and the like, which raise for a directory that may not be entered.
    if len(os.fsencode(real.name)) > NAME_MAX:
        fault = f": its name is longer than {NAME_MAX} bytes: take a shorter one"
    elif os.path.isdir(real):
        fault = " is a directory"
    elif os.path.islink(real):
        fault = " is a symlink that leads back to itself"
    elif os.path.exists(real) and not os.path.isfile(real):
        fault = " is a device, not a file: write a file, then copy it with dd"
        if real.is_fifo() or real.is_socket():
            fault = " is not a regular file: remove it, or take another name"
    elif not os.path.isdir(parent):
        fault = f": the directory {parent} does not exist"
    elif not os.access(parent, os.W_OK | os.X_OK):
        fault = f": the directory {parent} is not writable"
    elif not may_replace(real):
        fault = f" belongs to another user: in {parent}, a sticky directory, it cannot be replaced"
    return fault


def _stream_fault() -> str:
    """Why no image can be written to standard output."""
    if sys.__stdout__ is None:  # closed when the process started
        return ": standard output is closed"
    if os.isatty(_STDOUT):
        return ": standard output is a terminal: send it to a file or a program"
    return ""


def may_replace(path: Path) -> bool:
    """Whether a sticky directory, if `path` lies in one, lets us rename a file onto it."""
    user = os.geteuid()
    directory = path.parent.stat()
    if user == 0 or not directory.st_mode & stat.S_ISVTX or not os.path.lexists(path):
        return True
    return user in (directory.st_uid, path.lstat().st_uid)


@contextmanager
def open_output(out: Path) -> Iterator[Output]:
    """Give what becomes `out` as `all_or_nothing` does, or this process's STANDARD_OUTPUT."""
    if out == STANDARD_OUTPUT:
        yield Output(_STDOUT)
    else:
        with all_or_nothing(out) as path, path.open("r+b") as file:
            yield Output(file.fileno(), path)


@contextmanager
def all_or_nothing(out: Path, *, wait: bool = False) -> Iterator[Path]:
    """Give the path of an empty file beside `out`, which replaces `out` when the block ends well.

    The path given has no character that a tool could take for an option. When the block raises,
    the file goes away and `out` is what it was. A killed run leaves the hidden file; the next run
    for the same `out` removes it. When another run is writing it now, `wait` for that, or raise
    HostError.
    """
    out = destination(out)
    if os.path.islink(out):
        raise HostError(f"cannot write {out}: it is a symlink that leads back to itself")
    try:
        with _hidden_file(out, wait=wait) as (hidden, handle):
            with plain_name(hidden) as alias:
                yield alias
            os.fsync(handle)
            os.fchmod(handle, 0o666 & ~_umask())
            hidden.rename(out)
            flush_directory(out.parent)
    except OSError as error:
        raise HostError(f"cannot write {out}: {reason(error)}") from None


@contextmanager
def working_image(out: Path) -> Iterator[Path]:
    """Give the path of an empty file for a raw image that is to become `out` in another format.

    It is beside `out`, or in a scratch directory if `out` is STANDARD_OUTPUT, and always removed.
    Raises HostError.
    """
    if out == STANDARD_OUTPUT:
        with scratch_directory() as scratch:
            image = Path(scratch) / "image"
            image.touch()
            yield image
        return
    out = destination(out)
    with _hidden_file(out.with_name(f"{out.name}.raw")) as (hidden, _), plain_name(hidden) as alias:
        yield alias


@contextmanager
def _hidden_file(path: Path, *, wait: bool = False) -> Iterator[tuple[Path, int]]:
    """Create the hidden file of `path` and lock it; it is removed unless it was renamed."""
    hidden = path.with_name(hidden_name(path.name))
    try:
        handle = _create_locked(hidden, wait=wait)
    except OSError as error:
        raise HostError(f"cannot create {hidden}: {error.strerror}") from None
    try:
        yield hidden, handle
    finally:
        with suppress(OSError):
            if is_at(hidden, handle):
                hidden.unlink()
        os.close(handle)


def _create_locked(hidden: Path, *, wait: bool) -> int:
    """Create the hidden file and lock it; the lock goes with the process that holds it.

    An existing file is never written to: if its run was killed, a child of that run may still be
    writing.
    """
    while True:
        try:
            handle = os.open(hidden, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            _remove_left_over(hidden, wait=wait)
            continue
        try:
            _lock(handle, hidden, wait=wait)
            if is_at(hidden, handle):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # before we locked it, another run removed it as a left-over


def _remove_left_over(hidden: Path, *, wait: bool) -> None:
    """Remove the hidden file that a killed run left; raises HostError when a run still writes it.

    Nobody else renames or removes it while we hold its lock, so the name still belongs to it.
    """
    try:
        handle = os.open(hidden, _FLAGS)
    except FileNotFoundError:
        return
    try:
        _lock(handle, hidden, wait=wait)
        if is_at(hidden, handle):
            hidden.unlink()
    finally:
        os.close(handle)


def _lock(handle: int, hidden: Path, *, wait: bool) -> None:
    try:
        lock(handle, wait=wait)
    except BlockingIOError:
        raise HostError(f"another run is writing {hidden} now") from None


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def has_no_reader(out: Output) -> bool:
    """Whether a stream is a pipe that nobody reads any more (poll(2))."""
    watch = select.poll()
    watch.register(out.handle, 0)
    return out.path is None and any(event & select.POLLERR for _, event in watch.poll(0))
