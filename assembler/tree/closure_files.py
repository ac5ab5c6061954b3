"""Where the files of a closure are: in a store, in an export file, or unpacked from a pipe."""

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
    """The files of store paths, from a store and from exports; a `Store` (store/paths.py).

    The store `base` has every store path that no export has. Files of an export file stay in it;
    one that is needed as a file of the host is extracted into the directory `scratch`. An export
    that arrives by a pipe is unpacked, into `unpack`/nix/store or into `scratch`.
    """

    def __init__(self, base: StoreRoot, scratch: Path, unpack: Path | None = None) -> None:
        self.base = base
        self.closure: Set[str] | None = None  # where links may lead; None: to any store path
        self.trees: dict[str, Directory | Node] = {}  # of export files, by store path
        self._ranges: dict[str, Range] = {}
        self._unpacked = StoreRoot(unpack or scratch / "unpacked")
        self._restorer: Restorer | None = None  # for all exports that arrive by pipes
        self._extracted = scratch / "extracted"
        self._whole: set[str] = set()  # paths that were extracted with everything below

    def receive(self, path: Path | None) -> Receiver:
        """The receiver for an export; `path` allows reading it again, None means a pipe."""
        if path is not None:
            return Indexer(os.fspath(path), self.trees, self._ranges)
        if self._restorer is None:
            self._restorer = Restorer(self._unpacked.root)
        return self._restorer

    @property
    def in_exports(self) -> set[str]:
        """The store paths whose files are in an export file."""
        return {*self.trees}

    @property
    def unpacked(self) -> set[str]:
        """The store paths that were unpacked from a pipe, and hashed."""
        return set() if self._restorer is None else self._restorer.paths

    def contains(self, path: str) -> bool:
        """Whether the files of a store path may be read: those outside the closure may not."""
        return self.closure is None or path in self.closure

    def _root(self, path: str) -> StoreRoot:
        return self._unpacked if store_path_of(path) in self.unpacked else self.base

    def _node(self, path: str) -> Directory | Node | None:
        """What an export file has at a path, which is at or below one of its store paths."""
        top = store_path_of(path) or ""
        node: Directory | Node | None = self.trees[top]
        for name in parts(os.fsencode(path.removeprefix(top))):
            if not isinstance(node, Directory):
                return None
            node = node.children.get(name)
        return node

    def _is_in_export(self, path: str) -> bool:
        return store_path_of(path) in self.trees

    def fault(self, path: str) -> str:
        """Why nothing can be read at `path`; empty when it can."""
        if not self._is_in_export(path):
            return self._root(path).fault(path)
        return "" if self._node(path) is not None else os.strerror(errno.ENOENT)

    def is_file(self, path: str) -> bool:
        """Whether there is a regular file at `path`, no link followed."""
        if not self._is_in_export(path):
            return self._root(path).is_file(path)
        node = self._node(path)
        return isinstance(node, Node) and node.kind == stat.S_IFREG

    def link(self, path: str) -> str | None:
        """The target of the symlink at `path`, None where something else is; raises OSError."""
        if not self._is_in_export(path):
            return self._root(path).link(path)
        node = self._node(path)
        if node is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if isinstance(node, Directory) or node.kind != stat.S_IFLNK:
            return None
        return os.fsdecode(node.target)

    def host(self, path: str) -> Path:
        """Where `path` is on this host; extracts it from an export file.

        There may be nothing at that place. Raises HostError when the disk is full.
        """
        if not self._is_in_export(path):
            return self._root(path).host(path)
        target = self._extracted / path.lstrip("/")
        node = self._node(path)
        if node is not None and path not in self._whole:
            try:
                for directory in reversed(target.parents):  # parents=True fails for very many
                    directory.mkdir(exist_ok=True)
                _extract(node, target)
            except OSError as error:
                raise HostError(f"extracting files from the export: {reason(error)}") from None
            self._whole.add(path)
        return target


def _extract(top: Directory | Node, target: Path) -> None:
    """Make host files, with their modes, of what an export file has; skips those that exist."""
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
