"""Which directories `prepare-root` may fill, and the mark of one that it has not finished."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from assembler.errors import AssembleError, HostError, Message, Setting, reason
from assembler.root import skeleton

UNFINISHED = ".prepare-root-unfinished"

# An installer may have mounted boot partitions in a new root, and nixos-generate-config may have
# written to it. And mkfs makes a lost+found, in each file system that is mounted.
_OTHERS = frozenset(("boot", "efi", "etc/nixos"))
_LOST = "lost+found"

_FORCE = (Setting("force"), " fills it all the same")


def directory_problems(root: Path, *, force: bool) -> list[str]:
    """Why `prepare-root` should not fill `root`; with `force` it may fill any directory.

    Without, it fills a directory that has no files but those that an installer puts there, and
    one that was prepared before, wholly or in part.
    """
    if not os.path.isdir(root):
        return [f"{root} is not a directory"]
    if not force and os.path.samefile(root, "/"):
        return [Message(f"{root} is the root of this machine: ", *_FORCE)]
    if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
        return [f"the directory {root} may not be read and written"]
    if not force and not _is_prepared(root) and (other := _find_other(root)):
        why = f"{root} is neither empty nor a prepared root: there is {other}; "
        return [Message(why, *_FORCE)]
    return []


def _is_prepared(root: Path) -> bool:
    """Whether `prepare-root` has filled `root`, or has begun to."""

    def is_file(name: str) -> bool:
        try:
            return stat.S_ISREG(os.lstat(root / name).st_mode)
        except OSError:
            return False

    return is_file(UNFINISHED) or (
        is_file("etc/NIXOS") and is_file(f"{skeleton.DATABASE.lstrip('/')}/schema")
    )


def _find_other(root: Path) -> Path | None:
    """A file in `root`, or a directory that cannot be read; None if there are neither.

    Empty directories may be mount points, as of the subvolumes of a btrfs.
    """
    pending = [root]
    while pending:
        here = pending.pop()
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    path = here / entry.name
                    if not entry.is_dir(follow_symlinks=False):
                        return path
                    if entry.name != _LOST and str(path.relative_to(root)) not in _OTHERS:
                        pending.append(path)
        except OSError:
            return here
    return None


@contextmanager
def unfinished(root: Path) -> Iterator[bool]:
    """Mark `root` as unfinished until the block has ended well; yields whether it was so before.

    The mark is made first and removed last, so that after a run was killed, the next one may
    go on. A new mark is removed, too, if the block fails before anything else was made.
    Raises HostError.
    """
    mark = root / UNFINISHED
    with _failing(root):
        before = _state(root)
        if is_new := UNFINISHED not in os.listdir(root):
            mark.touch(exist_ok=False)
    try:
        yield not is_new
    except AssembleError:
        with _failing(root):
            if is_new and _state(root) == before:
                mark.unlink()
        raise
    with _failing(root):
        about = os.stat(root)
        mark.unlink()
        with suppress(PermissionError):
            os.utime(root, ns=(about.st_atime_ns, about.st_mtime_ns))


def _state(root: Path) -> tuple[set[str], int]:
    """What changes if anything is made: the names in `root`, and the time of its store."""
    store = root / "nix/store"
    changed = store.stat().st_mtime_ns if store.is_dir() else 0
    return {*os.listdir(root)} - {UNFINISHED}, changed


@contextmanager
def _failing(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HostError(f"cannot prepare {root}: {reason(error)}") from None
