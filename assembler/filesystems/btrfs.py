"""btrfs with its subvolumes, made in an appliance."""

import shlex
from collections.abc import Sequence

from assembler.errors import Message, Setting
from assembler.filesystems.bounds import Bounds
from assembler.filesystems.kind import RootKind
from assembler.filesystems.limits import Limits
from assembler.filesystems.protocol import RootFileSystem, Subvolume
from assembler.filesystems.subvolumes import subvolume_of
from assembler.tree.tree import Directory, Node, Tree, parts, show
from assembler.units import KIB, MIB

_TOP = "/run/assemble/top"  # where the appliance mounts the top level


def _make(target: RootFileSystem, device: str) -> list[str]:
    label = shlex.quote(target.label)
    lines = [f"mkfs.btrfs -q -f -K -L {label} -U {target.uuid} {device}"]
    if target.subvolumes:
        places = [shlex.quote(f"{_TOP}/{name}") for name, _ in target.subvolumes]
        lines += [f"mkdir -p {_TOP}", f"mount -t btrfs {device} {_TOP}"]
        lines += [f"btrfs -q subvolume create {place}" for place in places]
        lines += [f"umount {_TOP}"]
    return lines


def _tree_problems(tree: Tree, subvolumes: Sequence[Subvolume]) -> list[str]:
    """Places of subvolumes that are no directories, and files that would be in two subvolumes."""
    lines = list[str]()
    for name, place in subvolumes:
        names = parts(place.encode())
        for length in range(1, len(names) + 1):
            path = b"/" + b"/".join(names[:length])
            if isinstance(tree.get(path), Node):
                setting = Setting("subvolumes", f"{name}={place}")
                lines.append(Message(setting, f": {show(path)} is not a directory"))
                break
    return lines + (_torn_links(tree, subvolumes) if subvolumes else [])


def _torn_links(tree: Tree, subvolumes: Sequence[Subvolume]) -> list[str]:
    """Files with names in several subvolumes, which a hard link cannot join."""
    first: dict[int, tuple[bytes, Subvolume | None]] = {}  # hard-link group → a name, where it is
    lines = []
    for path, node in tree.walk():
        if isinstance(node, Directory) or not node.group:
            continue
        here = subvolume_of(path.decode(errors="surrogateescape"), subvolumes)
        other, there = first.setdefault(node.group, (path, here))
        if here != there:
            lines.append(
                f"{show(path)} and {show(other)} are names of one file, in different subvolumes"
            )
    return lines


BTRFS = RootKind(
    name="btrfs",
    title="btrfs",
    magics=((0x10040, b"_BHRfS_M"),),  # include/uapi/linux/btrfs_tree.h in Linux
    grub_module="btrfs",
    label_bytes=254,  # mkfs.btrfs(8) takes one more, which blkid(8) does not find
    # include/uapi/linux/btrfs_tree.h and fs/btrfs/ctree.h in Linux. Sizes and times have 64 bits.
    limits=Limits(
        names=65535,  # BTRFS_LINK_MAX
        # BTRFS_MAX_XATTR_SIZE: an xattr is an item, alone in its leaf, in the smallest node that
        # mkfs.btrfs makes by default; less the headers of leaf, item and entry.
        xattr=16 * KIB - 101 - 25 - 30,
    ),
    # Two copies of inode, names, extent and checksum items in leaves that are half full, and of
    # the chunk of metadata in use (BTRFS_MAX_METADATA_CHUNK_SIZE, or a tenth of a small disk).
    sizes=Bounds(smallest=256 * MIB, fixed=192 * MIB, inode=3 * KIB, per_mille=60),
    make=_make,
    mount_options="noatime,nobarrier",
    check="btrfs check --readonly",
    appliance_package="btrfs-progs",
    tree_problems=_tree_problems,
    has_subvolumes=True,
)
