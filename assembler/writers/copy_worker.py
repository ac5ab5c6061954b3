"""Copies file data into the image, in processes of their own beside the one that makes metadata.

Run as a script with the image's path; it stands alone so that it starts in a few milliseconds.
Standard input is a pipe in packet mode (pipe(2), O_DIRECT), which several workers share: every
packet holds whole records, a header (see HEADER) and the path of a file to read. Standard output
carries lines: the bytes copied since the last one, or `!<message>` for what ended the worker.
"""

import contextlib
import errno
import os
import struct
import sys

# Length of the path, offset in the file, offset in the image, bytes to copy.
HEADER = struct.Struct("<HQQQ")
PACKET = 4096  # bytes: PIPE_BUF, the most that one packet holds
_REPORT = 8 << 20  # bytes between two reports

# What copy_file_range says where these two files can only be copied by other means.
_NO_SHARING = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)


def _copy_range(source: int, image: int, start: int, target: int, length: int) -> int:
    """Copy inside the kernel, sharing blocks where the file system can; returns bytes copied."""
    done = 0
    try:
        while done < length:
            n = os.copy_file_range(source, image, length - done, start + done, target + done)
            if n == 0:  # the end of the file, or a file system that does not say what it lacks
                break
            done += n
    except OSError as error:
        if error.errno not in _NO_SHARING:
            raise
    if done < length:
        os.lseek(image, target + done, os.SEEK_SET)
    while done < length:
        n = os.sendfile(image, source, start + done, length - done)
        if n == 0:
            break
        done += n
    return done


def serve(image_path: str) -> None:
    """Copy what standard input asks for until it ends; raises OSError with the file's name."""
    image = os.open(image_path, os.O_WRONLY | os.O_CLOEXEC)
    path, source = b"", -1
    unreported = 0
    while packet := os.read(0, PACKET):
        position = 0
        while position < len(packet):
            size, start, target, length = HEADER.unpack_from(packet, position)
            position += HEADER.size + size
            wanted = packet[position - size : position]
            if wanted != path:
                if source >= 0:
                    os.close(source)
                path, source = wanted, os.open(wanted, os.O_RDONLY | os.O_CLOEXEC)
            if _copy_range(source, image, start, target, length) != length:
                raise OSError(0, "it became shorter while it was read", path)
            unreported += length
        if unreported >= _REPORT:
            os.write(1, b"%d\n" % unreported)
            unreported = 0
    os.write(1, b"%d\n" % unreported)


if __name__ == "__main__":
    try:
        serve(sys.argv[1])
    except BrokenPipeError:  # who asked has gone
        sys.exit(1)
    except OSError as failure:
        name = failure.filename
        where = os.fsencode(name) if name else b"the image"
        with contextlib.suppress(BrokenPipeError):
            os.write(1, b"!%s: %s\n" % (where, os.fsencode(failure.strerror or str(failure))))
        sys.exit(1)
