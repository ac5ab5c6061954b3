"""XFS, made in an appliance."""

import shlex
import stat
from collections.abc import Sequence

from assembler.filesystems.bounds import Bounds
from assembler.filesystems.kind import RootKind
from assembler.filesystems.protocol import RootFileSystem, Subvolume
from assembler.tree.tree import Node, Tree, show
from assembler.units import KIB, MIB

_MAX_SYMLINK = 1023  # bytes: XFS_SYMLINK_MAXLEN in Linux fs/xfs/libxfs/xfs_format.h, with its NUL


def _make(target: RootFileSystem, device: str) -> list[str]:
    # GRUB 2.06 does not read large extent counts; releases of mkfs.xfs that do not know them
    # either do not know the option.
    make = f"mkfs.xfs -q -f -K -L {shlex.quote(target.label)} -m uuid={target.uuid}"
    return [f"{make} -i nrext64=0 {device} 2>/dev/null || {make} {device}"]


def _tree_problems(tree: Tree, _subvolumes: Sequence[Subvolume]) -> list[str]:
    return [
        f"{show(path)} is a symlink of {node.size} bytes; in XFS the longest has {_MAX_SYMLINK}"
        for path, node in tree.walk()
        if isinstance(node, Node) and node.kind == stat.S_IFLNK and node.size > _MAX_SYMLINK
    ]


XFS = RootKind(
    name="xfs",
    title="xfs",
    magics=((0, b"XFSB"),),  # fs/xfs/libxfs/xfs_format.h in Linux
    grub_module="xfs",
    label_bytes=12,  # sb_fname
    # A log of 64 MiB at least, inodes of 512 bytes, and in each allocation group a reserve for
    # its trees (xfs_ag_resv.c in Linux). mkfs.xfs makes none below 300 MB.
    sizes=Bounds(smallest=304 * MIB, fixed=96 * MIB, inode=KIB, per_mille=25),
    make=_make,
    mount_options="noatime",
    check="xfs_repair -n",
    tree_problems=_tree_problems,
)
