"""The user's own files: contents, in rows as nixpkgs' make-disk-image takes them."""

import glob
import json
import os
import posixpath
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeGuard

from assembler.errors import HostError, Message, RequestError, Setting, reason
from assembler.host.json_text import load_json
from assembler.host.kernel_files import kernel_fault
from assembler.host.regular import input_fault
from assembler.root.accounts import MAX_ID, Accounts, Ids, parse_database, parse_id
from assembler.root.rows import Row, read_target, row_message
from assembler.store.paths import STORE, Store, locate, locate_link
from assembler.tree.modes import Mode, parse_mode
from assembler.tree.xattrs import read_xattrs
from assembler.units import NAME_MAX

_KEYS = frozenset(("source", "target", "user", "group", "mode", "xattrs"))
# What a row may not touch, nor what is below: why.
_TAKEN = {
    STORE: Message("is in the store: use ", Setting("additional_paths")),
    "/nix/var/nix": Message(
        "is Nix's own, its database and profiles: use ",
        Setting("additional_paths"),
        ", ",
        Setting("generations"),
        " or ",
        Setting("channel"),
    ),
}
_HIDDEN = ("/dev", "/proc", "/run", "/sys")
_BELOW_HIDDEN = tuple(f"{place}/" for place in _HIDDEN)
_HIDES = "cannot be seen in the machine, which mounts a file system of its own there"


def read_contents(file: Path, store: Store, accounts: Accounts) -> list[Row]:
    """Read a JSON list of rows; raises RequestError with every problem in it.

    `accounts` are those of the system, which the contents' own passwd and group come before.
    """
    named = Setting("contents", file)
    if fault := input_fault(file):
        raise RequestError(Message(named, f" {fault}"))
    try:
        content = file.read_bytes()
    except OSError as error:
        raise RequestError(Message("cannot read ", named, f": {error.strerror}")) from None
    raw = load_json(content, Message(named))
    if not isinstance(raw, list) or not all(isinstance(row, dict) for row in raw):
        raise RequestError(Message(named, " is not a list of objects"))
    reader = _Reader(store)
    placed = [(number, entry, reader.place(number, entry)) for number, entry in enumerate(raw, 1)]
    known = _database(store, [row for _, _, rows in placed for row in rows]).over(accounts)
    rows = [
        row
        for number, entry, found in placed
        for row in reader.complete(number, entry, found, known)
    ]
    reader.compare(rows)
    if reader.problems:
        raise RequestError([line for _, line in sorted(reader.problems, key=itemgetter(0))])
    return rows


def _database(store: Store, rows: Sequence[Row]) -> Accounts:
    """The accounts in the passwd and group files of the contents themselves."""

    def read(path: str) -> dict[str, int]:
        try:
            content = read_target(rows, store, path) or b""
        except (RequestError, HostError):
            content = b""  # told with the row itself
        return parse_database(content.decode(errors="surrogateescape"))

    return Accounts(read("/etc/passwd"), read("/etc/group"))


class _Reader:
    """Turns JSON rows into Rows and gathers what is wrong with them."""

    def __init__(self, store: Store) -> None:
        self.problems: list[tuple[int, str]] = []  # by the numbers of the rows
        self._store = store

    def _tell(self, number: int, problem: str) -> None:
        self.problems.append((number, row_message(number, problem)))

    def place(self, number: int, raw: Mapping[str, Any]) -> list[Row]:
        """What one JSON row puts where, as root's: several Rows when its source is a pattern."""
        before = len(self.problems)
        unknown = sorted(set(raw) - _KEYS)
        if unknown:
            self._tell(number, f"unknown key {', '.join(unknown)}")
        source, target = raw.get("source"), raw.get("target")
        if not _is_name(source) or not _is_name(target):
            self._tell(number, "needs a source and a target, both file names")
            return []
        into = "*" in source
        target = self._target(number, target, into)
        rows = []
        for found in self._sources(number, source):
            place = posixpath.join(target, posixpath.basename(found)) if into else target
            for taken, fault in _TAKEN.items():
                if _reaches(place, found, taken):
                    self._tell(number, Message(f"the target {place} ", fault))
            if place.startswith(_BELOW_HIDDEN) or (place in _HIDDEN and not _is_empty(found)):
                self._tell(number, f"the target {place} {_HIDES}")
            rows.append(Row(found, place, number=number))
        return rows if len(self.problems) == before else []

    def complete(
        self, number: int, raw: Mapping[str, Any], rows: Sequence[Row], known: Accounts
    ) -> list[Row]:
        """The Rows of one JSON row with all that it says of them."""
        uid = self._id(number, raw.get("user"), "user", known.users, whole=known.whole)
        gid = self._id(number, raw.get("group"), "group", known.groups, whole=known.whole)
        mode = self._mode(number, raw.get("mode"))
        xattrs, problems = read_xattrs(raw.get("xattrs", {}))
        for problem in problems:
            self._tell(number, problem)
        for row in rows:
            if xattrs and os.path.islink(row.source):
                self._tell(number, f"{row.source} is a symlink, which has no xattrs")
        return [replace(row, uid=uid, gid=gid, mode=mode, xattrs=xattrs) for row in rows]

    def compare(self, rows: Iterable[Row]) -> None:
        """Tell of targets that two rows have, or two files that one pattern finds."""
        seen: dict[str, Row] = {}
        for row in rows:
            other = seen.setdefault(row.target, row)
            if other.number != row.number:
                fault = f"row {other.number} has the target {row.target}, too"
                self._tell(row.number, f"{fault}: leave one of them out")
            elif other is not row:
                both = f"{other.source} and {row.source}"
                fault = f"its pattern finds {both}, two sources for the target {row.target}"
                self._tell(row.number, f"{fault}: leave one of them out")

    def _sources(self, number: int, source: str) -> list[str]:
        """The host paths that a source names; `*` is a pattern, as in nixpkgs."""
        try:
            found = self._matches(source) if "*" in source else [self._host(source)]
        except RequestError as error:
            for problem in error.problems:
                self._tell(number, f"the source {problem}")
            return []
        found = [path for path in found if os.path.lexists(path)]
        if not found:
            self._tell(number, f"the source {source} does not exist")
        for path in found:
            try:
                fault = _source_fault(path)
            except OSError as error:
                fault = f"cannot read {reason(error)}"
            if fault:
                self._tell(number, fault)
        return found

    def _host(self, source: str) -> str:
        """Where a source lies: store paths in the store given, others as they stand.

        As nixpkgs has it, a link to a directory stands for what is in the directory.
        """
        if source.startswith(f"{STORE}/"):
            return str(locate(self._store, source))
        return os.path.realpath(source) if os.path.isdir(source) else source

    def _matches(self, pattern: str) -> list[str]:
        """The host paths that match a pattern."""
        head = pattern[: pattern.index("*")].rpartition("/")[0]
        if not f"{head}/".startswith(f"{STORE}/"):
            return sorted(glob.glob(pattern))
        host = str(locate(self._store, head))
        found = sorted(glob.glob(glob.escape(host) + pattern[len(head) :]))
        # On the way there may be links, which the image follows in its own way.
        names = (head + path.removeprefix(host) for path in found)
        return [str(self._store.host(locate_link(self._store, name))) for name in names]

    def _target(self, number: int, target: str, into: bool) -> str:
        """The target as an absolute path; with `into` it may be the root itself."""
        clean = "/" + posixpath.normpath("/" + target).lstrip("/")
        if ".." in target.split("/"):
            self._tell(number, f"the target {target} leaves the root or goes through ..")
        elif clean == "/" and not into:
            self._tell(number, "the target is the root itself")
        elif any(len(os.fsencode(part)) > NAME_MAX for part in target.split("/")):
            self._tell(number, f"the target {target} has a name of over 255 bytes")
        return clean

    def _id(self, number: int, given: object, what: str, known: Ids, *, whole: bool) -> int:
        """A uid or gid by number or name; root's when none is given."""
        if given is None or given == "":
            return 0
        if isinstance(given, int) and not isinstance(given, bool) and 0 <= given <= MAX_ID:
            return given
        found = None
        if isinstance(given, str):
            found = known[given] if given in known else parse_id(given)
        if found is not None:
            return found
        file, key = {"user": ("/etc/passwd", "uid"), "group": ("/etc/group", "gid")}[what]
        if isinstance(given, str) and given in known:
            self._tell(
                number,
                f"the {what} {given!r} gets its number at the first boot: set "
                f"users.{what}s.{given}.{key} in the system's configuration",
            )
        elif not isinstance(given, str) or re.fullmatch("-?[0-9]+", given):
            fault = f"a {what} is a name or a whole number from 0 to {MAX_ID}, not"
            self._tell(number, f"{fault} {json.dumps(given)}")
        elif whole:
            self._tell(
                number,
                f"unknown {what} {given!r}: give its number, or put {file} among the contents",
            )
        return 0

    def _mode(self, number: int, given: object) -> Mode | None:
        """What a row says of permission bits, None for nothing."""
        if given is None or given == "":
            return None
        try:
            if isinstance(given, str):
                return parse_mode(given)
        except ValueError:
            pass
        self._tell(
            number,
            f"the mode {given!r} is neither a string of octal digits nor one of changes "
            "as chmod takes them, such as u=rw,go=r",
        )
        return None


def _source_fault(path: str) -> str:
    """Why what is at a host path cannot be copied; empty where it can. Raises OSError."""
    status = os.lstat(path)
    kind = stat.S_IFMT(status.st_mode)
    if kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
        return f"{path} is a device, pipe or socket"
    if not os.access(path, os.R_OK, follow_symlinks=kind != stat.S_IFLNK):
        return f"the source {path} may not be read"
    return kernel_fault(path, status)


def _is_name(given: object) -> TypeGuard[str]:
    """Whether something from JSON can be a path: not empty, no NUL, no half of a surrogate pair."""
    try:
        return isinstance(given, str) and given != "" and b"\0" not in os.fsencode(given)
    except UnicodeEncodeError:
        return False


def _is_empty(source: str) -> bool:
    """Whether a source is an empty directory, as places to mount something are."""
    try:
        return not os.path.islink(source) and not os.listdir(source)
    except OSError:  # a file, or what is told as unreadable
        return False


def _reaches(target: str, source: str, taken: str) -> bool:
    """Whether a source put at this target would be, or bring, something at or below a path."""
    if f"{target}/".startswith(f"{taken}/"):
        return True
    return taken.startswith(f"{target}/") and os.path.lexists(source + taken[len(target) :])
