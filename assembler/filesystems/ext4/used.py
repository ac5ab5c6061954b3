"""Which bytes of an image an ext4 uses: all others may be anything."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from assembler.errors import HostError
from assembler.filesystems.ext4 import libext2fs as lib
from assembler.filesystems.protocol import RootFileSystem
from assembler.units import BLOCK


def used_by_ext4(image: Path, made: RootFileSystem) -> Iterator[range]:
    """The used bytes in order, by the block bitmaps as libext2fs reads them; raises HostError."""
    place = 0
    for start, end in _free_runs(image, made):
        if start > place:
            yield range(made.offset + place, made.offset + start)
        place = end
    if place < made.size:
        yield range(made.offset + place, made.offset + made.size)


def _free_runs(image: Path, made: RootFileSystem) -> Iterator[tuple[int, int]]:
    """Where free blocks are, in order, in bytes from the start of the file system."""
    ffi, library, errors = lib.load()

    def check(code: int) -> None:
        if code:
            words: Any = ffi.string(errors.error_message(code))
            raise HostError(f"reading the block bitmaps: {words.decode(errors='replace')}")

    handle, found = ffi.new("ext2_filsys *"), ffi.new("blk64_t[2]")
    options, flags = f"offset={made.offset}".encode(), lib.READ_FLAGS
    manager = library.unix_io_manager
    check(library.ext2fs_open2(os.fsencode(image), options, flags, 0, 0, manager, handle))
    try:
        check(library.ext2fs_read_bitmaps(handle[0]))
        blocks = made.size // BLOCK
        goal = 0
        # After the last free block, the search goes on at the start.
        while goal < blocks and not library.ext2fs_new_range(
            handle[0], 0, goal, blocks, ffi.NULL, found, found + 1
        ):
            start, count = int(found[0]), int(found[1])
            if start < goal:
                return
            yield start * BLOCK, (start + count) * BLOCK
            goal = start + count
    finally:
        library.ext2fs_free(handle[0])
