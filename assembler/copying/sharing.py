"""How files of the store get into a directory without a copy: reflinks and hard links."""

import errno
import fcntl
import os
import stat
from enum import StrEnum
from pathlib import Path

from assembler.host.regular import open_regular
from assembler.tree.canonical import is_canonical
from assembler.tree.tree import Directory, Node, Slice, Tree, origin, visit

_STORE = b"/nix/store"
_FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)


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


def can_share(directory: Path, tree: Tree) -> bool:
    """Whether files in a directory can share the data of a tree's store paths: tried out."""
    found = _some_file(tree)
    if found is None or isinstance(found[1], Slice):
        return False
    try:
        reading = open_regular(found[0])
        try:
            writing = os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            try:
                clone(reading, writing)
            finally:
                os.close(writing)
        finally:
            os.close(reading)
    except OSError:
        return False
    return True


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
    reading = open_regular(source)
    try:
        writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            clone(reading, writing)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def clone(source: int, target: int) -> None:
    """Let an empty open file share all data of another; raises OSError where it cannot."""
    fcntl.ioctl(target, _FICLONE, source)


def shares(top: Directory | Node, target: bytes) -> bool:
    """Whether any file at `target` is the very file that it would be copied from."""
    pending: list[tuple[Directory | Node, bytes, bytes]] = [(top, target, b"")]
    while pending:
        node, here, usual = pending.pop()
        if isinstance(node, Directory):
            base = os.fsencode(node.source) + b"/"
            pending += [(c, here + b"/" + n, base + n) for n, c in node.children.items()]
        elif node.kind == stat.S_IFREG and not isinstance(node.data, Slice):
            source = origin(node.data, usual)[0]
            if os.path.samestat(os.lstat(source), os.lstat(here)):
                return True
    return False


def link(node: Node, path: bytes, target: bytes) -> bool:
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
