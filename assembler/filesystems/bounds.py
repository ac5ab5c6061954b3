"""How large a file system must be whose needs are known by bounds, where ext4's are by sums.

What btrfs, XFS and f2fs take for themselves depends on the order in which they are filled. The
bounds are for what mkfs.btrfs (one copy of data, two of metadata), mkfs.xfs and mkfs.f2fs make by
default; tests compare those of btrfs and XFS with what the kernel leaves free.
"""

from dataclasses import dataclass

from assembler.filesystems.demand import Demand
from assembler.filesystems.kind import Size
from assembler.units import BLOCK, MIB, round_up


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a file system takes besides the data in it; see `kind.Sizes`."""

    smallest: int  # bytes: its mkfs makes none below
    fixed: int  # bytes: superblocks, logs, the chunk or segment that is being filled
    inode: int  # bytes for each inode, with its names
    per_mille: int  # of data and free space: checksums, free-space trees, reserves

    def least(self, demand: Demand) -> int:
        """The size below which a tree does not fit."""
        return self.with_free(demand, 0).bytes

    def with_free(self, demand: Demand, free: int) -> Size:
        """The size for a tree and `free` bytes besides."""
        content = demand.blocks * BLOCK + free
        overhead = self.fixed + demand.inodes * self.inode + content * self.per_mille // 1000
        return Size(round_up(max(self.smallest, content + overhead), MIB), demand.inodes)

    def within(self, demand: Demand, room: int) -> Size:
        """All of the room."""
        return Size(room, demand.inodes)
