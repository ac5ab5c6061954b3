"""Read bytes in order, each once, and keep their position in the file."""

import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Protocol

from assembler.errors import AssembleError

_PIECE = 1 << 18  # bytes read at once, at most
_FIRST = 1 << 14  # bytes read at once after a seek: another may follow soon
_PIPE = 1 << 20  # bytes: the most that an ordinary user may ask for (pipe(7))
_SEEK_FROM = 1 << 15  # bytes from which on it is cheaper to seek than to read
_U64 = struct.Struct("<Q")


class StreamError(AssembleError):
    """The bytes at `position` are wrong."""

    def __init__(self, what: str, position: int) -> None:
        super().__init__(f"byte {position} {what}")
        self.position = position


class Digest(Protocol):
    """A hash of hashlib."""

    def update(self, data: memoryview, /) -> None:
        """Take in more bytes."""

    def hexdigest(self) -> str:
        """The hash of what was taken in."""


class Stream:
    """Reads from a file descriptor, which it does not close.

    A regular file is read from its present position, and `skip` seeks in it; a pipe is read whole.
    Numbers and strings are as Nix serialises them (see nar.py).
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._buffer = b""
        self._start = 0  # where in the stream the buffer starts
        self._taken = 0  # how much of the buffer was taken
        self._hashed = 0  # how much of it is hashed, or need not be
        self._next = _PIECE  # how much to read at once
        self._digest: Digest | None = None
        self._end: int | None = None  # of a regular file
        status = os.fstat(handle)
        if stat.S_ISREG(status.st_mode):
            self._start, self._end = os.lseek(handle, 0, os.SEEK_CUR), status.st_size
        else:  # a pipe: the larger it is, the less often the writer waits
            with suppress(OSError):
                fcntl.fcntl(handle, fcntl.F_SETPIPE_SZ, _PIPE)

    @property
    def seekable(self) -> bool:
        """Whether its data can be read once more, by position."""
        return self._end is not None

    @property
    def position(self) -> int:
        """The byte of the file that comes next."""
        return self._start + self._taken

    def error(self, what: str) -> StreamError:
        """An error about what comes next."""
        return StreamError(what, self.position)

    def hash_into(self, digest: Digest | None) -> None:
        """Hash everything that is taken from here on with `digest`; with None stop that."""
        self._flush_digest()
        self._digest = digest

    def peek(self, length: int) -> bytes:
        """The next `length` bytes, or fewer at the end, without taking them."""
        self._fill(length)
        return self._buffer[self._taken : self._taken + length]

    def rest(self) -> bytes:
        """Take all remaining bytes."""
        parts = [self._buffer[self._taken :]]
        while part := os.read(self._handle, _PIECE):
            parts.append(part)
        return b"".join(parts)

    def looking_at(self, expected: bytes) -> bool:
        """Whether these bytes come next; they are not taken."""
        self._fill(len(expected))
        return self._buffer.startswith(expected, self._taken)

    def expect(self, expected: bytes, what: str) -> None:
        """Take these bytes; raises StreamError with `what` should be there."""
        if not self.looking_at(expected):
            if len(self._buffer) - self._taken < len(expected):
                raise self._cut_short(what)
            raise self.error(f"should be {what}")
        self._taken += len(expected)

    def number(self) -> int:
        """Take a 64-bit number."""
        self._fill(8)
        if len(self._buffer) - self._taken < 8:
            raise self._cut_short("a number")
        (value,) = _U64.unpack_from(self._buffer, self._taken)
        self._taken += 8
        return int(value)

    def string(self, what: str, longest: int) -> bytes:
        """Take a string of at most `longest` bytes."""
        start = self.position
        length = self.number()
        if length > longest:
            raise StreamError(f"should be {what}, but is {length} bytes long", start)
        padded = length + -length % 8
        self._fill(padded)
        if len(self._buffer) - self._taken < padded:
            raise self._cut_short(what)
        text = self._buffer[self._taken : self._taken + length]
        if any(self._buffer[self._taken + length : self._taken + padded]):
            raise self.error("should be followed by zeros only")
        self._taken += padded
        return text

    def pieces(self, length: int) -> Iterator[memoryview]:
        """Take `length` bytes in pieces; each piece is valid until the next one is taken."""
        while length:
            if self._taken == len(self._buffer):
                self._fill(1)
            piece = memoryview(self._buffer)[self._taken : self._taken + length]
            if not piece:
                raise self._cut_short(f"{length} more bytes of a file")
            self._taken += len(piece)
            length -= len(piece)
            yield piece

    def skip(self, length: int) -> None:
        """Skip `length` bytes."""
        buffered = len(self._buffer) - self._taken
        if self._end is None or self._digest is not None or length < buffered + _SEEK_FROM:
            for _ in self.pieces(length):
                pass
            return
        target = self.position + length
        if target > self._end:
            raise StreamError(f"is the end, {target - self._end} bytes too early", self._end)
        self._start, self._taken, self._hashed, self._buffer = target, 0, 0, b""
        self._next = _FIRST
        os.lseek(self._handle, target, os.SEEK_SET)

    def at_end(self) -> bool:
        """Whether nothing more comes."""
        return not self.peek(1)

    def _cut_short(self, what: str) -> StreamError:
        end = self._start + len(self._buffer)
        return StreamError(f"is the end, where {what} should be", end)

    def _fill(self, wanted: int) -> None:
        """Have `wanted` bytes in the buffer, or all that are left."""
        missing = wanted - (len(self._buffer) - self._taken)
        if missing <= 0:
            return
        self._flush_digest()
        parts = [self._buffer[self._taken :]]
        while missing > 0 and (part := os.read(self._handle, self._next)):
            parts.append(part)
            missing -= len(part)
            self._next = min(self._next * 2, _PIECE)
        self._start += self._taken
        self._taken = self._hashed = 0
        self._buffer = b"".join(parts) if parts[0] else b"".join(parts[1:])  # one is not copied

    def _flush_digest(self) -> None:
        if self._digest is not None:
            self._digest.update(memoryview(self._buffer)[self._hashed : self._taken])
        self._hashed = self._taken
