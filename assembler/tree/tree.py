"""The Tree: every inode that the image will hold, with the owner it will have there."""

import os
import stat
from collections.abc import Iterator
from enum import Enum
from typing import Literal, NamedTuple

from assembler.errors import RequestError

NIX_MTIME = 1  # seconds: what Nix's canonicalisePathMetaData gives every file in the store

Xattrs = tuple[tuple[str, bytes], ...]


class Named(Enum):
    """Marks a host file whose path is not stored, since there may be a million of them."""

    LIKE_NODE = "the host file in the directory's `source` that has the node's name"


LIKE_NODE = Named.LIKE_NODE

HostPath = str | Literal[Named.LIKE_NODE]


class Sparse(NamedTuple):
    """A host file with holes: `segments` are the (offset, length) in bytes that hold data."""

    path: HostPath
    segments: tuple[tuple[int, int], ...]


class Slice(NamedTuple):
    """The bytes of a host file from `start` on, as many as the Node's size."""

    path: str
    start: int


# The content itself, or the target of a symlink; else where it is read from: a host file, a host
# file with holes, or part of a host file.
Data = bytes | HostPath | Sparse | Slice


def source_of(data: Data, directory: bytes = b"", name: bytes = b"") -> bytes:
    """The host file that data is read from; empty where the data is the content itself.

    `directory` is the host directory, with a slash at its end, and `name` the name of the node;
    only data that is LIKE_NODE needs them.
    """
    if data is LIKE_NODE:
        return directory + name
    if isinstance(data, bytes):
        return b""
    path = data if isinstance(data, str) else data.path
    return directory + name if path is LIKE_NODE else os.fsencode(path)


def start_of(data: Data) -> int:
    """The byte of the host file at which data starts."""
    return data.start if isinstance(data, Slice) else 0


def segments(node: "Node") -> Iterator[tuple[int, int]]:
    """The (offset, length) in bytes of a file that hold data; offsets are multiples of BLOCK."""
    if isinstance(node.data, Sparse):
        yield from node.data.segments
    elif node.size:
        yield 0, node.size


class Node(NamedTuple):
    """A file or symlink. A tuple, not a dataclass: an image may hold a million of them."""

    kind: int  # stat.S_IFREG or stat.S_IFLNK
    mode: int  # permission bits
    size: int  # bytes
    data: Data
    uid: int = 0
    gid: int = 0
    mtime: int = NIX_MTIME  # seconds since 1970
    group: int = 0  # hard-link group: index into Tree.names, 0 for a file with one name
    xattrs: Xattrs = ()

    @property
    def target(self) -> bytes:
        """What a symlink leads to."""
        assert isinstance(self.data, bytes)
        return self.data


class Directory:
    """A directory with its entries; files that are LIKE_NODE come from the directory `source`."""

    __slots__ = ("children", "gid", "mode", "mtime", "source", "uid", "xattrs")

    def __init__(
        self,
        mode: int = 0o755,
        *,
        uid: int = 0,
        gid: int = 0,
        mtime: int = NIX_MTIME,
        source: str = "",
        xattrs: Xattrs = (),
    ) -> None:
        self.mode, self.uid, self.gid, self.mtime = mode, uid, gid, mtime
        self.source, self.xattrs = source, xattrs
        self.children: dict[bytes, Directory | Node] = {}


def regular(content: bytes, mode: int = 0o644, *, mtime: int = NIX_MTIME) -> Node:
    """A root-owned file with this content."""
    return Node(stat.S_IFREG, mode, len(content), content, mtime=mtime)


def symlink(target: bytes, *, mtime: int = NIX_MTIME) -> Node:
    """A root-owned symbolic link."""
    return Node(stat.S_IFLNK, 0o777, len(target), target, mtime=mtime)


def parts(path: bytes) -> list[bytes]:
    """The names along an absolute path in the image."""
    return [part for part in path.split(b"/") if part]


class Tree:
    """All inodes of the image. Paths are absolute paths in the image, as bytes."""

    def __init__(self, *, mtime: int = NIX_MTIME) -> None:
        self.mtime = mtime  # of directories that are made because a path needs them
        self.root = Directory(mtime=mtime)
        self._store = b"/nix/store"
        self.names: list[int] = [0]  # how many names each hard-link group has

    def new_group(self) -> int:
        """Open a hard-link group; every Node added with its number counts as one name."""
        self.names.append(0)
        return len(self.names) - 1

    def directory(self, path: bytes) -> Directory:
        """The directory at `path`, made with mode 0755 where absent, with its parents.

        Raises RequestError when something on the way is not a directory.
        """
        here = self.root
        for name in parts(path):
            child = here.children.get(name)
            if child is None:
                child = here.children[name] = Directory(mtime=self.mtime)
            if not isinstance(child, Directory):
                raise RequestError(f"{show(path)}: {show(name)} on the way is not a directory")
            here = child
        return here

    def add(self, path: bytes, node: Node | Directory) -> None:
        """Put `node` at `path`; replaces what was there."""
        above, _, name = path.rstrip(b"/").rpartition(b"/")
        self.put(self.directory(above), name, node)
        if isinstance(node, Node) and node.group:
            self.names[node.group] += 1

    def put(self, directory: Directory, name: bytes, node: Node | Directory) -> None:
        """Put `node` into `directory` as `name`; the names of a hard link are counted already."""
        self.remove(directory, name)
        directory.children[name] = node

    def remove(self, directory: Directory, name: bytes) -> None:
        """Remove the entry `name` of `directory`, if there is one, with everything below it."""
        pending = [directory.children.pop(name, None)]
        while pending:
            gone = pending.pop()
            if isinstance(gone, Directory):
                pending += gone.children.values()
            elif gone is not None and gone.group:
                self.names[gone.group] -= 1

    def get(self, path: bytes) -> Directory | Node | None:
        """What is at `path`, symlinks not followed, or None."""
        here: Directory | Node | None = self.root
        for name in parts(path):
            if not isinstance(here, Directory):
                return None
            here = here.children.get(name)
        return here

    @property
    def store(self) -> Directory | None:
        """The directory of the store paths, if there is one."""
        found = self.get(self._store)
        return found if isinstance(found, Directory) else None

    def keep_store(self) -> None:
        """Let the directory of the store paths be the root; nothing else stays."""
        self.root, self._store = self.directory(self._store), b"/"

    def walk(self) -> Iterator[tuple[bytes, Directory | Node]]:
        """Every path and what is there, parents first, names in byte order."""
        stack: list[tuple[bytes, Directory | Node]] = [(b"/", self.root)]
        while stack:
            path, node = stack.pop()
            yield path, node
            if isinstance(node, Directory):
                base = path if path == b"/" else path + b"/"
                stack += [
                    (base + name, node.children[name]) for name in sorted(node.children)[::-1]
                ]


Visit = tuple[bytes, Directory | Node, bool, bytes]


def visit(top: Directory) -> Iterator[Visit]:
    """Everything below a directory, in the order of a NAR.

    Yields (name, node, whether it begins, host file that the data of a file comes from; see
    `source_of`). A directory comes twice, before and after its entries; `top` does not come.
    """
    stack = _reversed_entries(top)
    while stack:
        name, node, begins, directory = stack.pop()
        if isinstance(node, Directory):
            if begins:
                stack.append((name, node, False, b""))
                stack += _reversed_entries(node)
            yield name, node, begins, b""
        else:
            yield name, node, True, source_of(node.data, directory, name)


def _reversed_entries(directory: Directory) -> list[Visit]:
    """The entries of a directory, the last first, each with the host directory."""
    children, source = directory.children, os.fsencode(directory.source) + b"/"
    return [(name, children[name], True, source) for name in sorted(children, reverse=True)]


def files(top: Directory | Node, path: bytes) -> Iterator[tuple[bytes, Node, bytes]]:
    """Every file and symlink at or below `top`, which is at `path`: (path, node, host file)."""
    if isinstance(top, Node):
        yield path, top, source_of(top.data)
        return
    above = [path]
    for name, node, begins, source in visit(top):
        if not isinstance(node, Directory):
            yield above[-1] + b"/" + name, node, source
        elif begins:
            above.append(above[-1] + b"/" + name)
        else:
            above.pop()


def show(path: bytes) -> str:
    """A path in an image as text for a message; bytes that are not UTF-8 are escaped."""
    return path.decode(errors="backslashreplace")
