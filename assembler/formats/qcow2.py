"""QCOW2: QEMU's own format, plain or with compressed clusters.

Source: QEMU, docs/interop/qcow2.txt.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from assembler.formats.format import Disk, has_data, is_cut
from assembler.formats.qemu_img import QemuFormat
from assembler.units import SECTOR

_HEADER = struct.Struct(">20xI12xIQQI12x")  # of version 2, with which that of version 3 begins
_INCOMPATIBLE = struct.Struct(">72xQ")
_EXTENDED = 1 << 4  # a second word for each cluster
_CLUSTER_BITS = range(9, 22)
_OFFSET = (1 << 56) - (1 << 9)  # in an entry of a table
_COMPRESSED = 0b01  # the first bits of an entry


class Qcow2(QemuFormat):
    """Compat 1.1, clusters of 64 KiB. It holds nothing that differs from run to run."""

    name = "qcow2"
    title = "QCOW2"
    endings = ("qcow2",)
    driver = "qcow2"
    marks = ((0, b"QFI\xfb"),)

    def fix(self, file: BinaryIO, disk: Disk) -> None:
        """Leave it: qemu-img draws nothing."""

    def inspect(self, file: BinaryIO, size: int) -> list[str]:
        """Whether all tables, and all compressed clusters, end before the file does.

        qemu-img takes what is missing for zeros, and so makes up a disk.
        """
        head = file.read(_INCOMPATIBLE.size)
        if len(head) < _HEADER.size:
            raise is_cut(size, _HEADER.size)
        bits, entries, directory, counts, count_clusters = _HEADER.unpack_from(head)
        if bits in _CLUSTER_BITS:
            ends = [directory + 8 * entries, counts + (count_clusters << bits)]
            if max(ends) <= size:
                file.seek(directory)
                words = struct.unpack(f">{entries}Q", file.read(8 * entries))
                tables = sorted({word & _OFFSET for word in words} - {0})
                ends += [place + (1 << bits) for place in tables]
            if max(ends) <= size:
                extended = len(head) == _INCOMPATIBLE.size and _INCOMPATIBLE.unpack(head)[0]
                step = 2 if extended & _EXTENDED else 1
                ends += [end for place in tables for end in _compressed(file, place, bits, step)]
            if max(ends) > size:
                raise is_cut(size, max(ends))
        return []


def _compressed(file: BinaryIO, place: int, bits: int, step: int) -> Iterator[int]:
    """Where the last compressed cluster of a table of clusters ends, if it has one."""
    if not has_data(file, place, place + (1 << bits)):
        return
    file.seek(place)
    words = struct.unpack(f">{1 << bits - 3}Q", file.read(1 << bits))[::step]
    shift = 70 - bits  # bits of the place; the others count the sectors after the first one
    places = [word & (1 << 62) - 1 for word in words if word >> 62 == _COMPRESSED]
    if places:
        last = max(places, key=lambda word: word & (1 << shift) - 1)
        first_sector = (last & (1 << shift) - 1) // SECTOR
        yield (first_sector + (last >> shift) + 1) * SECTOR
