"""The store paths of a Tree as files in a directory, as `prepare-root` makes them."""

import errno
import fcntl
import hashlib
import os
import stat
from enum import StrEnum
from pathlib import Path

from assembler.errors import HostError, reason
from assembler.progress import Step
from assembler.remove import remove_tree
from assembler.root import nar_digest
from assembler.root.canonical import (
    is_canonical,
    make_canonical,
    make_link_canonical,
    mend,
    put_in_place,
)
from assembler.root.restore import UNFINISHED
from assembler.root.tree import Directory, Node, Slice, Tree, origin, segments, visit
from assembler.writers.copy_worker import copy_range, hash_range, hash_zeros, send_range

_STORE = b"/nix/store"
_FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class CopyMode(StrEnum):
    """How file data gets into the directory."""

    AUTO = "auto"  # shared where the file system can, else copied
    REFLINK = "reflink"  # shared, or not at all
    HARDLINK = "hardlink"  # the very same files, where they look as Nix would leave them
    COPY = "copy"  # never shared


def copy_problems(root: Path, tree: Tree, mode: CopyMode) -> list[str]:
    """Why a copy mode cannot be had for a tree in `root`: tried out with one of its files."""
    if mode not in (CopyMode.REFLINK, CopyMode.HARDLINK):
        return []
    found = _some_file(tree)
    if found is None:
        return []
    source, data = found
    if isinstance(data, Slice):
        return [f"--copy-mode {mode}: the files of an export cannot be shared: take auto or copy"]
    trial = os.fsencode(root) + b"/.prepare-root-trial"
    try:
        if mode == CopyMode.HARDLINK:
            os.link(source, trial, follow_symlinks=False)
        else:
            _clone(source, trial)
    except OSError as error:
        why = error.strerror
        if error.errno == errno.EPERM:
            why = "the system (fs.protected_hardlinks) lets only a file's owner link it"
        return [f"--copy-mode {mode}: {os.fsdecode(source)} cannot be shared with {root}: {why}"]
    finally:
        if os.path.lexists(trial):
            os.unlink(trial)
    return []


def _some_file(tree: Tree) -> tuple[bytes, object] | None:
    """The host path and the data of the first file of a store path, or None."""
    store = tree.get(_STORE)
    sources = [b""]
    for name, node, begins in visit(store) if isinstance(store, Directory) else ():
        if isinstance(node, Directory):
            if begins:
                sources.append(os.fsencode(node.source) + b"/")
            else:
                sources.pop()
        elif node.kind == stat.S_IFREG and node.size:
            return origin(node.data, sources[-1] + name)[0], node.data
    return None


def _clone(source: bytes, target: bytes) -> None:
    reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        writing = os.open(target, _CREATE, 0o600)
        try:
            fcntl.ioctl(writing, _FICLONE, reading)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def copy_store(root: Path, tree: Tree, step: Step, mode: CopyMode = CopyMode.AUTO) -> None:
    """Have every store path of `tree` in `root`/nix/store, with Nix's canonical metadata.

    What is there already stays where its names, sizes and link targets are right. Hard links are
    kept. A path has its name only when it is whole, so that a later call can complete what was cut
    short. The hashes that the tree asks for are made on the way and settled. Raises HostError when
    the directory cannot be filled, RequestError when a hash is wrong.
    """
    store = tree.get(_STORE)
    if not isinstance(store, Directory):
        return
    copy = _Copy(root, tree, step, mode)
    try:
        for name, top in sorted(store.children.items()):
            copy.store_path(name, top)
    except OSError as error:
        raise HostError(f"cannot fill {root}: {reason(error)}") from None
    finally:
        copy.clear()
    tree.digests.settle(copy.digests)


class _Copy:
    """One run of copy_store."""

    def __init__(self, root: Path, tree: Tree, step: Step, mode: CopyMode) -> None:
        self._store = os.fsencode(root) + _STORE
        self._unfinished = self._store + b"/" + os.fsencode(UNFINISHED)
        self._wanted = tree.digests.names
        self._step, self._mode = step, mode
        self._names: dict[int, tuple[bytes, bytes]] = {}  # group → store path, path below it
        self._digest: _Digest | None = None
        self.digests: dict[bytes, str] = {}

    def store_path(self, name: bytes, top: Directory | Node) -> None:
        """Have one store path, whole."""
        target = self._store + b"/" + name
        here = mend(os.fsdecode(target), top)
        if not here:
            remove_tree(Path(os.fsdecode(target)))
            self.clear()
            os.mkdir(self._unfinished)
        if here and name not in self._wanted:
            self._note_groups(name, top)
            return
        self._digest = _Digest() if name in self._wanted else None
        self._go_through(name, top, b"" if here else self._unfinished + b"/" + name)
        if self._digest is not None:
            self.digests[name] = self._digest.state.hexdigest()
        if not here:
            made, place = os.fsdecode(self._unfinished + b"/" + name), os.fsdecode(target)
            put_in_place(made, place, directory=isinstance(top, Directory))
            os.rmdir(self._unfinished)

    def clear(self) -> None:
        """Take away what is not whole."""
        remove_tree(Path(os.fsdecode(self._unfinished)))

    def _note_groups(self, name: bytes, top: Directory | Node) -> None:
        """Let later store paths link to the files of one that is there."""
        pending = [(b"", top)]
        while pending:
            below, node = pending.pop()
            if isinstance(node, Directory):
                pending += [(below + b"/" + n, child) for n, child in node.children.items()]
            elif node.group:
                self._names.setdefault(node.group, (name, below))

    def _go_through(self, name: bytes, top: Directory | Node, made: bytes) -> None:
        """Write a store path to `made`, or only read it where that is empty."""
        wrapper = Directory()
        wrapper.children[name] = top
        above: list[tuple[bytes, bytes]] = [(b"", b"")]  # host directory, path below the top
        for entry, node, begins in visit(wrapper):
            source, below = above[-1]
            if begins:
                inner = b"" if len(above) == 1 else below + b"/" + entry
                if self._digest is not None:
                    nar_digest.begin(self._digest, entry, node, top=len(above) == 1)
                if isinstance(node, Directory):
                    if made:
                        os.mkdir(made + inner, 0o700)
                    above.append((os.fsencode(node.source) + b"/", inner))
                    continue
                self._write(node, source + entry, name, inner, made)
            else:
                _, inner = above.pop()
                if made:
                    make_canonical(os.fsdecode(made + inner), 0o555)
            if self._digest is not None:
                nar_digest.end(self._digest, node, top=len(above) == 1)

    def _write(self, node: Node, usual: bytes, name: bytes, below: bytes, made: bytes) -> None:
        """Make a file or symlink, unless it is only to be read."""
        target = made + below
        if node.kind == stat.S_IFLNK:
            if made:
                assert isinstance(node.data, bytes)
                os.symlink(node.data, target)
                make_link_canonical(os.fsdecode(target))
            return
        path, start = origin(node.data, usual)
        source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if self._digest is not None:
                self._digest.file(source, path, start, node)
            first = self._first_name(node, name, below)
            if made and first:
                os.link(first, target)
            elif made and not (self._mode == CopyMode.HARDLINK and _link(node, path, target)):
                self._copy(node, source, path, start, target)
        finally:
            os.close(source)
        self._step.advance(node.size)

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
                fcntl.ioctl(handle, _FICLONE, source)
            else:
                copy = send_range if self._mode == CopyMode.COPY else copy_range
                for offset, length in segments(node):
                    if copy(source, handle, start + offset, offset, length) != length:
                        raise OSError(0, "it became shorter while it was read", path)
                os.ftruncate(handle, node.size)
            make_canonical(handle, node.mode)
        finally:
            os.close(handle)


def _link(node: Node, path: bytes, target: bytes) -> bool:
    """Make `target` one more name of a host file; returns whether it could be taken as it is."""
    if not is_canonical(os.lstat(path), node.mode):
        return False
    try:
        os.link(path, target, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.EMLINK:
            raise
        return False
    return True


class _Digest:
    """The hash of a NAR in this process."""

    def __init__(self) -> None:
        self.state = hashlib.sha256()

    def literal(self, data: bytes) -> None:
        """Bytes that are given."""
        self.state.update(data)

    def file(self, source: int, path: bytes, start: int, node: Node) -> None:
        """The data of a file."""
        done = 0
        for offset, length in segments(node):
            hash_zeros(self.state, offset - done)
            if hash_range(self.state, source, start + offset, length) != length:
                raise OSError(0, "it became shorter while it was read", path)
            done = offset + length
        hash_zeros(self.state, node.size - done)
