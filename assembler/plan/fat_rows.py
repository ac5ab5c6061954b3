"""Rows of contents below what the system mounts: on the FATs of this disk, or hidden."""

import logging
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from assembler.boot.boot_file import BootFile
from assembler.boot.mounts.fstab import Mount
from assembler.boot.places import BOOT
from assembler.boot.protocol import BootData
from assembler.boot.volumes import Role, Volume
from assembler.errors import Message, RequestError, Setting
from assembler.filesystems.fat.names import fold, name_problems
from assembler.root.placing import OURS
from assembler.root.rows import Row, rows_with
from assembler.tree.scan import with_path
from assembler.tree.tree import Directory, Node, Tree, source_of

log = logging.getLogger(__name__)


def fat_places(volumes: Mapping[Role, Volume]) -> dict[str, Role]:
    """Where the machine mounts the FATs of its disk.

    A boot partition that the system does not mount counts as /boot, its purpose.
    """
    fats = [volume for role, volume in volumes.items() if role is not Role.ROOT]
    usual = {Role.BOOT: BOOT}
    places = {one.place or usual.get(one.role, ""): one.role for one in fats}
    return {place: role for place, role in places.items() if place}


def move_to_fats(
    tree: Tree, rows: Sequence[Row], places: Mapping[str, Role], data: BootData
) -> BootData:
    """Move the files of rows from the tree to the FATs that are mounted at their places.

    Warns of modes, which a FAT does not have. Raises RequestError with everything that a FAT cannot
    hold, and with files that the boot loader has at the same place.
    """
    fats = {role: [*files] for role, files in data.files.items()}
    problems: list[str] = []
    for place in sorted(places, key=len, reverse=True):  # one may be mounted below the other
        inner = [other for other in places if other.startswith(f"{place}/")]
        there = [row for row in rows if row.reaches(place) and not any(map(row.is_in, inner))]
        if not there:
            continue
        role = places[place]
        problems += _row_problems(there, place, role)
        files = fats.setdefault(role, [])
        made = {fold(file.path) for file in files}
        if isinstance(tree.get(os.fsencode(place)), Node):
            row = rows_with(there, place)[0]
            problems.append(
                row.message(f"{place} is a file, and the system mounts the {role.words} there")
            )
            continue
        for name, node, path in _take(tree, place):
            if (fault := _fault(node, role)) or fold(name) in made:
                fault = fault or OURS
                path_there = f"{place}/{name}"
                row = rows_with(there, path_there)[0]
                problems.append(row.message(f"{path_there} {fault}"))
            elif isinstance(node, Node):
                files.append(BootFile(name, path))
        problems += [
            Message(Setting("contents"), f": {problem}")
            for problem in name_problems(role.words, [file.path for file in files])
        ]
        if any(place.startswith(f"{other}/") for other in places):
            above, _, last = os.fsencode(place).rpartition(b"/")
            tree.remove(tree.directory(above), last)
    if problems:
        raise RequestError(problems)
    return replace(data, files=fats)


def _row_problems(rows: Sequence[Row], place: str, role: Role) -> list[str]:
    """One line for each row with something that a FAT cannot hold; warns of modes."""
    if modes := [row.target for row in rows if row.mode is not None]:
        log.warning(
            Message(
                Setting("contents"),
                ": the mode of %s%s is left out: the %s is a FAT, whose files have the mode that "
                "%s is mounted with",
            ),
            modes[0],
            f" and {len(modes) - 1} more" if len(modes) > 1 else "",
            role.words,
            place,
        )
    return [
        row.message(
            f"{row.target} is on the {role.words}, a FAT, where everything is root's and has no "
            "xattrs"
        )
        for row in rows
        if row.uid or row.gid or row.xattrs
    ]


def _take(tree: Tree, place: str) -> Iterator[tuple[str, Directory | Node, Path]]:
    """Remove everything below a directory from a tree.

    Yields each file, symlink and empty directory: its name relative to `place`, and its path on
    this host.
    """
    top = tree.directory(os.fsencode(place))
    pending = [(b"", top)]
    while pending:
        above, holder = pending.pop()
        for name, node in sorted(holder.children.items()):
            path = above + name
            if isinstance(node, Node):
                source = source_of(with_path(node, holder, name).data)
                yield os.fsdecode(path), node, Path(os.fsdecode(source))
            elif node.children:
                pending.append((path + b"/", node))
            else:
                yield os.fsdecode(path), node, Path()
    for name in [*top.children]:
        tree.remove(top, name)


def _fault(node: Directory | Node, role: Role) -> str:
    """Why a file of a row cannot be on a FAT; empty if it can."""
    if isinstance(node, Directory):
        return f"is an empty directory, which the {role.words} cannot hold: put a file into it"
    if node.kind == stat.S_IFLNK:
        return (
            f"is a symlink, which the {role.words}, a FAT, cannot hold: give the file it leads to"
        )
    return ""


def warn_of_hidden(rows: Sequence[Row], mounts: Iterable[Mount], seen: Iterable[str]) -> None:
    """Warn of rows that a mount from elsewhere hides; `seen` are the mounts of this disk."""
    for mount in mounts:
        if mount.place in ("/", "none", *seen) or "noauto" in mount.options:
            continue
        if hidden := [row.target for row in rows if row.is_in(mount.place)]:
            more = f" and {len(hidden) - 1} more" if len(hidden) > 1 else ""
            log.warning(
                Message(
                    Setting("contents"),
                    ": %s%s cannot be seen in the machine, which mounts %s at %s",
                ),
                hidden[0],
                more,
                mount.source,
                mount.place,
            )
