"""VMDK that is compressed and read from start to end, for OVA files and for AWS's import.

Source: as `vmdk.py`, "Stream-Optimized Compressed Sparse Extents".
"""

import struct
from typing import BinaryIO

from assembler.errors import DamagedError
from assembler.formats.format import has_data, is_cut
from assembler.formats.vmdk import Vmdk
from assembler.units import SECTOR

# Sectors of the disk and of a grain, grains of a table, the places of two directories in sectors.
_HEADER = struct.Struct("<12xQQ16xIQQ")
_AT_END = (1 << 64) - 1  # for a directory whose place is in a footer
_FOOTER, _LAST = 2 * SECTOR, SECTOR  # bytes before the end: the footer, and a marker of zeros
_GRAIN = struct.Struct("<QI")  # before the data of a grain: its place on the disk, bytes of data
_TABLE = 512  # grains that a table has at most
_MOST_TABLES = 1 << 21  # for 64 TiB


class StreamVmdk(Vmdk):
    """The subformat streamOptimized."""

    name = "vmdk-stream"
    title = "VMDK, stream-optimised"
    options = ("-o", "subformat=streamOptimized")
    compresses = True
    is_stream = True

    def inspect(self, file: BinaryIO, size: int) -> list[str]:
        """As `stream_faults`."""
        return stream_faults(file, 0, size)


def stream_faults(file: BinaryIO, start: int, length: int) -> list[str]:
    """What follows the last grain of a stream, which is so many bytes of a file from `start` on.

    Raises DamagedError if the stream is cut, and OSError.
    """

    def read(place: int, size: int) -> bytes:
        file.seek(start + place)
        return file.read(size) if place + size <= length else b""

    header = read(0, _HEADER.size)
    if header and _HEADER.unpack(header)[-1] == _AT_END:
        header = read(max(0, length - _FOOTER), _HEADER.size)
        mark = Vmdk.marks[0][1]
        if not header.startswith(mark) or any(read(length - _LAST, SECTOR)):
            raise DamagedError("it is cut, or something follows it: its footer is not at its end")
    if not header:
        raise is_cut(length, _HEADER.size)
    sectors, grain, in_table, other_directory, directory = _HEADER.unpack(header)
    count = -(-sectors // max(1, grain * in_table))
    if not grain or not 0 < in_table <= _TABLE or count > _MOST_TABLES:
        return []  # qemu-img does not open it
    ends = [(directory * SECTOR + 4 * count)]
    if other_directory != _AT_END:
        ends.append(other_directory * SECTOR + 4 * count)
    tables = {*struct.unpack(f"<{count}I", read(directory * SECTOR, 4 * count) or bytes(4 * count))}
    tables -= {0}
    ends += [place * SECTOR + 4 * in_table for place in tables]
    if max(ends) <= length:
        last = max((_last_grain(read(one * SECTOR, 4 * in_table)) for one in tables), default=0)
        size = _GRAIN.unpack(read(last * SECTOR, _GRAIN.size) or bytes(_GRAIN.size))[1]
        ends.append(last * SECTOR + (_GRAIN.size + size if last else 0))
    end = -(-max(ends) // SECTOR) * SECTOR
    if end > length:
        raise is_cut(length, end)
    if header == read(0, _HEADER.size) and has_data(file, start + end, start + length):
        return ["something follows its last grain"]
    return []


def _last_grain(table: bytes) -> int:
    """The sector of the last grain of a table; 0 if it has none."""
    return int(max(struct.unpack(f"<{len(table) // 4}I", table)))
