"""Copy an image, or a part of one, so that holes and zeros take no room."""

import os
import sys
from pathlib import Path
from typing import IO, Protocol

from assembler.copying.sharing import clone
from assembler.errors import HostError
from assembler.host.holes import data_ranges

_CHUNK = 64 << 10  # bytes
_ZEROS = bytes(_CHUNK)


class Readable(Protocol):
    """Whatever gives its next bytes."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes, none at the end."""
        ...


def write_sparse(stream: Readable, target: IO[bytes], length: int | None = None) -> None:
    """Write a stream, or its next `length` bytes, at the end of a new file; raises OSError.

    Chunks of zeros become holes.
    """
    left = sys.maxsize if length is None else length
    while chunk := stream.read(min(_CHUNK, left)):
        if chunk == _ZEROS[: len(chunk)]:
            target.seek(len(chunk), os.SEEK_CUR)
        else:
            target.write(chunk)
        left -= len(chunk)
    target.truncate(target.tell())


def can_clone(source: Path, target: Path) -> bool:
    """Make the new file `target`, which shares all data of `source` where the system can do that.

    Otherwise it is empty. Raises OSError.
    """
    with source.open("rb") as reader, target.open("wb") as writer:
        try:
            clone(reader.fileno(), writer.fileno())
        except OSError:
            return False
    return True


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
