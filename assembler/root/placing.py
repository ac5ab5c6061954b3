"""Put the rows of contents into the Tree; reports where they contradict it or each other."""

import filecmp
import os
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from assembler.errors import HostError, RequestError, reason
from assembler.root.rows import Row
from assembler.tree.scan import Metadata, Scanner, with_path
from assembler.tree.tree import Directory, Node, Tree, show, source_of

OURS = "is made by this program, and cannot be replaced: leave it out"
_RESERVED = "lost+found"  # in the root of every ext4, made by mke2fs


def add_contents(tree: Tree, scanner: Scanner, rows: Sequence[Row], epoch: int) -> None:
    """Put the rows into the tree, parents before children; `epoch` is the time of every file.

    A directory that the tree has already is filled; it gets the owner, mode and xattrs of the row
    whose target it is. A file that is the target of a row comes from that row, even if the
    directory of another row has it, too. If directories of two rows have one file, its bytes must
    be equal, and it gets owner and mode from the row with the nearest target. Raises RequestError
    if the bytes differ, and for a target that cannot be.
    """
    placer = _Placer(tree, {row.target: row for row in rows})
    for row in sorted(rows, key=lambda row: row.target):
        if row.target.split("/")[1] == _RESERVED:
            placer.report(row, f"{row.target}: /{_RESERVED} is the file system's own")
            continue
        metadata = Metadata(
            uid=row.uid, gid=row.gid, changes=row.mode or (), mtime=epoch, xattrs=row.xattrs
        )
        try:
            placer.place(row, scanner.read(row.source, metadata))
        except RequestError as error:
            for problem in error.problems:
                placer.report(row, problem)
    if placer.problems:
        raise RequestError(placer.problems)


class _Meeting(NamedTuple):
    """A place to which a row puts something, perhaps where something is already."""

    path: bytes
    holder: Directory  # of both
    found: Directory | Node  # what the row puts there; a Node with its host path


class _Placer:
    """Puts the files of rows into a tree; `problems` has a line for each that cannot be there."""

    def __init__(self, tree: Tree, rows: dict[str, Row]) -> None:
        self.problems: list[str] = []
        self._tree = tree
        self._rows = rows  # by target

    def report(self, row: Row, problem: str) -> None:
        """Add to `problems` what is wrong with a row."""
        self.problems.append(row.message(problem))

    def place(self, row: Row, found: Directory | Node) -> None:
        """Put a row's source at its target; raises RequestError if that cannot be."""
        above, _, name = os.fsencode(row.target).rpartition(b"/")
        self._check_way(row)
        holder = self._tree.directory(above)
        existing = holder.children.get(name)
        path = above + b"/" + name
        if isinstance(existing, Directory) and isinstance(found, Directory):
            if not row.has_directory_mode and not self._bringer(row, path):
                found.mode = existing.mode
            _take_over(existing, found)
            existing.xattrs = found.xattrs
            self._merge(row, path, existing, found)
        else:
            self._put(row, _Meeting(path, holder, found))

    def _check_way(self, row: Row) -> None:
        """Raise RequestError if another row puts a file on the way to a target."""
        for above in _parents(row.target):
            path = os.fsencode(above)
            other = self._rows.get(above) or self._bringer(row, path)
            if other is not None and isinstance(self._tree.get(path), Node):
                raise RequestError(
                    f"{row.target} needs a directory at {above}, where row "
                    f"{other.number} puts {other.source_of(above)}: leave one of them out"
                )

    def _merge(self, row: Row, target: bytes, into: Directory, found: Directory) -> None:
        """Put the entries of a row's directory into one that is there."""
        pending = [(target, into, found)]
        while pending:
            above, into, found = pending.pop()
            for name, child in found.children.items():
                path, existing = above + b"/" + name, into.children.get(name)
                if isinstance(existing, Directory) and isinstance(child, Directory):
                    if self._bringer(row, path):
                        _take_over(existing, child)
                    pending.append((path, existing, child))
                else:
                    named = with_path(child, found, name) if isinstance(child, Node) else child
                    self._put(row, _Meeting(path, into, named), counted=True)

    def _put(self, row: Row, meeting: _Meeting, *, counted: bool = False) -> None:
        """Put a file or a new directory; names of hard links may be `counted` already."""
        path, holder, found = meeting
        name = path.rpartition(b"/")[2]
        existing = holder.children.get(name)
        if existing is not None and (fault := self._clash(row, meeting, existing)):
            self.report(row, fault)
        elif counted:
            self._tree.put(holder, name, found)
        else:
            self._tree.add(path, found)

    def _clash(self, row: Row, meeting: _Meeting, existing: Directory | Node) -> str:
        """Why a row's file cannot replace what is there; empty if it can."""
        path, holder, found = meeting
        other = self._bringer(row, path)
        if other is None:
            if (
                isinstance(existing, Node)
                and isinstance(found, Node)
                and _is_same_at_sight(existing, found)
            ):
                return ""
            if isinstance(existing, Node):
                return f"{show(path)} {OURS}"
            return f"{show(path)} is a directory of the system: a file needs another target"
        if isinstance(existing, Node) and isinstance(found, Node):
            if os.fsdecode(path) == row.target:
                return ""
            there = with_path(existing, holder, path.rpartition(b"/")[2])
            if _is_same(there, found):
                return ""
        return (
            f"{show(path)} is brought by row {other.number}, too, as something else: "
            f"{other.source} for {other.target}, and {row.source} for {row.target}"
        )

    def _bringer(self, row: Row, path: bytes) -> Row | None:
        """The row, other than `row`, that has put something at a path; None for the system."""
        target = os.fsdecode(path)
        for above in _parents(row.target):
            other = self._rows.get(above)
            if other is not None and other.source_of(target) is not None:
                return other
        return None


def _parents(target: str) -> Iterator[str]:
    """The directories above a target, the nearest first."""
    while target := target.rpartition("/")[0]:
        yield target


def _take_over(existing: Directory, found: Directory) -> None:
    """Give a directory the owner, mode and time of another."""
    existing.uid, existing.gid, existing.mode = found.uid, found.gid, found.mode
    existing.mtime = found.mtime


def _is_same_at_sight(one: Node, other: Node) -> bool:
    """Whether two nodes are equal without reading files: the same symlink, or two empty files."""
    if one.kind != other.kind or one.size != other.size:
        return False
    return one.size == 0 or (one.kind == stat.S_IFLNK and one.data == other.data)


def _is_same(one: Node, other: Node) -> bool:
    """Whether two nodes, which have their host paths, have one content; raises HostError."""
    if _is_same_at_sight(one, other):
        return True
    if one.kind != other.kind or one.size != other.size or one.kind == stat.S_IFLNK:
        return False
    here, there = (os.fsdecode(source_of(node.data)) for node in (one, other))
    try:
        return os.path.samefile(here, there) or filecmp.cmp(here, there, shallow=False)
    except OSError as error:
        raise HostError(f"cannot read {reason(error)}") from None
