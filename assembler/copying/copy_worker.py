"""Copies file data into the image, in processes of their own beside the one that makes metadata.

Run as a script with the image's path; it stands alone so that it starts in a few milliseconds.
Standard input is a pipe in packet mode (pipe(2), O_DIRECT), which several workers may share: every
packet holds whole records, a header (see HEADER) and the path of a file to read, or other bytes.
Standard output carries lines: the bytes copied since the last one, `=<name> <hash>` for a hash that
is complete, or `!<message>` for what ended the worker.

Between OPEN and CLOSE, which need a pipe of the worker's own, all data is hashed, too: it is read
for that and copied at once, while it is still in the page cache.
"""

import contextlib
import errno
import os
import stat
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash

# What to do, length of the path or bytes, offset in the file, offset in the image, bytes to copy.
HEADER = struct.Struct("<BHQQQ")
COPY, OPEN, LITERAL, HASH, ZEROS, CLOSE = range(6)
PACKET = 4096  # bytes: PIPE_BUF, the most that one packet holds
_REPORT = 8 << 20  # bytes between two reports
_PIECE = 1 << 18  # bytes: stays in the processor's cache between reading and hashing

_NO_FILE = "it is no longer a file"

# Errors of copy_file_range for two files that can be copied by other means.
_NO_SHARING = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)


def is_regular(source: int) -> bool:
    """Whether an open file is a regular file: a FIFO or a device may have taken its place."""
    return stat.S_ISREG(os.fstat(source).st_mode)


def blame(error: OSError, source: int, path: bytes, start: int, length: int) -> OSError:
    """The error of a copy; it names the source if reading the source is what fails."""
    if not is_regular(source):
        return OSError(0, _NO_FILE, path)
    try:
        hash_range(None, source, start, length)
    except OSError as failed:
        return OSError(failed.errno, failed.strerror, path)
    return error


def copy_range(source: int, image: int, start: int, target: int, length: int) -> int:
    """Copy inside the kernel, sharing blocks where the file system can; returns bytes copied."""
    done = 0
    try:
        while done < length:
            n = os.copy_file_range(source, image, length - done, start + done, target + done)
            if n == 0:  # the end of the file, or a file system that cannot do it
                break
            done += n
    except OSError as error:
        if error.errno not in _NO_SHARING:
            raise
    if done < length:
        # copy_file_range takes only regular files, but sendfile would read a device.
        if not is_regular(source):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        done += send_range(source, image, start + done, target + done, length - done)
    return done


def send_range(source: int, image: int, start: int, target: int, length: int) -> int:
    """Copy inside the kernel and share nothing; returns bytes copied."""
    os.lseek(image, target, os.SEEK_SET)
    done = 0
    while done < length:
        n = os.sendfile(image, source, start + done, length - done)
        if n == 0:
            break
        done += n
    return done


def hash_range(digest: "_Hash | None", source: int, start: int, length: int) -> int:
    """Hash bytes of a file, or only read them; returns how many there were."""
    buffer = memoryview(bytearray(min(length, _PIECE)))
    done = 0
    while done < length:
        n = os.preadv(source, [buffer[: length - done]], start + done)
        if n == 0:
            break
        if digest is not None:
            digest.update(buffer[:n])
        done += n
    return done


def hash_zeros(digest: "_Hash", length: int) -> None:
    """Hash `length` zeros."""
    zeros = memoryview(bytes(min(length, _PIECE)))
    for done in range(0, length, _PIECE):
        digest.update(zeros[: length - done])


class CopyWorker:
    """Carries out records; raises OSError with the name of the file that failed."""

    def __init__(self, image_path: str) -> None:
        self._image = os.open(image_path, os.O_WRONLY | os.O_CLOEXEC)
        self._path, self._source = b"", -1
        self._digest: _Hash | None = None
        self._name = b""
        self._unreported = 0

    def run(self) -> None:
        """Carry out all records on standard input until it ends."""
        while packet := os.read(0, PACKET):
            position = 0
            while position < len(packet):
                what, size, start, target, length = HEADER.unpack_from(packet, position)
                position += HEADER.size + size
                self._do(what, packet[position - size : position], start, target, length)
            if self._unreported >= _REPORT:
                self._report()
        self._report()

    def _report(self) -> None:
        os.write(1, b"%d\n" % self._unreported)
        self._unreported = 0

    def _do(self, what: int, text: bytes, start: int, target: int, length: int) -> None:
        digest = self._digest
        if what == OPEN:
            import hashlib  # noqa: PLC0415 - it takes 10 ms, and few workers need it

            self._digest, self._name = hashlib.sha256(), text
            return
        if what in (COPY, HASH):
            self._open(text)
            if digest is not None and not is_regular(self._source):
                raise OSError(0, _NO_FILE, self._path)
        if digest is not None:
            if what == LITERAL:
                digest.update(text)
            elif what == ZEROS:
                hash_zeros(digest, length)
            elif what == CLOSE:
                os.write(1, b"=%s %s\n" % (self._name, digest.hexdigest().encode()))
                self._digest = None
        if what == COPY:
            # In pieces, so that data which was read to be hashed is in memory when it is copied.
            for skip in range(0, length, _REPORT):
                piece = min(_REPORT, length - skip)
                if digest is not None:
                    self._whole(hash_range(digest, self._source, start + skip, piece), piece)
                self._whole(self._copy(start + skip, target + skip, piece), piece)
            self._unreported += length
        elif what == HASH and digest is not None:
            self._whole(hash_range(digest, self._source, start, length), length)

    def _copy(self, start: int, target: int, length: int) -> int:
        try:
            return copy_range(self._source, self._image, start, target, length)
        except OSError as error:
            raise blame(error, self._source, self._path, start, length) from None

    def _open(self, path: bytes) -> None:
        if path != self._path:
            if self._source >= 0:
                os.close(self._source)
            self._path, self._source = b"", -1
            # O_NONBLOCK: do not wait at a FIFO that has taken the place of the file.
            self._source = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            self._path = path

    def _whole(self, done: int, length: int) -> None:
        if done != length:
            raise OSError(0, "it became shorter while it was read", self._path)


if __name__ == "__main__":
    try:
        CopyWorker(sys.argv[1]).run()
    except BrokenPipeError:  # who asked has gone
        sys.exit(1)
    except OSError as failure:
        name = failure.filename
        where = os.fsencode(name) if name else b"the image"
        with contextlib.suppress(BrokenPipeError):
            os.write(1, b"!%s: %s\n" % (where, os.fsencode(failure.strerror or str(failure))))
        sys.exit(1)
