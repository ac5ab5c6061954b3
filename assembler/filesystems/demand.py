"""How much room a Tree needs, in the blocks of an ext4, before a byte of it is written.

Other kinds of file systems need about as many blocks; `kind.Sizes` adds what they differ by.
"""

import stat
from dataclasses import dataclass
from heapq import nlargest

from assembler.filesystems.ext4_format import (
    DIR_SPACE,
    EXTENTS_IN_BLOCK,
    EXTENTS_IN_INODE,
    FAST_SYMLINK,
    MAX_EXTENT,
    directory_bytes,
)
from assembler.tree.tree import Directory, Node, Sparse, Tree, Xattrs
from assembler.units import BLOCK, ceil_div

# e2fsck leaves a fifth of every block of an indexed directory empty (the default of
# indexed_dir_slack_percentage, e2fsck.conf(5)); an index block has 8 bytes for each block.
_INDEXED_FILL = 0.8
_INDEX_ENTRIES = 500


@dataclass(frozen=True, slots=True)
class Demand:
    """What a Tree needs of a file system."""

    blocks: int  # of 4096 bytes
    inodes: int
    data: int  # bytes that are copied
    largest_file: int = 0  # bytes, holes included
    longest_symlink: int = 0  # bytes of its target


def measure(tree: Tree) -> Demand:
    """Count the inodes and blocks of a Tree; indexes and extents are counted by upper bounds."""
    inodes, blocks, data = 0, 0, 0
    largest = {stat.S_IFREG: 0, stat.S_IFLNK: 0}
    groups: set[int] = set()
    pending = [tree.root]
    while pending:
        directory = pending.pop()
        inodes += 1
        blocks += _directory_blocks(directory) + _xattr_blocks(directory.xattrs)
        for child in directory.children.values():
            if isinstance(child, Directory):
                pending.append(child)
                continue
            if child.group:
                if child.group in groups:
                    continue
                groups.add(child.group)
            inodes += 1
            blocks += node_blocks(child)
            data += data_bytes(child)
            largest[child.kind] = max(largest[child.kind], child.size)
    return Demand(blocks, inodes, data, largest[stat.S_IFREG], largest[stat.S_IFLNK])


def data_bytes(node: Node) -> int:
    """Bytes of host data that are copied for a file."""
    if isinstance(node.data, Sparse):
        return sum(length for _, length in node.data.segments)
    return 0 if isinstance(node.data, bytes) else node.size


def node_blocks(node: Node) -> int:
    """Blocks of a file or symlink: data, extents that do not fit the inode, xattrs."""
    if node.kind == stat.S_IFLNK and node.size < FAST_SYMLINK:
        return _xattr_blocks(node.xattrs)
    if isinstance(node.data, Sparse):
        lengths = [length for _, length in node.data.segments]
    else:
        lengths = [node.size]
    data = [ceil_div(length, BLOCK) for length in lengths]
    # A run of blocks is split where an extent is full, and at the metadata of a group.
    extents = sum(1 + 2 * (count // MAX_EXTENT + (count > 1)) for count in data)
    leaves = ceil_div(extents, EXTENTS_IN_BLOCK // 2) if extents > EXTENTS_IN_INODE else 0
    above = ceil_div(leaves, EXTENTS_IN_BLOCK // 2) if leaves > EXTENTS_IN_INODE else 0
    return sum(data) + leaves + above + _xattr_blocks(node.xattrs)


def _xattr_blocks(xattrs: Xattrs) -> int:
    """Blocks of all xattrs of an inode, which are never more than one in an ext4."""
    return ceil_div(sum(len(name) + len(value) for name, value in xattrs), BLOCK)


def _directory_blocks(directory: Directory) -> int:
    """Blocks of a directory, with its index when it has one."""
    size = directory_bytes(directory.children)
    if size <= DIR_SPACE:
        return 1
    leaves = int(size / (DIR_SPACE * _INDEXED_FILL)) + 2
    return leaves + 1 + ceil_div(leaves, _INDEX_ENTRIES) + 1


def largest_paths(tree: Tree, count: int) -> list[tuple[int, bytes]]:
    """The largest store paths as (bytes, path), or top directories if there is no store."""
    base, top = (b"/", tree.root) if tree.store is None else (b"/nix/store/", tree.store)
    sizes = []
    for name, child in top.children.items():
        size, pending = 0, [child]
        while pending:
            node = pending.pop()
            if isinstance(node, Directory):
                size += BLOCK
                pending += node.children.values()
            else:
                size += node_blocks(node) * BLOCK
        sizes.append((size, base + name))
    return nlargest(count, sizes)
