"""A tar of one sparse file in GNU's older format, the same bytes as GNU tar writes.

GNU tar reads all zeros of a file to find its holes, unless the archive is to depend on the file
system; here only data is read. Source: GNU tar's src/tar.h (struct oldgnu_header and struct
sparse_header) and src/sparse.c; the runs are those of --hole-detection=raw.
"""

import os
import re
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path

from assembler.errors import HostError
from assembler.host.holes import data_ranges
from assembler.units import MIB, ceil_div, round_up

_BLOCK = 512  # bytes
_RECORD = 20 * _BLOCK  # whose whole number an archive has, with two blocks of zeros at its end
_IN_HEADER, _IN_EXTENSION = 4, 21  # runs
_MAP, _CHECKSUM = 386, slice(148, 156)  # places in the header
_NUMBER = 12  # bytes
_MAX_OCTAL = 1 << 33  # from which on a number is binary
_BINARY = 1 << 95
_ZEROS = bytes(_BLOCK)
_NOT_ZERO = re.compile(rb"[^\0]")


class SparseTar:
    """The archive of an image, whose data is found when this is made; raises OSError."""

    def __init__(self, image: Path, member: str, epoch: int) -> None:
        self._image, self._size = image, image.stat().st_size  # a whole number of blocks
        self._runs = [*_runs(image, self._size)]
        self.data = sum(map(len, self._runs))  # bytes
        self.sent = 0  # of them
        self._start = self._header(member, epoch)

    def send(self, pipe: int) -> None:
        """Write the archive to a pipe; raises OSError, and HostError for a shortened image."""
        with open(pipe, "wb", closefd=False) as stream:
            stream.write(self._start)
        with self._image.open("rb") as file:
            for run in self._runs:
                place = run.start
                while place < run.stop:
                    count = os.sendfile(pipe, file.fileno(), place, run.stop - place)
                    if not count:
                        raise HostError(f"{self._image} became shorter while it was read")
                    place, self.sent = place + count, self.sent + count
        length = len(self._start) + self.data
        with open(pipe, "wb", closefd=False) as stream:
            stream.write(bytes(round_up(length + 2 * _BLOCK, _RECORD) - length))

    def _header(self, member: str, epoch: int) -> bytes:
        info = tarfile.TarInfo(member)
        info.type, info.mode = tarfile.GNUTYPE_SPARSE, 0o644
        info.size, info.mtime = self.data, epoch
        header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
        runs = self._runs
        if not runs or runs[-1].stop < self._size:
            runs = [*runs, range(self._size, self._size)]
        places = b"".join(_number(run.start) + _number(len(run)) for run in runs)
        most = 2 * _NUMBER * _IN_HEADER
        rest = places[most:]
        part = struct.pack(f"{most}s?", places, bool(rest)) + _number(self._size)
        header[_MAP : _MAP + len(part)] = part
        header[_CHECKSUM] = b" " * 8
        header[_CHECKSUM] = b"%06o\0 " % sum(header)
        most = 2 * _NUMBER * _IN_EXTENSION
        for at in range(0, len(rest), most):
            header += struct.pack(f"{most}s?7x", rest[at : at + most], len(rest) > at + most)
        return bytes(header)


def _number(value: int) -> bytes:
    return b"%011o\0" % value if value < _MAX_OCTAL else (value | _BINARY).to_bytes(_NUMBER, "big")


def _runs(image: Path, size: int) -> Iterator[range]:
    """The longest runs of blocks that are not all zeros, in order."""
    last = range(0)
    with image.open("rb") as file:
        for data in data_ranges(file.fileno(), 0, size):
            for at in range(data.start // _BLOCK * _BLOCK, data.stop, MIB):
                chunk = os.pread(file.fileno(), min(MIB, size - at), at)
                for start, end in _runs_in(chunk[: round_up(data.stop - at, _BLOCK)]):
                    if at + start > last.stop:
                        yield from filter(None, [last])
                        last = range(at + start, at + start)
                    last = range(last.start, max(last.stop, at + end))
    yield from filter(None, [last])


def _runs_in(chunk: bytes) -> Iterator[tuple[int, int]]:
    end = 0
    while found := _NOT_ZERO.search(chunk, end):
        start = found.start() // _BLOCK * _BLOCK
        end = _block_of_zeros(chunk, start)
        yield start, end


def _block_of_zeros(chunk: bytes, place: int) -> int:
    """The place of the next block of zeros, or the end of the chunk."""
    while (found := chunk.find(_ZEROS, place)) >= 0:
        place = ceil_div(found, _BLOCK) * _BLOCK
        if chunk.startswith(_ZEROS, place):
            return place
    return len(chunk)
