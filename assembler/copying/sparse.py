"""Copy an image, or a part of one, so that holes and zeros take no room."""

import os
from pathlib import Path
from typing import IO

from assembler.errors import HostError
from assembler.host.holes import data_ranges

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
        for one in data_ranges(reader.fileno(), start, start + length):
            data = one.start
            writer.seek(data - start)
            while data < one.stop:
                sent = os.sendfile(writer.fileno(), reader.fileno(), data, one.stop - data)
                if sent == 0:
                    raise HostError("the image became shorter while it was read")
                data += sent
