"""Read directories of this host into a Tree."""

import os
import stat

from assembler.errors import HostError, RequestError, reason
from assembler.host.generated_files import kernel_fault
from assembler.host.holes import data_ranges
from assembler.host.regular import open_regular
from assembler.tree.linux import MAX_NAMES
from assembler.tree.modes import Mode, apply
from assembler.tree.tree import (
    LIKE_NODE,
    NIX_MTIME,
    Data,
    Directory,
    HostPath,
    Node,
    Sparse,
    Tree,
    Xattrs,
    show,
)
from assembler.units import BLOCK, round_up


class Metadata:
    """The metadata that scanned inodes get in the image, instead of the host's.

    Permission bits are `mode`; without it, the host's after `changes`; without both, those of a
    file in Nix's store: 0555 for directories and executable files, else 0444.
    """

    __slots__ = ("changes", "gid", "mode", "mtime", "uid", "xattrs")

    def __init__(
        self,
        *,
        uid: int = 0,
        gid: int = 0,
        mode: int | None = None,
        changes: Mode | None = None,
        mtime: int = NIX_MTIME,
        xattrs: Xattrs = (),
    ) -> None:
        self.uid, self.gid, self.mode, self.mtime = uid, gid, mode, mtime
        self.changes = changes
        self.xattrs = xattrs

    def bits(self, host_mode: int) -> int:
        """The permission bits in the image of a file or directory with this host mode."""
        if self.mode is not None:
            return self.mode
        if self.changes is not None:
            return apply(self.changes, host_mode, directory=stat.S_ISDIR(host_mode))
        return 0o555 if stat.S_ISDIR(host_mode) or host_mode & 0o100 else 0o444


STORE_METADATA = Metadata()


class Scanner:
    """Adds host directories to one Tree.

    Files that it adds with one Metadata object stay hard links of each other, but a file of more
    than `max_names` names becomes several.
    """

    def __init__(self, tree: Tree, *, max_names: int = MAX_NAMES) -> None:
        self.tree = tree
        self._max_names = max_names
        # (device, inode, metadata) → hard-link group
        self._groups: dict[tuple[int, int, Metadata], int] = {}

    def add(self, source: str, target: bytes, metadata: Metadata = STORE_METADATA) -> None:
        """Add the file, symlink or directory tree at host path `source` as `target`.

        The metadata's xattrs are for `source` itself, not for what is below it. Raises
        RequestError for what no image can hold (devices, sockets), HostError for what
        cannot be read.
        """
        found, existing = self.read(source, metadata), self.tree.get(target)
        if isinstance(found, Directory) and isinstance(existing, Directory):
            self._merge(target, existing, found)
        else:
            self.tree.add(target, found)

    def read(self, source: str, metadata: Metadata = STORE_METADATA) -> Directory | Node:
        """Scan `source` as `add` does, without putting it into the tree; raises as `add`.

        Names of hard links inside a directory are counted already.
        """
        try:
            status = os.lstat(source)
            if not stat.S_ISDIR(status.st_mode):
                return self._node(source, status, metadata, source)
            found = self._directory(source, status, metadata)
            found.xattrs = metadata.xattrs
            return found
        except OSError as error:
            raise HostError(f"cannot read {reason(error)}") from None

    def _directory(self, source: str, status: os.stat_result, metadata: Metadata) -> Directory:
        """Scan a directory and all below it, without recursion."""
        top = self._make(source, status, metadata)
        pending = [top]
        names = self.tree.names
        while pending:
            here = pending.pop()
            with os.scandir(here.source) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    name = os.fsencode(entry.name)
                    if stat.S_ISDIR(status.st_mode):
                        below = self._make(entry.path, status, metadata)
                        here.children[name] = below
                        pending.append(below)
                    else:
                        node = self._node(entry.path, status, metadata, LIKE_NODE, xattrs=())
                        here.children[name] = node
                        if node.group:
                            names[node.group] += 1
        return top

    def _merge(self, target: bytes, into: Directory, found: Directory) -> None:
        """Move the entries of `found` into a directory that exists, which keeps its attributes."""
        pending = [(target.rstrip(b"/"), into, found)]
        while pending:
            path, into, found = pending.pop()
            for name, child in found.children.items():
                existing = into.children.get(name)
                if isinstance(child, Directory):
                    if isinstance(existing, Directory):
                        pending.append((path + b"/" + name, existing, child))
                    else:
                        self.tree.put(into, name, child)
                elif isinstance(existing, Directory):
                    raise RequestError(f"{show(path + b'/' + name)} is a directory of the system")
                else:
                    self.tree.put(into, name, with_path(child, found, name))

    def _make(self, source: str, status: os.stat_result, metadata: Metadata) -> Directory:
        return Directory(
            metadata.bits(status.st_mode),
            uid=metadata.uid,
            gid=metadata.gid,
            mtime=metadata.mtime,
            source=source,
        )

    def _node(
        self,
        source: str,
        status: os.stat_result,
        about: Metadata,
        path: HostPath,
        *,
        xattrs: Xattrs | None = None,
    ) -> Node:
        """The Node for the host file `source`, which names its data by `path`.

        `xattrs` take the place of the metadata's.
        """
        size, data = status.st_size, path  # type: int, Data
        kind = stat.S_IFMT(status.st_mode)
        mode = 0o777
        if kind == stat.S_IFLNK:
            data = os.readlink(os.fsencode(source))
            size = len(data)
        elif kind == stat.S_IFREG:
            mode = about.bits(status.st_mode)
            if about.changes is not None:
                _check(source, status)
            if status.st_blocks * 512 < size:
                data = _find_holes(source, size, path)
        else:
            raise RequestError(f"{source} is neither a file, a directory nor a symlink")
        group = self._group(status, about) if status.st_nlink > 1 else 0
        xattrs = about.xattrs if xattrs is None else xattrs
        return Node(kind, mode, size, data, about.uid, about.gid, about.mtime, group, xattrs)

    def _group(self, status: os.stat_result, about: Metadata) -> int:
        """The hard-link group of a host inode; a new one when that can have no more names.

        With other metadata it is another inode in the image.
        """
        key = status.st_dev, status.st_ino, about
        group = self._groups.get(key)
        if group is None or self.tree.names[group] >= self._max_names:
            group = self._groups[key] = self.tree.new_group()
        return group


def _check(source: str, status: os.stat_result) -> None:
    """Raise RequestError if a file that a user names cannot be copied."""
    if not os.access(source, os.R_OK):
        raise RequestError(f"{source} may not be read")
    if fault := kernel_fault(source, status):
        raise RequestError(fault)


def with_path(node: Node, holder: Directory, name: bytes) -> Node:
    """The node for use in another directory than `holder`: with its host path, if it has one."""
    path = f"{holder.source}/{os.fsdecode(name)}"
    if node.data is LIKE_NODE:
        return node._replace(data=path)
    if isinstance(node.data, Sparse) and node.data.path is LIKE_NODE:
        return node._replace(data=node.data._replace(path=path))
    return node


def _find_holes(source: str, size: int, path: HostPath) -> Data:
    """The data of a host file: Sparse, in whole blocks, if the file has holes, else `path`."""
    segments: list[tuple[int, int]] = []
    handle = open_regular(source)
    try:
        for one in data_ranges(handle, 0, size):
            start, end = one.start // BLOCK * BLOCK, min(size, round_up(one.stop, BLOCK))
            if segments and sum(segments[-1]) >= start:
                segments[-1] = (segments[-1][0], end - segments[-1][0])
            else:
                segments.append((start, end - start))
    finally:
        os.close(handle)
    if segments == [(0, size)]:
        return path
    return Sparse(path, tuple(segments))
