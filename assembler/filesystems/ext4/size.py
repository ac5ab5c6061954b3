"""How large an ext4 must be: what mke2fs leaves free, computed without running it.

The sums are right for the file systems that `mke2fs.py` makes: 4096-byte blocks, 32768 blocks and
at most 32768 inodes to a group, 256-byte inodes, and the features sparse_super, resize_inode,
64bit, flex_bg, extent and has_journal. They follow e2fsprogs 1.47:
lib/ext2fs/initialize.c (groups, inode tables, reserved descriptor blocks), lib/ext2fs/mkjournal.c
and misc/mke2fs.c (journal, lost+found).

`inodes` is everywhere the number that must be free once the file system is made. Sizes are in
4096-byte blocks, but those of `Ext4Sizes` are in bytes.
"""

from assembler.filesystems.demand import Demand
from assembler.filesystems.ext4_format import EXTENTS_IN_INODE, MAX_EXTENT
from assembler.filesystems.kind import Size
from assembler.units import BLOCK, MIB, ceil_div

_BLOCKS_PER_GROUP = 8 * BLOCK  # one bitmap block
_INODES_PER_GROUP = 8 * BLOCK
_INODE = 256  # bytes
_INODES_PER_BLOCK = BLOCK // _INODE
_DESCRIPTORS_PER_BLOCK = BLOCK // 64  # 64-byte group descriptors, by the feature 64bit
_MAX_RESERVED = BLOCK // 4  # the block pointers in the resize inode's one indirect block
_MAX_BLOCKS_32 = 0xFFFF_FFFF  # how far mke2fs reserves room for the descriptors to grow
_BLOCKS_PER_MIB = MIB // BLOCK
_BYTES_PER_INODE = 16384  # inode_ratio in mke2fs.conf(5): what an ordinary ext4 has room for

_USED_INODES = 11  # ten reserved ones (the root directory is inode 2) and lost+found
_ROOT_DIRECTORY, _LOST_AND_FOUND, _RESIZE_INODE = 1, 4, 1

# mke2fs drops a last group that would have fewer blocks than this left for data.
_MIN_LAST_GROUP = 50

# mke2fs refuses a journal of more than half the blocks (figure_journal_size() in misc/util.c), and
# the smallest journal has 1024. So 8 MiB is just too small, and sizes are whole MiB.
_SMALLEST = 9 * _BLOCKS_PER_MIB

# The fewest blocks of a file system for each size of journal, from ext2fs_default_journal_size().
_JOURNAL_STEPS = (
    (32768 * 1024, 262144),
    (16384 * 1024, 131072),
    (8192 * 1024, 65536),
    (4096 * 1024, 32768),
    (512 * 1024, 16384),
    (256 * 1024, 8192),
    (32768, 4096),
    (_SMALLEST, 1024),
)


class Ext4Sizes:
    """How large an ext4 must be for a tree; see `kind.Sizes`."""

    inode = _INODE  # in a table, which is a hole where no inode is used

    def least(self, demand: Demand) -> int:
        """The size below which a tree does not fit."""
        return smallest_ext4(demand.blocks, _with_spare(demand))

    def with_free(self, demand: Demand, free: int) -> Size:
        """The size for a tree and `free` bytes besides."""
        blocks = demand.blocks + ceil_div(free, BLOCK)
        inodes = max(_with_spare(demand), blocks * BLOCK // _BYTES_PER_INODE)
        return Size(smallest_ext4(blocks, inodes), inodes)

    def within(self, demand: Demand, room: int) -> Size:
        """The largest in `room` bytes, with as many inodes as usual where the tree leaves room."""
        inodes, least = _with_spare(demand), self.least(demand)
        usual = max(inodes, room // _BYTES_PER_INODE)
        size = _largest_ext4(room, least, usual)
        if size and free_after_mke2fs(size // BLOCK, usual)[0] >= demand.blocks:
            return Size(size, usual)
        return Size(_largest_ext4(room, least, inodes), inodes)


def _with_spare(demand: Demand) -> int:
    """The inodes of a tree, and some for what the machine itself will write."""
    return demand.inodes + demand.inodes // 4 + 1024


def _largest_ext4(room: int, smallest: int, inodes: int) -> int:
    """The largest size in `room` bytes that mke2fs uses whole: it drops a small last group.

    Returns 0 if no size from `smallest` on has room for so many inodes.
    """
    group = _BLOCKS_PER_GROUP * BLOCK
    for size in range(room, max(smallest, room - group) - MIB, -MIB):
        try:
            free_after_mke2fs(size // BLOCK, inodes)
        except ValueError:
            continue
        return size
    return 0


def inode_count(inodes: int) -> int:
    """The number of inodes to ask mke2fs for (`-N`), so that `inodes` are free afterwards."""
    return inodes + _USED_INODES


def journal_blocks(fs_blocks: int) -> int:
    """The size of the journal, mke2fs's default; raises ValueError below 9 MiB."""
    for step, journal in _JOURNAL_STEPS:
        if fs_blocks >= step:
            return journal
    raise ValueError(f"an ext4 of {fs_blocks} blocks is too small for a journal")


def overhead_blocks(fs_blocks: int, inodes: int) -> int:
    """Blocks that are not free right after mke2fs.

    Raises ValueError if mke2fs makes no such file system, or one with groups of another size.
    """
    kept = _kept_blocks(fs_blocks, inodes)
    groups = _groups(kept)
    backups = 2 + sum(_powers_below(base, groups) for base in (3, 5, 7)) if groups > 1 else 1
    used = backups * _superblock_copy(kept) + groups * (2 + _inode_table_blocks(groups, inodes))
    used += _ROOT_DIRECTORY + _LOST_AND_FOUND + _RESIZE_INODE + _journal_with_extents(fs_blocks)
    if used > kept:
        raise ValueError(f"{kept} blocks have no room for {inodes} inodes and a journal")
    return fs_blocks - kept + used


def free_after_mke2fs(fs_blocks: int, inodes: int) -> tuple[int, int]:
    """Free blocks and free inodes right after mke2fs; raises ValueError as overhead_blocks."""
    groups = _groups(_kept_blocks(fs_blocks, inodes))
    total = groups * _inode_table_blocks(groups, inodes) * _INODES_PER_BLOCK
    return fs_blocks - overhead_blocks(fs_blocks, inodes), total - _USED_INODES


def smallest_ext4(data_blocks: int, inodes: int) -> int:
    """The smallest whole number of MiB, in bytes, that has so many blocks and inodes free."""
    # Lower bounds that do not depend on the number of groups.
    tables = ceil_div(inode_count(inodes), _INODES_PER_BLOCK)
    groups = ceil_div(inode_count(inodes), _INODES_PER_GROUP)
    least = max(_SMALLEST, data_blocks + tables, (groups - 1) * _BLOCKS_PER_GROUP)
    size = ceil_div(least, _BLOCKS_PER_MIB)
    while True:
        blocks = size * _BLOCKS_PER_MIB
        try:
            free = blocks - overhead_blocks(blocks, inodes)
            wasted = blocks - _kept_blocks(blocks, inodes)
        except ValueError:
            free, wasted = 0, blocks
        if free >= data_blocks and not wasted:
            return size * MIB
        # The overhead grows with the size, except for the rounding of the inode tables (two blocks
        # a group at most) and a dropped group. So at least the rest is missing.
        missing = data_blocks - free - 2 * _groups(blocks) - wasted
        size += max(1, missing // _BLOCKS_PER_MIB)


def _groups(fs_blocks: int) -> int:
    return ceil_div(fs_blocks, _BLOCKS_PER_GROUP)


def _inode_table_blocks(groups: int, inodes: int) -> int:
    """Blocks of inode table in each group: an equal share of the inodes, rounded up."""
    per_group = ceil_div(inode_count(inodes), groups)
    if per_group > _INODES_PER_GROUP:
        raise ValueError(f"{groups} block groups cannot hold {inodes} inodes")
    return ceil_div(per_group, _INODES_PER_BLOCK)


def _has_superblock(group: int) -> bool:
    """Whether a group has a copy of the superblock: 0, 1 and the powers of 3, 5 and 7."""
    if group <= 1:
        return True
    return any(_powers_below(base, group + 1) > _powers_below(base, group) for base in (3, 5, 7))


def _powers_below(base: int, limit: int) -> int:
    """How many of base, base², base³ … are less than `limit`."""
    count, power = 0, base
    while power < limit:
        count, power = count + 1, power * base
    return count


def _superblock_copy(fs_blocks: int) -> int:
    """Blocks of a superblock copy: itself, the descriptors, and room for more of these."""
    descriptors = ceil_div(_groups(fs_blocks), _DESCRIPTORS_PER_BLOCK)
    grown = _MAX_BLOCKS_32
    if fs_blocks < _MAX_BLOCKS_32 // 1024:
        grown = fs_blocks * 1024
    reserved = ceil_div(_groups(grown), _DESCRIPTORS_PER_BLOCK) - descriptors
    return 1 + descriptors + min(reserved, _MAX_RESERVED)


def _kept_blocks(fs_blocks: int, inodes: int) -> int:
    """The blocks without the last group if that is too small for its own metadata."""
    groups = _groups(fs_blocks)
    last = fs_blocks - (groups - 1) * _BLOCKS_PER_GROUP
    own = 2 + _inode_table_blocks(groups, inodes)
    if _has_superblock(groups - 1):
        own += _superblock_copy(fs_blocks)
    if groups == 1 or last >= own + _MIN_LAST_GROUP or last == _BLOCKS_PER_GROUP:
        return fs_blocks
    return fs_blocks - last


def _journal_with_extents(fs_blocks: int) -> int:
    """The blocks of the journal, with one for its extents where they do not fit the inode."""
    journal = journal_blocks(fs_blocks)
    return journal + (ceil_div(journal, MAX_EXTENT) > EXTENTS_IN_INODE)
