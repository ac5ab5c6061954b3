"""Copies file data into the image, in a process of its own beside the one that makes metadata.

Run as a script with the image's path; it stands alone so that it starts in a few milliseconds.
Standard input carries records, a header (see HEADER) and the path of a file to read; standard
output carries lines, `<bytes>` copied so far or `!<message>` for the failure that ended it.
"""

import errno
import os
import struct
import sys

# Length of the path, offset in the file, offset in the image, bytes to copy.
HEADER = struct.Struct("<HQQQ")
_REPORT = 8 << 20  # bytes between two reports

# What copy_file_range says where these two files can only be copied by other means.
_NO_SHARING = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)


def _copy_range(source: int, image: int, start: int, target: int, length: int) -> int:
    """Copy inside the kernel, sharing blocks where the file system can; returns bytes copied."""
    done = 0
    try:
        while done < length:
            n = os.copy_file_range(source, image, length - done, start + done, target + done)
            if n == 0:
                return done
            done += n
    except OSError as error:
        if error.errno not in _NO_SHARING:
            raise
        os.lseek(image, target + done, os.SEEK_SET)
        while done < length:
            n = os.sendfile(image, source, start + done, length - done)
            if n == 0:
                return done
            done += n
    return done


def serve(image_path: str) -> None:
    """Copy what standard input asks for until it ends; raises OSError with the file's name."""
    image = os.open(image_path, os.O_WRONLY | os.O_CLOEXEC)
    requests = sys.stdin.buffer
    report, path, source = 0, b"", -1
    copied = 0
    while header := requests.read(HEADER.size):
        size, start, target, length = HEADER.unpack(header)
        wanted = requests.read(size)
        if wanted != path:
            if source >= 0:
                os.close(source)
            path, source = wanted, os.open(wanted, os.O_RDONLY | os.O_CLOEXEC)
        done = _copy_range(source, image, start, target, length)
        if done != length:
            raise OSError(0, "it became shorter while it was read", path)
        copied += length
        if copied - report >= _REPORT:
            os.write(1, b"%d\n" % copied)
            report = copied
    os.write(1, b"%d\n" % copied)


if __name__ == "__main__":
    try:
        serve(sys.argv[1])
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as failure:
        name = failure.filename
        where = os.fsencode(name) if name else b"the image"
        os.write(1, b"!%s: %s\n" % (where, os.fsencode(failure.strerror or str(failure))))
        sys.exit(1)
