"""How files of the store get into a directory without a copy: reflinks and hard links."""

import errno
import fcntl
import os
from enum import StrEnum
from pathlib import Path

from assembler.errors import Message, Setting
from assembler.host.regular import open_regular
from assembler.tree.canonical import is_canonical
from assembler.tree.tree import Directory, Node, Slice, Tree, files

_FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)


class CopyMode(StrEnum):
    """How file data gets into the directory."""

    AUTO = "auto"  # shared where the file system can, else copied
    REFLINK = "reflink"  # shared, or not at all
    HARDLINK = "hardlink"  # the very same files, where they look as Nix would leave them
    COPY = "copy"  # never shared


def copy_problems(root: Path, tree: Tree, mode: CopyMode) -> list[str]:
    """Why a tree cannot be copied to `root` in a copy mode; tries it with one of the files."""
    if mode not in (CopyMode.REFLINK, CopyMode.HARDLINK):
        return []
    found = _some_file(tree)
    if found is None:
        return []
    node, source = found
    named = Setting("copy_mode", mode)
    if isinstance(node.data, Slice):
        return [Message(named, ": the files of an export cannot be shared: take auto or copy")]
    trial = os.fsencode(root) + b"/.prepare-root-trial"
    try:
        if mode == CopyMode.HARDLINK:
            os.link(source, trial, follow_symlinks=False)
        else:
            _clone(source, trial, os.O_CREAT | os.O_EXCL)
    except OSError as error:
        why = error.strerror
        if error.errno == errno.EPERM:
            why = "the system (fs.protected_hardlinks) lets only a file's owner link it"
        return [Message(named, f": {os.fsdecode(source)} cannot be shared with {root}: {why}")]
    finally:
        if os.path.lexists(trial):
            os.unlink(trial)
    return []


def can_share(directory: Path, tree: Tree) -> bool:
    """Whether files in a directory can share data of a tree's store paths; tries it with one."""
    found = _some_file(tree)
    if found is None or isinstance(found[0].data, Slice):
        return False
    try:
        _clone(found[1], os.fsencode(directory), os.O_TMPFILE)
    except OSError:
        return False
    return True


def _some_file(tree: Tree) -> tuple[Node, bytes] | None:
    """The first file in the store that is not empty, and its host file; None if there is none."""
    for _, node, source in files(tree.store or Directory(), b""):
        if source and node.size:
            return node, source
    return None


def _clone(source: bytes, target: bytes, flags: int) -> None:
    """Make a file, by `flags` of open(2), that shares the data of `source`; raises OSError."""
    reading = open_regular(source)
    try:
        writing = os.open(target, os.O_WRONLY | os.O_CLOEXEC | flags, 0o600)
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
    """Whether a file at or below `target` is itself the file that it would be copied from."""
    return any(
        os.path.samestat(os.lstat(source), os.lstat(here))
        for here, node, source in files(top, target)
        if source and not isinstance(node.data, Slice)
    )


def link(node: Node, path: bytes, target: bytes) -> bool:
    """Make `target` one more name of the host file `path`, if that has the right metadata.

    Returns whether it did.
    """
    return is_canonical(os.lstat(path), node.mode) and add_name(path, target)


def add_name(path: bytes, target: bytes) -> bool:
    """Make `target` one more name of a file; returns False if that can have no more of them."""
    try:
        os.link(path, target, follow_symlinks=False)
    except OSError as error:
        if error.errno != errno.EMLINK:
            raise
        return False
    return True
