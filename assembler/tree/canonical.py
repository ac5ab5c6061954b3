"""Store paths as Nix leaves them on a disk: their modes, times and owner."""

import os
import stat

from assembler.tree.tree import NIX_MTIME, Directory, Node

_MTIME_NS = NIX_MTIME * 10**9


def is_canonical(status: os.stat_result, mode: int) -> bool:
    """Whether a file has the metadata of a file in Nix's store, with the permission bits `mode`.

    Only root can change owners, so for another user any owner will do.
    """
    return (
        (stat.S_ISLNK(status.st_mode) or stat.S_IMODE(status.st_mode) == mode)
        and status.st_mtime_ns == _MTIME_NS
        and (os.geteuid() != 0 or status.st_uid == status.st_gid == 0)
    )


def make_canonical(path: str | int, mode: int) -> None:
    """Set mode, time and owner of a file or directory: a path or a file descriptor."""
    if os.geteuid() == 0:
        os.chown(path, 0, 0)
    os.chmod(path, mode)
    os.utime(path, (NIX_MTIME, NIX_MTIME))


def make_link_canonical(path: str) -> None:
    """Set time and owner of a symlink."""
    if os.geteuid() == 0:
        os.lchown(path, 0, 0)
    os.utime(path, (NIX_MTIME, NIX_MTIME), follow_symlinks=False)


def mend(path: str, top: Directory | Node) -> bool:
    """Compare what is at `path` with a store path; returns whether they are equal.

    Names, sizes and link targets are compared; file data is not read. If they are equal, sets
    modes, times and owners that differ.
    """
    pending = [(path, top)]
    wrong: list[tuple[str, int]] = []
    while pending:
        here, node = pending.pop()
        try:
            status = os.lstat(here)
            if isinstance(node, Directory):
                names = set(map(os.fsencode, os.listdir(here)))
                same = stat.S_ISDIR(status.st_mode) and names == set(node.children)
                pending += [(f"{here}/{os.fsdecode(n)}", c) for n, c in node.children.items()]
            elif node.kind == stat.S_IFLNK:
                same = os.fsencode(os.readlink(here)) == node.data
            else:
                same = stat.S_ISREG(status.st_mode) and status.st_size == node.size
        except OSError:
            return False
        if not same:
            return False
        if not is_canonical(status, node.mode):
            wrong.append((here, node.mode if not stat.S_ISLNK(status.st_mode) else -1))
    for here, mode in wrong:
        if mode < 0:
            make_link_canonical(here)
        else:
            make_canonical(here, mode)
    return True


def put_in_place(made: str, target: str, *, directory: bool) -> None:
    """Rename a complete store path to its name in the store."""
    if directory:
        os.chmod(made, 0o755)  # a directory can be moved only if it is writable
    os.rename(made, target)
    if directory:
        os.chmod(target, 0o555)
