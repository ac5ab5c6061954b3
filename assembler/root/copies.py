"""The store paths of a Tree as files in a directory, as `prepare-root` makes them."""

import hashlib
import os
import stat
from collections.abc import Set
from functools import partial
from pathlib import Path

from assembler.copying.copy_worker import (
    blame,
    copy_range,
    hash_range,
    hash_zeros,
    send_range,
)
from assembler.copying.sharing import CopyMode, add_name, clone, link, shares
from assembler.errors import HostError, reason
from assembler.host.progress import Step
from assembler.host.regular import open_regular
from assembler.host.scratch import remove_tree
from assembler.store.paths import STORE, StoreRoot
from assembler.tree import nar_digest
from assembler.tree.canonical import (
    make_canonical,
    make_link_canonical,
    mend,
    put_in_place,
)
from assembler.tree.restore import UNFINISHED
from assembler.tree.scan import Scanner
from assembler.tree.tree import Directory, Node, Tree, files, segments, source_of, start_of, visit

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def copy_store(
    root: Path,
    tree: Tree,
    step: Step,
    mode: CopyMode = CopyMode.AUTO,
    *,
    compare: bool = False,
    hash_paths: Set[str] = frozenset(),
) -> dict[str, str]:
    """Make every store path of `tree` in `root`/nix/store, with Nix's canonical metadata.

    A store path that is there already stays if its names, sizes and link targets are right; with
    `compare`, and for `hash_paths`, its data must be right as well, and it must not be shared
    where `mode` forbids that. Hard links are kept. A path gets its name only when it is whole, so
    that a later call can complete what was cut short. Returns the hashes of `hash_paths`: store
    path → hexadecimal SHA-256 of its NAR. Raises HostError when the directory cannot be filled.
    """
    copy = _Copy(root, step, mode, hash_paths, compare=compare)
    try:
        for name, top in sorted(tree.store.children.items() if tree.store else ()):
            copy.store_path(name, top)
    except OSError as error:
        raise HostError(f"cannot fill {root}: {reason(error)}") from None
    finally:
        copy.clear()
    return copy.hashes


class _Copy:
    """One run of copy_store."""

    def __init__(
        self, root: Path, step: Step, mode: CopyMode, hash_paths: Set[str], *, compare: bool
    ) -> None:
        self._store = os.fsencode(StoreRoot(root).host(STORE))
        self._unfinished = self._store + b"/" + os.fsencode(UNFINISHED)
        self._hash_paths = hash_paths
        self._step, self._mode, self._compare = step, mode, compare
        self._names: dict[int, tuple[bytes, bytes]] = {}  # group → store path, path below it
        self._digest: _Digest | None = None
        self.hashes: dict[str, str] = {}

    def store_path(self, name: bytes, top: Directory | Node) -> None:
        """Make one store path, unless it is there and right."""
        target, path = self._store + b"/" + name, f"{STORE}/{os.fsdecode(name)}"
        if self._is_right(name, top, target):
            self._note_groups(name, top)
            return
        remove_tree(Path(os.fsdecode(target)))
        self.clear()
        os.mkdir(self._unfinished)
        made = self._unfinished + b"/" + name
        self._digest = _Digest() if path in self._hash_paths else None
        self._go_through(name, top, made)
        if self._digest is not None:
            self.hashes[path] = self._digest.state.hexdigest()
        directory = isinstance(top, Directory)
        put_in_place(os.fsdecode(made), os.fsdecode(target), directory=directory)
        os.rmdir(self._unfinished)

    def _is_right(self, name: bytes, top: Directory | Node, target: bytes) -> bool:
        """Whether a store path is there as it should be; notes its hash if that is wanted."""
        path = f"{STORE}/{os.fsdecode(name)}"
        if not mend(os.fsdecode(target), top):
            return False
        source = source_of(top.data) if isinstance(top, Node) else os.fsencode(top.source)
        itself = os.path.realpath(source) == os.path.realpath(target)
        if self._mode != CopyMode.HARDLINK and not itself and shares(top, target):
            return False
        if path not in self._hash_paths and not self._compare:
            return True
        digest = self._hash(name, top)
        if path in self._hash_paths:
            self.hashes[path] = digest
        if itself:
            return True
        return self._hash(name, Scanner(Tree()).read(os.fsdecode(target))) == digest

    def _hash(self, name: bytes, top: Directory | Node) -> str:
        """The hash of a store path that is only read."""
        self._digest = _Digest()
        self._go_through(name, top, b"")
        return self._digest.state.hexdigest()

    def clear(self) -> None:
        """Take away what is not whole."""
        remove_tree(Path(os.fsdecode(self._unfinished)))

    def _note_groups(self, name: bytes, top: Directory | Node) -> None:
        """Let later store paths link to the files of one that is there."""
        for below, node, _ in files(top, b""):
            if node.group:
                self._names.setdefault(node.group, (name, below))

    def _go_through(self, name: bytes, top: Directory | Node, made: bytes) -> None:
        """Write a store path to `made`, or only read it where that is empty."""
        wrapper = Directory()
        wrapper.children[name] = top
        above = [b""]  # paths below the top
        for entry, node, begins, source in visit(wrapper):
            if begins:
                inner = b"" if len(above) == 1 else above[-1] + b"/" + entry
                if self._digest is not None:
                    nar_digest.begin(self._digest, entry, node, top=len(above) == 1)
                if isinstance(node, Directory):
                    if made:
                        os.mkdir(made + inner, 0o700)
                    above.append(inner)
                    continue
                self._write(node, source, name, inner, made)
            else:
                inner = above.pop()
                if made:
                    make_canonical(os.fsdecode(made + inner), 0o555)
            if self._digest is not None:
                nar_digest.end(self._digest, node, top=len(above) == 1)

    def _write(self, node: Node, path: bytes, name: bytes, below: bytes, made: bytes) -> None:
        """Make a file or symlink, unless it is only to be read."""
        target = made + below
        if node.kind == stat.S_IFLNK:
            if made:
                os.symlink(node.target, target)
                make_link_canonical(os.fsdecode(target))
            return
        source, start = open_regular(path), start_of(node.data)
        try:
            if self._digest is not None:
                self._digest.file(source, path, start, node)
            if made:
                first = self._first_name(node, name, below)
                if first and not add_name(first, target):
                    self._names[node.group], first = (name, below), b""
                if not first:
                    self._make(node, source, path, start, target)
        finally:
            os.close(source)
        self._step.advance(node.size)

    def _make(self, node: Node, source: int, path: bytes, start: int, target: bytes) -> None:
        """Make a file: one more name of the source, or a copy."""
        if self._mode != CopyMode.HARDLINK or not link(node, path, target):
            self._copy(node, source, path, start, target)

    def _first_name(self, node: Node, name: bytes, below: bytes) -> bytes:
        """Where a file of several names lies by now; empty for a file that comes first."""
        if not node.group or self._names.setdefault(node.group, (name, below)) == (name, below):
            return b""
        other, inner = self._names[node.group]
        # Of the path that is being made, the files are still in `.unfinished`.
        where = self._unfinished if other == name else self._store
        return where + b"/" + other + inner

    def _copy(self, node: Node, source: int, path: bytes, start: int, target: bytes) -> None:
        """Make a file with the data of another."""
        handle = os.open(target, _CREATE, 0o600)
        try:
            if self._mode == CopyMode.REFLINK:
                clone(source, handle)
            else:
                copy = send_range if self._mode == CopyMode.COPY else copy_range
                for offset, length in segments(node):
                    try:
                        copied = copy(source, handle, start + offset, offset, length)
                    except OSError as error:
                        raise blame(error, source, path, start + offset, length) from None
                    if copied != length:
                        raise OSError(0, "it became shorter while it was read", path)
                os.ftruncate(handle, node.size)
            make_canonical(handle, node.mode)
        finally:
            os.close(handle)


class _Digest:
    """The hash of a NAR in this process."""

    def __init__(self) -> None:
        self.state = hashlib.sha256()

    def literal(self, data: bytes) -> None:
        """Hash `data`."""
        self.state.update(data)

    def file(self, source: int, path: bytes, start: int, node: Node) -> None:
        """Hash the data of a file, open as `source`; raises OSError."""
        zeros = partial(hash_zeros, self.state)
        for offset, length in nar_digest.with_holes(segments(node), node.size, zeros):
            if hash_range(self.state, source, start + offset, length) != length:
                raise OSError(0, "it became shorter while it was read", path)
