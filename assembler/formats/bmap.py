"""The block map of a raw image, by which bmaptool copies only what is used.

Source: bmaptool's BmapCreate.py and BmapCopy.py, version 2.0 of the map.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree

from assembler.host.holes import data_ranges
from assembler.units import BLOCK, ceil_div

_VERSION = "2.0"
_NO_CHECKSUM = "0" * 64  # stands in the file while its own check sum is computed


def data_of(image: Path) -> Iterator[range]:
    """The bytes of a file that are not in a hole, in order; raises OSError."""
    with image.open("rb") as file:
        yield from data_ranges(file.fileno(), 0, os.fstat(file.fileno()).st_size)


def block_map(size: int, used: Iterable[range]) -> bytes:
    """The map of a disk of `size` bytes whose bytes `used` are to be copied.

    The ranges may overlap and be in any order. They have no check sums, which would take another
    look at all data; bmaptool copies without.
    """
    blocks = [*_joined(used)]
    root = ElementTree.Element("bmap", version=_VERSION)
    mapped = sum(last - first + 1 for first, last in blocks)
    for name, value in (
        ("ImageSize", size),
        ("BlockSize", BLOCK),
        ("BlocksCount", ceil_div(size, BLOCK)),
        ("MappedBlocksCount", mapped),
        ("ChecksumType", "sha256"),
        ("BmapFileChecksum", _NO_CHECKSUM),
    ):
        ElementTree.SubElement(root, name).text = f" {value} "
    ranges = ElementTree.SubElement(root, "BlockMap")
    for first, last in blocks:
        words = f"{first}-{last}" if last > first else f"{first}"
        ElementTree.SubElement(ranges, "Range").text = f" {words} "
    ElementTree.indent(root, "    ")
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"
    return text.replace(_NO_CHECKSUM.encode(), hashlib.sha256(text).hexdigest().encode())


def _joined(used: Iterable[range]) -> Iterator[tuple[int, int]]:
    """The first and last blocks of ranges of bytes, in order, each block once."""
    first, last = 0, -1
    for one in sorted(used, key=lambda one: one.start):
        start, end = one.start // BLOCK, ceil_div(one.stop, BLOCK) - 1
        if start > last + 1:
            if last >= first:
                yield first, last
            first = start
        last = max(last, end)
    if last >= first:
        yield first, last
