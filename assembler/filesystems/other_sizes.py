"""How large a btrfs, XFS or f2fs must be: bounds, where ext4's sums are exact.

What these file systems take for themselves depends on the order in which they are filled. The
bounds are for what mkfs.btrfs (one copy of data, two of metadata), mkfs.xfs and mkfs.f2fs make of
a disk unless told otherwise; tests hold those of btrfs and XFS against what the kernel leaves free.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from assembler.units import BLOCK, KIB, MIB, round_up


@dataclass(frozen=True, slots=True)
class _Cost:
    """What a file system takes besides the data in it."""

    smallest: int  # bytes: its mkfs makes none below
    fixed: int  # bytes: superblocks, logs, the chunk or segment that is being filled
    inode: int  # bytes for each, with its names
    per_mille: int  # of data and free space: checksums, free-space trees, reserves


_COSTS: Mapping[str, _Cost] = {
    # Two copies of inode, names, extent and checksum items in leaves that are half full, and of
    # the chunk of metadata in use (BTRFS_MAX_METADATA_CHUNK_SIZE, or a tenth of a small disk).
    "btrfs": _Cost(smallest=256 * MIB, fixed=192 * MIB, inode=3 * KIB, per_mille=60),
    # A log of 64 MiB at least, inodes of 512 bytes, and in each allocation group a reserve for
    # its trees (xfs_ag_resv.c in Linux). mkfs.xfs makes none below 300 MB.
    "xfs": _Cost(smallest=304 * MIB, fixed=96 * MIB, inode=KIB, per_mille=25),
    # A block for each inode, and segments kept back for cleaning (mkfs.f2fs(8), -o).
    "f2fs": _Cost(smallest=128 * MIB, fixed=256 * MIB, inode=BLOCK, per_mille=120),
}


def smallest(kind: str, *, blocks: int, inodes: int, free: int = 0) -> int:
    """Bytes, a whole number of MiB, of a file system for a tree, with `free` bytes besides.

    `blocks` of 4096 bytes are what an ext4 would need for the tree, `kind` is `btrfs`, `xfs` or
    `f2fs`.
    """
    cost = _COSTS[kind]
    content = blocks * BLOCK + free
    overhead = cost.fixed + inodes * cost.inode + content * cost.per_mille // 1000
    return round_up(max(cost.smallest, content + overhead), MIB)
