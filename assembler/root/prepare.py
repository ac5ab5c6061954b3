"""prepare_root: fill a directory so that, with the store paths, it is a NixOS root.

It needs no privilege and assumes nothing of its caller: the directory may be a staging
directory in a Nix build or the mounted disk of an installer.
"""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from assembler.errors import HostError, RequestError, reason
from assembler.root import gcroots, skeleton
from assembler.store.closure import Closure
from assembler.store.database import make_database, put_file
from assembler.store.paths import STORE, StoreRoot, store_path_of


def find_shell(store: StoreRoot, system: str, paths: Sequence[str]) -> str:
    """The program that `/bin/sh` shall be: the toplevel's own, else one of the closure's.

    Raises RequestError, naming what was looked for, when the closure has no shell.
    """
    usual, known = f"{system}/sw/bin/sh", set(paths)
    for candidate in [usual, *(f"{path}/bin/sh" for path in sorted(paths, key=_shell_rank))]:
        try:
            shell = store.resolve(candidate)
        except RequestError:
            continue
        if store_path_of(shell) in known:
            return shell
    raise RequestError(
        f"the closure has no shell for /bin/sh: neither {usual} nor bin/sh in any store path exists"
    )


def _shell_rank(path: str) -> tuple[int, str]:
    """NixOS takes bashInteractive; plain bash is the next best."""
    name = path[len(STORE) + 34 :]
    ranks = [name.startswith("bash-interactive"), name.startswith("bash"), True]
    return ranks.index(True), path


def prepare_root(
    root: Path, closure: Closure, store: StoreRoot, system: str, *, epoch: int
) -> None:
    """Make the skeleton, the Nix database, the system profile and other roots in `root`.

    `epoch` (seconds) is the registration time of every path. Modes are set where the caller owns
    the directory and owners where the caller is root; the owners in an image come from the Tree
    instead. The store paths themselves are not copied. Raises RequestError for a closure
    without a shell and for what stands where a directory should, HostError when the directory
    cannot be filled.
    """
    links = skeleton.links(system, find_shell(store, system, closure.paths))
    links |= gcroots.gc_roots(closure.infos, [system])
    strangers = [
        f"{directory} is not a directory"
        for directory in (inside(root, place.path) for place in skeleton.DIRECTORIES[1:])
        if os.path.lexists(directory) and not stat.S_ISDIR(directory.lstat().st_mode)
    ]
    if strangers:  # a symlink might lead out of the root
        raise RequestError(strangers)
    try:
        for place in skeleton.DIRECTORIES:
            directory = inside(root, place.path)
            directory.mkdir(exist_ok=True)
            _claim(directory, place)
        for path, content in skeleton.FILES.items():
            put_file(inside(root, path), content)
        for stale in inside(root, gcroots.DIRECTORY).iterdir():
            if stale.is_symlink():  # a root of the closure that was here before
                stale.unlink()
        for path, target in links.items():
            link = inside(root, path)
            link.unlink(missing_ok=True)
            link.symlink_to(target)
        make_database(closure.infos, store, inside(root, skeleton.DATABASE), epoch)
    except OSError as error:
        raise HostError(f"cannot prepare {root}: {reason(error)}") from None


def inside(root: Path, path: str) -> Path:
    """Where the image's absolute `path` lies below `root`."""
    return root / path.lstrip("/")


def _claim(directory: Path, place: skeleton.Place) -> None:
    """Give a directory its owner and mode as far as its owner and ours allow."""
    if os.geteuid() == 0:
        os.chown(directory, place.uid, place.gid)
    if directory.stat().st_uid == os.geteuid():
        directory.chmod(place.mode)
