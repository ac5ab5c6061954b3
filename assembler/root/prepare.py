"""Fill a directory so that, with the store paths, it is a NixOS root.

It needs no privilege and assumes nothing of its caller: the directory may be a staging
directory in a Nix build or the mounted disk of an installer.
"""

import logging
import os
import posixpath
import re
import shutil
from collections.abc import Iterable, Sequence, Set
from pathlib import Path

from assembler.errors import HostError, Message, RequestError, Setting, reason
from assembler.root import gcroots, skeleton
from assembler.root.sh_and_env import find_programs, program_paths
from assembler.store.database import put_file
from assembler.store.paths import Store, inside
from assembler.store.registration import PathInfo

log = logging.getLogger(__name__)


def channel_problems(channel: str, store: Store) -> list[str]:
    """Why `<nixpkgs>` would not be found in a channel, with the NIX_PATH that NixOS sets."""

    def has(path: str) -> bool:
        try:
            store.resolve(f"{channel}/{path}")
        except RequestError:
            return False
        return True

    named = Setting("channel", channel)
    # A nixpkgs tree has a directory nixos, too, which Nix would take for nixpkgs.
    if has("default.nix"):
        why = " is a Nix expression itself, as a nixpkgs tree is: it should be a directory that "
        return [Message(named, why, "holds the tree as nixos/")]
    if not has("nixos/default.nix") and not has("nixpkgs/default.nix"):
        return [Message(named, " has neither nixos/default.nix nor nixpkgs/default.nix")]
    return []


def make_skeleton(
    root: Path, wanted: skeleton.RootRequest, infos: Sequence[PathInfo], store: Store
) -> list[str]:
    """Make in `root` everything that NixOS has but the store paths `infos` and their database.

    What is in `root` already stays, unless something is put in its place. Modes are set where the
    caller owns the directory, and owners where the caller is root; the owners in an image come
    from the Tree instead. Raises RequestError, before anything is made, for programs that the
    system names and lacks and for a directory in the place of a file, or the reverse; HostError
    when the directory cannot be filled. Returns absolute paths in the image: all that was made.
    """
    programs = find_programs(store, wanted.system, program_paths(infos, wanted.profile_paths))
    roots = gcroots.gc_roots(infos, wanted.profile_paths)
    links = roots | skeleton.links(
        wanted.system,
        shell=programs.shell,
        env=programs.env,
        generations=wanted.generations,
        channel=wanted.channel,
    )
    places = [*skeleton.DIRECTORIES]
    places += skeleton.some_directories(
        roots=bool(roots) or os.path.isdir(inside(root, gcroots.DIRECTORY)),
        channel=wanted.channel is not None,
        configuration=wanted.configuration is not None,
    )
    configuration = [] if wanted.configuration is None else [skeleton.CONFIGURATION]
    files = [*skeleton.FILES, *configuration, *links]
    if problems := kind_problems(root, places, files):
        raise RequestError(problems)
    if programs.shell is None:
        log.warning("%s has no shell: there will be no /bin/sh", wanted.system)
    try:
        for place in places:
            _make_place(inside(root, place.path), place)
        for path, content in skeleton.FILES.items():
            put_file(inside(root, path), content)
        if wanted.configuration is not None:
            _copy_file(wanted.configuration, inside(root, skeleton.CONFIGURATION), wanted.epoch)
        _forget_roots(inside(root, gcroots.DIRECTORY))
        for path, target in links.items():
            _put_link(inside(root, path), target)
        _warn_of_generations(root, {info.path for info in infos})
    except OSError as error:
        raise HostError(f"cannot prepare {root}: {reason(error)}") from None
    return [*(place.path for place in places), *files]


def stamp(root: Path, paths: Iterable[str], epoch: int) -> None:
    """Set the time of what was made in `root`, and of the database, to what it is in an image.

    Files of other users keep their time. Raises HostError.
    """
    database = [f"{skeleton.DATABASE}/{name}" for name in ("db.sqlite", "schema")]
    for path in (*paths, *database):
        try:
            os.utime(inside(root, path), (epoch, epoch), follow_symlinks=False)
        except PermissionError:
            continue
        except OSError as error:
            raise HostError(f"cannot prepare {root}: {reason(error)}") from None


def kind_problems(
    root: Path,
    places: Sequence[skeleton.Place] = skeleton.DIRECTORIES,
    others: Iterable[str] = skeleton.FILES,
) -> list[str]:
    """One line for each path in `root` that should be a directory and is not, or the reverse."""
    lines = []
    for place in places[1:]:
        directory = inside(root, place.path)
        # A symlink to a directory is refused, too: it may lead out of the root.
        if os.path.lexists(directory) and not _is_directory(directory):
            lines.append(f"{directory} is not a directory")
    for path in others:
        if _is_directory(inside(root, path)):
            lines.append(f"{inside(root, path)} is a directory")
    return lines


def _is_directory(path: Path) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _put_link(link: Path, target: str) -> None:
    """Make a symlink; replaces what was there."""
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def _forget_roots(directory: Path) -> None:
    """Remove the roots of an earlier closure."""
    for link in directory.iterdir() if directory.is_dir() else ():
        if link.is_symlink():
            link.unlink()


def _copy_file(source: Path, target: Path, epoch: int) -> None:
    """Copy a file so that all may read it; replaces what was there."""
    target.unlink(missing_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o644)
    os.utime(target, (epoch, epoch))


def _warn_of_generations(root: Path, known: Set[str]) -> None:
    """Warn of generations that were there before, and are not in the new database."""
    for profile in (skeleton.SYSTEM_PROFILE, skeleton.CHANNEL_PROFILE):
        pattern = posixpath.basename(profile) + "-[0-9]+-link"
        for link in sorted(inside(root, profile).parent.iterdir()):
            if re.fullmatch(pattern, link.name) and link.is_symlink():
                target = os.readlink(link)
                if target not in known:
                    log.warning("%s stays, but %s is not in the closure", link, target)


def _make_place(directory: Path, place: skeleton.Place) -> None:
    """Make a directory unless it is there; sets owner and mode where this process may."""
    directory.mkdir(exist_ok=True)
    if os.geteuid() == 0:
        os.chown(directory, place.uid, place.gid)
    if directory.stat().st_uid == os.geteuid():
        directory.chmod(place.mode)
