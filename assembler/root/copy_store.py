"""Copy a closure's store paths into a directory, as `prepare-root` does standing alone."""

import os
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path

from assembler import process
from assembler.errors import HostError
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
    if not missing:
        return
    unfinished = inside(root, STORE) / _UNFINISHED
    try:
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
            if not target.is_symlink():
                target.chmod(target.stat().st_mode & 0o555)
        os.rmdir(unfinished)
    except OSError as error:
        raise HostError(f"cannot fill {root}: {error.filename}: {error.strerror}") from None


def canonicalise(path: Path) -> None:
    """Give a path and all below it the modes and times that Nix leaves in its store."""
    for entry in _bottom_up(path):
        mode = entry.lstat().st_mode
        if os.geteuid() == 0:
            os.chown(entry, 0, 0, follow_symlinks=False)
        if not stat.S_ISLNK(mode):
            entry.chmod(0o555 if stat.S_ISDIR(mode) or mode & 0o100 else 0o444)
        os.utime(entry, (NIX_MTIME, NIX_MTIME), follow_symlinks=False)


def _bottom_up(path: Path) -> Iterable[Path]:
    """A path and all below it, every directory after what it holds."""
    if path.is_dir() and not path.is_symlink():
        for directory, subdirectories, files in os.walk(path, topdown=False):
            links = [name for name in subdirectories if (Path(directory) / name).is_symlink()]
            yield from (Path(directory) / name for name in (*files, *links))
            yield Path(directory)
    else:
        yield path


def remove_tree(path: Path) -> None:
    """Remove a directory tree whose directories may be read-only; nothing when it is absent."""
    if not path.exists():
        return
    for directory, _, _ in os.walk(path):
        Path(directory).chmod(0o700)
    shutil.rmtree(path)
