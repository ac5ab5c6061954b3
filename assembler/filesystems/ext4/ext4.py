"""One open ext4 file system: inodes, extents, directories and extended attributes.

libext2fs makes the structure. Two things are laid out here, since the library is slow at them: the
fields of an inode and the entries of a directory block (Linux
Documentation/filesystems/ext4/{inodes,directory}.rst).
"""

import os
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from assembler.errors import HostError, InternalError
from assembler.filesystems.ext4 import libext2fs as lib
from assembler.filesystems.ext4_format import (
    DIR_SPACE,
    DIRENT,
    EXTENTS_IN_INODE,
    MAX_EXTENT,
    MAX_LINKS,
    TAIL,
    TAIL_TYPE,
    entry_size,
)
from assembler.units import BLOCK

# struct ext2_inode_large: the first 128 bytes, then the 32 that metadata_csum and times need.
_INODE = struct.Struct("<HHIIIIIHHIII60sIIIIHHHHHHHHIIIIIII")

# How many blocks to take from the bitmap at once; unused ones are released at the end.
_RUN = 32768

Extent = tuple[int, int]  # first physical block, number of blocks


class Attributes(NamedTuple):
    """What stat(2) shows of an inode besides its size."""

    mode: int  # type and permission bits
    uid: int
    gid: int
    mtime: int  # seconds since 1970
    links: int = 1


def split_time(seconds: int) -> tuple[int, int]:
    """A time as an inode holds it: 32 bits, read as signed, and two epoch bits above them.

    Linux fs/ext4/ext4.h, ext4_encode_extra_time.
    """
    return seconds & 0xFFFFFFFF, (seconds + 0x80000000 >> 32) & 3


def pack_directory(entries: Iterable[tuple[bytes, int, int]]) -> list[bytearray]:
    """Lay (name, inode, file type) out as directory blocks with room for the checksum."""
    blocks: list[bytearray] = []
    used, last = DIR_SPACE, 0
    for name, ino, kind in entries:
        size = entry_size(name)
        if used + size > DIR_SPACE:
            if blocks:
                _stretch(blocks[-1], last)
            blocks.append(bytearray(BLOCK))
            used = 0
            TAIL.pack_into(blocks[-1], DIR_SPACE, 0, TAIL.size, 0, TAIL_TYPE, 0)
        DIRENT.pack_into(blocks[-1], used, ino, size, len(name), kind)
        start = used + DIRENT.size
        blocks[-1][start : start + len(name)] = name
        last, used = used, used + size
    _stretch(blocks[-1], last)
    return blocks


def _stretch(block: bytearray, last: int) -> None:
    """Extend the entry at `last` to the end of its block, as ext4 requires."""
    struct.pack_into("<H", block, last + 4, DIR_SPACE - last)


class Ext4:
    """An empty ext4 in an image, open for filling; a context manager that closes it."""

    def __init__(self, image: Path, offset: int) -> None:
        """Open the file system that starts `offset` bytes into `image`; raises HostError."""
        self._ffi, self._lib, self._com_err = lib.load()
        self._handle = self._ffi.new("ext2_filsys *")
        options = f"offset={offset}".encode()
        manager = self._lib.unix_io_manager
        flags = lib.OPEN_FLAGS
        self._check(
            self._lib.ext2fs_open2(os.fsencode(image), options, flags, 0, 0, manager, self._handle),
            "opening the file system",
        )
        self._fs = self._handle[0]
        self._check(self._lib.ext2fs_read_bitmaps(self._fs), "reading the bitmaps")
        self._next_inode = lib.FIRST_INODE + 1
        self._run: Extent = (0, 0)  # blocks taken from the bitmap and not yet used
        self._goal = 0
        self._inode = self._ffi.new("struct ext2_inode_large *")
        self._inode_bytes = self._ffi.buffer(self._inode, lib.INODE_LARGE)
        self._extents = self._ffi.new("ext2_extent_handle_t *")
        self._extent: Any = self._ffi.new("struct ext2fs_extent *")
        self._range = self._ffi.new("blk64_t[2]")

    def __enter__(self) -> "Ext4":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._lib.ext2fs_free(self._fs)
            return
        self.release()
        self._check(self._lib.ext2fs_close_free(self._handle), "closing the file system")

    def _check(self, code: int, doing: str) -> None:
        """Raise HostError with libext2fs's own words when `code` is not zero."""
        if code:
            words: Any = self._ffi.string(self._com_err.error_message(code))
            raise HostError(f"writing ext4: {doing}: {words.decode(errors='replace')}")

    def new_inode(self, *, directory: bool) -> int:
        """Take the next free inode number: a fresh file system has no gaps."""
        ino = self._next_inode
        self._next_inode += 1
        self._lib.ext2fs_inode_alloc_stats2(self._fs, ino, 1, directory)
        return ino

    def allocate(self, blocks: int) -> list[Extent]:
        """Take `blocks` blocks, in as few extents as the free space allows; raises HostError."""
        taken: list[Extent] = []
        while blocks:
            start, count = self._run
            if not count:
                start, count = self._new_run(blocks)
            use = min(count, blocks)
            self._run = (start + use, count - use)
            blocks -= use
            if taken and sum(taken[-1]) == start:
                taken[-1] = (taken[-1][0], taken[-1][1] + use)
            else:
                taken.append((start, use))
        return taken

    def release(self) -> None:
        """Release unused blocks, so that libext2fs can allocate blocks of its own."""
        start, count = self._run
        if count:
            self._lib.ext2fs_block_alloc_stats_range(self._fs, start, count, -1)
        self._run, self._goal = (0, 0), start or self._goal

    def _new_run(self, wanted: int) -> Extent:
        """Mark the next stretch of free blocks as used and return it."""
        start, count = self._range, self._range + 1
        length = max(wanted, _RUN)
        self._check(
            self._lib.ext2fs_new_range(
                self._fs, 0, self._goal, length, self._ffi.NULL, start, count
            ),
            "allocating blocks",
        )
        self._lib.ext2fs_block_alloc_stats_range(self._fs, start[0], count[0], 1)
        self._goal = start[0] + count[0]
        return start[0], count[0]

    def write_inode(
        self,
        ino: int,
        about: Attributes,
        size: int,
        extents: Sequence[tuple[int, int, int]] = (),
        *,
        symlink: bytes | None = None,
    ) -> None:
        """Write inode `ino` of `size` bytes.

        `extents` are (logical block, physical block, number of blocks) in order; `symlink` is a
        target shorter than FAST_SYMLINK, which takes no block.
        """
        sectors = sum(count for _, _, count in extents) * (BLOCK // 512)
        time, epoch_bits = split_time(about.mtime)
        flags = 0 if symlink is not None else lib.EXTENTS_FLAG
        self._inode_bytes[:] = _INODE.pack(
            about.mode, about.uid & 0xFFFF, size & 0xFFFFFFFF, time, time, time, 0,
            about.gid & 0xFFFF, about.links, sectors & 0xFFFFFFFF, flags, 0, symlink or b"",
            0, 0, size >> 32, 0, sectors >> 32, 0, about.uid >> 16, about.gid >> 16, 0, 0,
            lib.EXTRA_ISIZE, 0, epoch_bits, epoch_bits, epoch_bits, time, epoch_bits, 0, 0,
        )  # fmt: skip
        if symlink is not None:
            self._write_raw(ino)
            return
        extents = split(extents)
        open_extents, insert = self._lib.ext2fs_extent_open2, self._lib.ext2fs_extent_insert
        self._check(open_extents(self._fs, ino, self._inode, self._extents), "opening extents")
        if not extents:
            self._write_raw(ino)
        if len(extents) > EXTENTS_IN_INODE:
            self.release()
        extent = self._extent
        for logical, physical, count in extents:
            extent.e_lblk, extent.e_pblk, extent.e_len = logical, physical, count
            self._check(insert(self._extents[0], lib.INSERT_AFTER, extent), "adding an extent")
        self._lib.ext2fs_extent_free(self._extents[0])

    def _write_raw(self, ino: int) -> None:
        """Write the inode that is in the buffer."""
        write = self._lib.ext2fs_write_inode_full
        self._check(write(self._fs, ino, self._inode, lib.INODE_LARGE), "writing an inode")

    def write_directory(
        self, ino: int, about: Attributes, entries: Iterable[tuple[bytes, int, int]]
    ) -> None:
        """Write a directory whole: its blocks with all (name, inode, file type), and its inode."""
        blocks = pack_directory(entries)
        physical = self.allocate(len(blocks))
        numbers = (block for start, count in physical for block in range(start, start + count))
        write = self._lib.ext2fs_write_dir_block4
        for number, block in zip(numbers, blocks, strict=True):
            self._check(
                write(self._fs, number, self._ffi.from_buffer(block), 0, ino), "a directory"
            )
        # With more subdirectories (feature dir_nlink) the count is kept at 1.
        links = 1 if about.links > MAX_LINKS else about.links
        self.write_inode(ino, about._replace(links=links), len(blocks) * BLOCK, mapped(physical))

    def forget_root_block(self) -> None:
        """Release the block of the empty root directory, which is then written anew."""
        number = self._ffi.new("blk64_t *")
        root = lib.ROOT_INODE
        null = self._ffi.NULL
        bmap = self._lib.ext2fs_bmap2
        self._check(bmap(self._fs, root, null, null, 0, 0, null, number), "reading the root")
        self._lib.ext2fs_block_alloc_stats_range(self._fs, number[0], 1, -1)

    def lost_and_found(self) -> int:
        """The inode number of `/lost+found`, which mke2fs made."""
        ino = self._ffi.new("ext2_ino_t *")
        name = b"lost+found"
        lookup = self._lib.ext2fs_lookup
        self._check(
            lookup(self._fs, lib.ROOT_INODE, name, len(name), self._ffi.NULL, ino),
            "finding lost+found",
        )
        if ino[0] != lib.FIRST_INODE:
            raise InternalError(f"lost+found has inode {ino[0]}")
        return int(ino[0])

    def set_xattrs(self, ino: int, xattrs: Iterable[tuple[str, bytes]]) -> None:
        """Set the extended attributes of an inode that is already written; raises HostError."""
        self.release()
        handle = self._ffi.new("struct ext2_xattr_handle **")
        self._check(self._lib.ext2fs_xattrs_open(self._fs, ino, handle), "opening xattrs")
        self._check(self._lib.ext2fs_xattrs_read(handle[0]), "reading xattrs")
        for name, value in xattrs:
            code = self._lib.ext2fs_xattr_set(handle[0], name.encode(), value, len(value))
            self._check(code, f"setting the extended attribute {name}")
        self._check(self._lib.ext2fs_xattrs_close(handle), "writing xattrs")


def mapped(physical: Iterable[Extent], logical: int = 0) -> list[tuple[int, int, int]]:
    """Map physical extents, one after another, from block `logical` on, for `write_inode`."""
    result = []
    for start, count in physical:
        result.append((logical, start, count))
        logical += count
    return result


def split(extents: Iterable[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Split extents that are longer than ext4 can record."""
    return [
        (logical + skip, physical + skip, min(MAX_EXTENT, count - skip))
        for logical, physical, count in extents
        for skip in range(0, count, MAX_EXTENT)
    ]
