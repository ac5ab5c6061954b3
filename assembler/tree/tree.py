"""The Tree: every inode that the image will hold, with the owner it will have there."""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from assembler.errors import RequestError

NIX_MTIME = 1  # seconds: what Nix's canonicalisePathMetaData gives every file in the store

# ext4 allows no more names for one inode (EXT4_LINK_MAX in Linux fs/ext4/ext4.h).
MAX_NAMES = 65000

Xattrs = tuple[tuple[str, bytes], ...]


class Sparse(NamedTuple):
    """A host file with holes: `segments` are the (offset, length) in bytes that hold data."""

    path: str | None
    segments: tuple[tuple[int, int], ...]


class Slice(NamedTuple):
    """The bytes of a host file from `start` on, as many as the Node's size says."""

    path: str
    start: int


class Late(NamedTuple):
    """A host file whose bytes are right only when all other data was read; its size always is."""

    path: str


# Where the bytes come from: the host file of the same name in the directory's `source`, a host
# file of any name, the bytes themselves (a symlink's target is always given so), a file with
# holes, part of a file, or a file that is read last.
Data = str | bytes | Sparse | Slice | Late | None


def origin(data: Data, usual: bytes) -> tuple[bytes, int]:
    """The host path that data is read from, and the byte there at which it starts.

    `usual` is the path where the data does not tell one.
    """
    match data:
        case Slice(path, start):
            return os.fsencode(path), start
        case Sparse(path, _) | Late(path) | (str() as path) if path is not None:
            return os.fsencode(path), 0
    return usual, 0


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


class Directory:
    """A directory and what it holds; `source` is the host directory its files come from."""

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


@dataclass(frozen=True, slots=True)
class Digests:
    """What is to be hashed while the data of a Tree is read: `names` in the store.

    When all but Late files was read, `settle` is given the hashes (name → hexadecimal SHA-256 of
    the NAR) and makes the Late files right. It raises RequestError where a hash is not as it must
    be.
    """

    names: frozenset[bytes] = frozenset()
    settle: Callable[[Mapping[bytes, str]], None] = lambda _hashes: None


def regular(content: bytes, mode: int = 0o644, *, mtime: int = NIX_MTIME) -> Node:
    """A root-owned file with the content given."""
    return Node(stat.S_IFREG, mode, len(content), content, mtime=mtime)


def symlink(target: bytes, *, mtime: int = NIX_MTIME) -> Node:
    """A root-owned symbolic link."""
    return Node(stat.S_IFLNK, 0o777, len(target), target, mtime=mtime)


def parts(path: bytes) -> list[bytes]:
    """The names along an absolute path in the image."""
    return [part for part in path.split(b"/") if part]


class Tree:
    """All inodes below the image's root directory. Paths in it are absolute bytes."""

    def __init__(self, *, mtime: int = NIX_MTIME) -> None:
        self.mtime = mtime  # of directories that are made on the way to something
        self.root = Directory(mtime=mtime)
        self.names: list[int] = [0]  # how many names each hard-link group has
        self.digests = Digests()

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
        """Put `node` at `path`, in place of what was there."""
        above, _, name = path.rstrip(b"/").rpartition(b"/")
        self.put(self.directory(above), name, node)
        if isinstance(node, Node) and node.group:
            self.names[node.group] += 1

    def put(self, directory: Directory, name: bytes, node: Node | Directory) -> None:
        """Put `node`, its names counted already, in place of what `directory` has as `name`."""
        self.remove(directory, name)
        directory.children[name] = node

    def remove(self, directory: Directory, name: bytes) -> None:
        """Take away what `directory` has as `name`, if there is such, with all below it."""
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


def visit(top: Directory) -> Iterator[tuple[bytes, Directory | Node, bool]]:
    """All below a directory, in the order of a NAR: (name, what it is, whether it begins).

    A directory comes twice, before and after what it holds; the top itself does not come.
    """
    stack: list[tuple[bytes, Directory | Node, bool]] = _reversed_entries(top)
    while stack:
        name, node, begins = step = stack.pop()
        if begins and isinstance(node, Directory):
            stack.append((name, node, False))
            stack += _reversed_entries(node)
        yield step


def _reversed_entries(directory: Directory) -> list[tuple[bytes, Directory | Node, bool]]:
    children = directory.children
    return [(name, children[name], True) for name in sorted(children, reverse=True)]


def show(path: bytes) -> str:
    """A path in an image as text for a message; bytes that are not UTF-8 are escaped."""
    return path.decode(errors="backslashreplace")
