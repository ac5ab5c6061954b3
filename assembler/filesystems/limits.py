"""The most that a kind of file system can hold."""

import stat
from collections.abc import Iterator
from dataclasses import dataclass

from assembler.filesystems.demand import Demand
from assembler.tree import linux
from assembler.tree.tree import Directory, Node, Tree, Xattrs, show


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of a kind of file system; what it leaves open is bounded by Linux alone."""

    size: int = linux.MAX_FILE  # bytes of the file system
    file: int = linux.MAX_FILE  # bytes of a file, holes included
    symlink: int = linux.MAX_SYMLINK  # bytes of a target
    names: int = linux.MAX_NAMES  # of one file
    time: int = linux.MAX_TIME  # seconds since 1970
    xattr: int | None = None  # bytes of one xattr: its name and value; None: as Linux
    xattrs: int | None = None  # bytes of all xattrs of a file; None: any
    xattr_entry: int = 0  # bytes of `xattrs` that each takes besides its name and value

    def xattr_problems(self, title: str, xattrs: Xattrs) -> list[str]:
        """One line for each reason why a file cannot have these xattrs; `title` is the kind's."""
        lines, whole = [], 0
        for name, value in xattrs:
            size = len(name.encode()) + len(value)
            whole += size + self.xattr_entry
            if self.xattr is not None and size > self.xattr:
                over = f"is {size - self.xattr} bytes more than {title} can hold"
                lines.append(f"the extended attribute {name} {over}")
        if self.xattrs is not None and whole > self.xattrs:
            lines.append(f"xattrs are {whole - self.xattrs} bytes more than {title} can hold")
        return lines

    def tree_problems(self, title: str, tree: Tree, demand: Demand) -> list[str]:
        """One line for each file or symlink that is too large; `demand` is that of the tree.

        Only if there is one, the tree is searched for all of them.
        """
        if demand.largest_file <= self.file and demand.longest_symlink <= self.symlink:
            return []
        lines = []
        for path, node in _with_one_name(tree):
            what, most, limit = "file", "largest", self.file
            if node.kind == stat.S_IFLNK:
                what, most, limit = "symlink", "longest", self.symlink
            if node.size > limit:
                fault = f"is a {what} of {node.size} bytes; in {title} the {most} has {limit}"
                lines.append(f"{show(path)} {fault}")
        return lines


def _with_one_name(tree: Tree) -> Iterator[tuple[bytes, Node]]:
    """Every file and symlink of a tree, by the first of its names."""
    groups: set[int] = set()
    for path, node in tree.walk():
        if isinstance(node, Directory) or node.group in groups:
            continue
        if node.group:
            groups.add(node.group)
        yield path, node
