"""Facts of the on-disk format of ext4 that more than one module needs.

It is not in ext4/, because `demand.py` counts the room of every tree in ext4's blocks, and the
modules in ext4/ import `demand.py`.

Source: Linux Documentation/filesystems/ext4/{ifork,directory,inodes}.rst.
"""

import struct
from collections.abc import Iterable

from assembler.units import BLOCK

DIRENT = struct.Struct("<IHBB")  # inode, record length, name length, file type
TAIL = struct.Struct("<IHBBI")  # the checksum of a directory block, in the form of an entry
TAIL_TYPE = 0xDE  # EXT4_FT_DIR_CSUM
DIR_SPACE = BLOCK - TAIL.size  # bytes for entries in a directory block
FAST_SYMLINK = 60  # a target shorter than i_block is kept there
EXTENTS_IN_INODE = 4  # more of them need blocks of their own
EXTENTS_IN_BLOCK = 340  # (4096 - 12 of header - 4 of checksum) // 12
MAX_EXTENT = 32768  # blocks in one initialised extent (EXT_INIT_MAX_LEN)
MAX_LINKS = 65000  # names of a file, or subdirectories: EXT4_LINK_MAX in Linux fs/ext4/ext4.h


def entry_size(name: bytes) -> int:
    """Bytes that a name takes in a directory block."""
    return (DIRENT.size + len(name) + 3) & ~3


def directory_bytes(names: Iterable[bytes]) -> int:
    """Bytes that these names take in a directory, with `.` and `..`, packed without gaps."""
    return 2 * entry_size(b"..") + sum(map(entry_size, names))
