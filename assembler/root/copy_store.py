"""Copy a closure's store paths into a directory, as `prepare-root` does standing alone."""

import os
import stat
from pathlib import Path

from assembler import process
from assembler.errors import HostError, reason
from assembler.root.prepare import inside
from assembler.root.tree import NIX_MTIME
from assembler.store.closure import Closure
from assembler.store.paths import STORE, StoreRoot

_UNFINISHED = ".unfinished"


def copy_store(root: Path, closure: Closure, store: StoreRoot) -> None:
    """Copy every path of `closure` that `root/nix/store` lacks, with Nix's canonical metadata.

    Data is shared where the file system can (reflinks); hard links are kept. A path appears
    under its name only when it is whole, so that a later call can complete what was cut short.
    Raises HostError when the directory cannot be filled.
    """
    missing = [path for path in closure.paths if not os.path.lexists(inside(root, path))]
    unfinished = inside(root, STORE) / _UNFINISHED
    try:
        for path in set(closure.paths).difference(missing):
            _close(inside(root, path))  # a run may have been killed just before it did
        if not missing:
            return
        remove_tree(unfinished)
        unfinished.mkdir()
        # One run for all: cp keeps hard links only among the files of one run.
        arguments = ["--recursive", "--preserve=links", "--reflink=auto", "--sparse=auto"]
        names = b"".join(os.fsencode(store.host(path)) + b"\0" for path in missing)
        process.run(
            ["xargs", "-0", "-x", "-s", "2000000", "cp", *arguments, "-t", unfinished],
            what=f"copying the store paths into {root}",
            input=names,
        )
        for path in missing:
            target = inside(root, path)
            copy = unfinished / target.name
            canonicalise(copy)
            if not copy.is_symlink() and copy.is_dir():
                copy.chmod(0o755)  # a directory is moved only by who may write to it
            copy.rename(target)
            _close(target)
        os.rmdir(unfinished)
    except OSError as error:
        raise HostError(f"cannot fill {root}: {reason(error)}") from None


def _close(path: Path) -> None:
    """Take the permission to write away from a store path that has it."""
    mode = path.lstat().st_mode
    if not stat.S_ISLNK(mode) and mode & 0o222:
        path.chmod(mode & 0o555)


def canonicalise(path: Path) -> None:
    """Give a path and all below it the modes and times that Nix leaves in its store."""
    root = os.geteuid() == 0
    pending = [os.fspath(path)]
    while pending:
        entry = pending.pop()
        mode = os.lstat(entry).st_mode
        if stat.S_ISDIR(mode):
            with os.scandir(entry) as entries:
                pending += [below.path for below in entries]
        if root:
            os.chown(entry, 0, 0, follow_symlinks=False)
        if not stat.S_ISLNK(mode):
            os.chmod(entry, 0o555 if stat.S_ISDIR(mode) or mode & 0o100 else 0o444)
        os.utime(entry, (NIX_MTIME, NIX_MTIME), follow_symlinks=False)


def remove_tree(path: Path) -> None:
    """Remove a directory tree whose directories may be read-only; nothing when it is absent.

    By chmod and rm, which unlike shutil.rmtree do not stumble over a deep tree.
    """
    if path.is_symlink():  # which chmod would follow
        path.unlink()
    elif path.exists():
        process.run(["chmod", "-R", "u+rwX", path.absolute()], what=f"removing {path}")
        process.run(["rm", "-rf", path.absolute()], what=f"removing {path}")
