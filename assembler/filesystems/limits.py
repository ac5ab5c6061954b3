"""What a tree may have that a file system made in an appliance cannot hold, though ext4 can."""

import stat
from collections.abc import Sequence

from assembler.filesystems.protocol import Subvolume
from assembler.tree.tree import Directory, Node, Tree, parts, show

_XFS_SYMLINK = 1023  # bytes: XFS_SYMLINK_MAXLEN in Linux fs/xfs/libxfs/xfs_format.h, with its end


def tree_problems(kind: str, tree: Tree, subvolumes: Sequence[Subvolume] = ()) -> list[str]:
    """One line for each such thing."""
    lines = []
    if kind == "xfs":
        lines += [
            f"{show(path)} is a symlink of {node.size} bytes; in XFS the longest has {_XFS_SYMLINK}"
            for path, node in tree.walk()
            if isinstance(node, Node) and node.kind == stat.S_IFLNK and node.size > _XFS_SYMLINK
        ]
    places = [parts(place.encode()) for _, place in subvolumes]
    for (name, place), names in zip(subvolumes, places, strict=True):
        for length in range(1, len(names) + 1):
            path = b"/" + b"/".join(names[:length])
            if isinstance(tree.get(path), Node):
                lines.append(f"--subvolume {name}={place}: {show(path)} is not a directory")
                break
    return lines + (_torn_links(tree, places) if places else [])


def _torn_links(tree: Tree, places: Sequence[list[bytes]]) -> list[str]:
    """Files with names in several subvolumes, which no hard link can join."""
    by_depth = sorted(places, key=len, reverse=True)

    def subvolume(path: bytes) -> list[bytes]:
        names = parts(path)
        return next((place for place in by_depth if names[: len(place)] == place), [])

    first: dict[int, tuple[bytes, list[bytes]]] = {}  # hard-link group → a name, its subvolume
    lines = []
    for path, node in tree.walk():
        if isinstance(node, Directory) or not node.group:
            continue
        here = subvolume(path)
        other, there = first.setdefault(node.group, (path, here))
        if here != there:
            lines.append(
                f"{show(path)} and {show(other)} are names of one file, in different subvolumes"
            )
    return lines
