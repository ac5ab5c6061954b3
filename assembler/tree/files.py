"""Where the files of a closure are: in a store, in an export that stays as it is, or unpacked."""

import errno
import os
import stat
from collections.abc import Set
from pathlib import Path

from assembler.errors import HostError, reason
from assembler.store.export import Receiver
from assembler.store.paths import Store, StoreRoot, store_path_of
from assembler.tree.nar_tree import Indexer, Range
from assembler.tree.restore import Restorer
from assembler.tree.tree import Directory, Node, parts, source_of, start_of


class ClosureFiles(Store):
    """The files of store paths, wherever they are; a `Store` (store/paths.py).

    `base` has what no export brought. What of an export is needed as a file of the host is taken
    out below `scratch`, which is a directory, and so are exports that arrive by a pipe, unless
    they are to be unpacked into `unpack`/nix/store.
    """

    def __init__(self, base: StoreRoot, scratch: Path, unpack: Path | None = None) -> None:
        self.base = base
        self.closure: Set[str] | None = None  # store paths to which links may lead; None: to any
        self.trees: dict[str, Directory | Node] = {}  # store path → what an export holds
        self._ranges: dict[str, Range] = {}
        self._unpacked = StoreRoot(unpack or scratch / "unpacked")
        self._restorer: Restorer | None = None  # of all exports that come by pipes
        self._taken_out = scratch / "taken-out"
        self._whole: set[str] = set()  # what was taken out with all that is below it

    def receive(self, path: Path | None) -> Receiver:
        """Who takes the files of an export, which can be read again at `path`, or only once."""
        if path is not None:
            return Indexer(os.fspath(path), self.trees, self._ranges)
        if self._restorer is None:
            self._restorer = Restorer(self._unpacked.root)
        return self._restorer

    @property
    def held(self) -> set[str]:
        """The store paths whose files are in an export that stays as it is."""
        return {*self.trees}

    @property
    def unpacked(self) -> set[str]:
        """The store paths that were unpacked, and hashed, while an export was read."""
        return set() if self._restorer is None else self._restorer.paths

    def knows(self, path: str) -> bool:
        """Whether the files of a store path may be looked at: not of those outside the closure."""
        return self.closure is None or path in self.closure

    def _root(self, path: str) -> StoreRoot:
        return self._unpacked if store_path_of(path) in self.unpacked else self.base

    def _node(self, path: str) -> Directory | Node | None:
        """What of an export is at a path below a store path that it holds; None for nothing."""
        top = store_path_of(path) or ""
        node: Directory | Node | None = self.trees[top]
        for name in parts(os.fsencode(path.removeprefix(top))):
            if not isinstance(node, Directory):
                return None
            node = node.children.get(name)
        return node

    def _is_held(self, path: str) -> bool:
        return store_path_of(path) in self.trees

    def fault(self, path: str) -> str:
        """Why nothing can be read at `path`; empty when it can."""
        if not self._is_held(path):
            return self._root(path).fault(path)
        return "" if self._node(path) is not None else os.strerror(errno.ENOENT)

    def is_file(self, path: str) -> bool:
        """Whether there is a regular file at `path`, no link followed."""
        if not self._is_held(path):
            return self._root(path).is_file(path)
        node = self._node(path)
        return isinstance(node, Node) and node.kind == stat.S_IFREG

    def link(self, path: str) -> str | None:
        """The target of the symlink at `path`, None where something else is; raises OSError."""
        if not self._is_held(path):
            return self._root(path).link(path)
        node = self._node(path)
        if node is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if isinstance(node, Directory) or node.kind != stat.S_IFLNK:
            return None
        return os.fsdecode(node.target)

    def host(self, path: str) -> Path:
        """Where `path` lies on this host, taken out of its export if need be.

        There may be nothing. Raises HostError when the disk is full.
        """
        if not self._is_held(path):
            return self._root(path).host(path)
        target = self._taken_out / path.lstrip("/")
        node = self._node(path)
        if node is not None and path not in self._whole:
            try:
                for directory in reversed(target.parents):  # mkdir stumbles over very many
                    directory.mkdir(exist_ok=True)
                _take_out(node, target)
            except OSError as error:
                raise HostError(f"taking files out of the export: {reason(error)}") from None
            self._whole.add(path)
        return target


def _take_out(top: Directory | Node, target: Path) -> None:
    """Make files out of what an export holds, with their modes; some may have been made before."""
    directories = []
    pending: list[tuple[Directory | Node, Path]] = [(top, target)]
    while pending:
        node, path = pending.pop()
        if isinstance(node, Directory):
            path.mkdir(0o700, exist_ok=True)
            directories.append((path, node.mode))
            pending += [(child, path / os.fsdecode(n)) for n, child in node.children.items()]
        elif os.path.lexists(path):
            continue
        elif node.kind == stat.S_IFLNK:
            path.symlink_to(os.fsdecode(node.target))
        else:
            source, start = source_of(node.data), start_of(node.data)
            with open(source, "rb") as export, path.open("xb") as file:
                sent = 0
                while sent < node.size:
                    place, left = start + sent, node.size - sent
                    done = os.sendfile(file.fileno(), export.fileno(), place, left)
                    if done == 0:
                        raise OSError(0, "it became shorter while it was read", os.fsdecode(source))
                    sent += done
            path.chmod(node.mode)
    for path, mode in directories:
        path.chmod(mode)
