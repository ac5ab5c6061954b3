"""Copy an image, or a part of one, so that holes and zeros take no room."""

import errno
import os
from pathlib import Path
from typing import IO

from assembler.errors import HostError

_CHUNK = 64 << 10  # bytes
_ZEROS = bytes(_CHUNK)


def write_sparse(stream: IO[bytes], target: IO[bytes]) -> None:
    """Write all of a stream to a new file, chunks of zeros as holes; raises OSError."""
    size = 0
    while chunk := stream.read(_CHUNK):
        if chunk == _ZEROS[: len(chunk)]:
            target.seek(len(chunk), os.SEEK_CUR)
        else:
            target.write(chunk)
        size += len(chunk)
    target.truncate(size)


def copy_sparse(source: Path, target: Path, start: int, length: int) -> None:
    """Copy a range of `source` (bytes) to a new file, holes staying holes.

    What lies beyond the end of `source` is a hole. Raises HostError when `source` shrinks
    meanwhile, OSError when it cannot be read or `target` cannot be written.
    """
    with source.open("rb") as reader, target.open("wb") as writer:
        writer.truncate(length)
        position, end = start, start + length
        while position < end:
            try:
                data = os.lseek(reader.fileno(), position, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # only a hole is left
                    return
                raise
            stop = min(end, os.lseek(reader.fileno(), data, os.SEEK_HOLE))
            if data >= end:
                return
            writer.seek(data - start)
            while data < stop:
                sent = os.sendfile(writer.fileno(), reader.fileno(), data, stop - data)
                if sent == 0:
                    raise HostError("the image became shorter while it was read")
                data += sent
            position = stop
