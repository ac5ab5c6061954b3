"""Which bytes of an image an ext4 uses: all others may be anything."""

import re
from collections.abc import Iterator
from pathlib import Path

from assembler.filesystems.protocol import RootFileSystem
from assembler.host import process
from assembler.units import BLOCK

_FREE = re.compile(rb"^ +Free blocks: (.*)$", re.MULTILINE)
_RUN = re.compile(rb"(\d+)(?:-(\d+))?")


def used_by_ext4(image: Path, made: RootFileSystem) -> Iterator[range]:
    """The used bytes in order, by the block bitmaps as dumpe2fs reads them; raises HostError."""
    argv = ["dumpe2fs", f"{image}?offset={made.offset}"]
    printed = process.run(argv, what="reading the block bitmaps").stdout
    place = 0
    for line in _FREE.findall(printed):
        for first, last in _RUN.findall(line):
            start, end = int(first) * BLOCK, (int(last or first) + 1) * BLOCK
            if start > place:
                yield range(made.offset + place, made.offset + start)
            place = end
    if place < made.size:
        yield range(made.offset + place, made.offset + made.size)
