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
from assembler.host.generated_files import kernel_fault
from assembler.host.json_text import load_json
from assembler.host.regular import input_fault
from assembler.root.accounts import MAX_ID, Accounts, Ids, parse_database, parse_id
from assembler.root.rows import Row, read_target, row_message
from assembler.store.paths import STORE, Store, locate_link, locate_named
from assembler.tree.modes import Mode, parse_mode
from assembler.tree.xattrs import read_xattrs
from assembler.units import NAME_MAX

_KEYS = frozenset(("source", "target", "user", "group", "mode", "xattrs"))
# Places that a row may not touch, with everything below: why.
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

    `accounts` are those of the system; the contents' own passwd and group files override them.
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
            content = b""  # the row itself is reported
        return parse_database(content.decode(errors="surrogateescape"))

    return Accounts(read("/etc/passwd"), read("/etc/group"))


class _Reader:
    """Turns JSON rows into Rows and gathers what is wrong with them."""

    def __init__(self, store: Store) -> None:
        self.problems: list[tuple[int, str]] = []  # by the numbers of the rows
        self._store = store

    def _report(self, number: int, problem: str) -> None:
        self.problems.append((number, row_message(number, problem)))

    def place(self, number: int, raw: Mapping[str, Any]) -> list[Row]:
        """The Rows, owned by root, of one JSON row: several if its source is a pattern."""
        before = len(self.problems)
        unknown = sorted(set(raw) - _KEYS)
        if unknown:
            self._report(number, f"unknown key {', '.join(unknown)}")
        source, target = raw.get("source"), raw.get("target")
        if not _is_name(source) or not _is_name(target):
            self._report(number, "needs a source and a target, both file names")
            return []
        into = "*" in source
        target = self._target(number, target, into)
        rows = []
        for found in self._sources(number, source):
            place = posixpath.join(target, posixpath.basename(found)) if into else target
            for taken, fault in _TAKEN.items():
                if _reaches(place, found, taken):
                    self._report(number, Message(f"the target {place} ", fault))
            if place.startswith(_BELOW_HIDDEN) or (place in _HIDDEN and not _is_empty(found)):
                self._report(number, f"the target {place} {_HIDES}")
            rows.append(Row(found, place, number=number))
        return rows if len(self.problems) == before else []

    def complete(
        self, number: int, raw: Mapping[str, Any], rows: Sequence[Row], known: Accounts
    ) -> list[Row]:
        """The Rows of one JSON row with owner, mode and xattrs."""
        uid = self._id(number, raw.get("user"), "user", known.users, whole=known.whole)
        gid = self._id(number, raw.get("group"), "group", known.groups, whole=known.whole)
        mode = self._mode(number, raw.get("mode"))
        xattrs, problems = read_xattrs(raw.get("xattrs", {}))
        for problem in problems:
            self._report(number, problem)
        for row in rows:
            if xattrs and os.path.islink(row.source):
                self._report(number, f"{row.source} is a symlink, which has no xattrs")
        return [replace(row, uid=uid, gid=gid, mode=mode, xattrs=xattrs) for row in rows]

    def compare(self, rows: Iterable[Row]) -> None:
        """Report a target of two rows, or of two files that one pattern finds."""
        seen: dict[str, Row] = {}
        for row in rows:
            other = seen.setdefault(row.target, row)
            if other.number != row.number:
                fault = f"row {other.number} has the target {row.target}, too"
                self._report(row.number, f"{fault}: leave one of them out")
            elif other is not row:
                both = f"{other.source} and {row.source}"
                fault = f"its pattern finds {both}, two sources for the target {row.target}"
                self._report(row.number, f"{fault}: leave one of them out")

    def _sources(self, number: int, source: str) -> list[str]:
        """The host paths that a source names; `*` is a pattern, as in nixpkgs."""
        try:
            found = self._matches(source) if "*" in source else [self._host(source)]
        except RequestError as error:
            for problem in error.problems:
                self._report(number, f"the source {problem}")
            return []
        found = [path for path in found if os.path.lexists(path)]
        if not found:
            self._report(number, f"the source {source} does not exist")
        for path in found:
            try:
                fault = _source_fault(path)
            except OSError as error:
                fault = f"cannot read {reason(error)}"
            if fault:
                self._report(number, fault)
        return found

    def _host(self, source: str) -> str:
        """Where a source is on this host; the files of a store path are in `self._store`.

        As in nixpkgs, a link to a directory stands for the directory.
        """
        if source.startswith(f"{STORE}/"):
            return str(locate_named(self._store, source))
        return os.path.realpath(source) if os.path.isdir(source) else source

    def _matches(self, pattern: str) -> list[str]:
        """The host paths that match a pattern."""
        head = pattern[: pattern.index("*")].rpartition("/")[0]
        if not f"{head}/".startswith(f"{STORE}/"):
            return sorted(glob.glob(pattern))
        host = str(locate_named(self._store, head))
        found = sorted(glob.glob(glob.escape(host) + pattern[len(head) :]))
        # The image may follow links on the way to other places than the host.
        names = (head + path.removeprefix(host) for path in found)
        return [str(self._store.host(locate_link(self._store, name))) for name in names]

    def _target(self, number: int, target: str, into: bool) -> str:
        """The target as an absolute path; with `into` it may be the root itself."""
        clean = "/" + posixpath.normpath("/" + target).lstrip("/")
        if ".." in target.split("/"):
            self._report(number, f"the target {target} leaves the root or goes through ..")
        elif clean == "/" and not into:
            self._report(number, "the target is the root itself")
        elif any(len(os.fsencode(part)) > NAME_MAX for part in target.split("/")):
            self._report(number, f"the target {target} has a name of over 255 bytes")
        return clean

    def _id(self, number: int, raw: object, what: str, known: Ids, *, whole: bool) -> int:
        """A uid or gid from its number or name; root's if there is none."""
        if raw is None or raw == "":
            return 0
        if isinstance(raw, int) and not isinstance(raw, bool) and 0 <= raw <= MAX_ID:
            return raw
        found = None
        if isinstance(raw, str):
            found = known[raw] if raw in known else parse_id(raw)
        if found is not None:
            return found
        file, key = {"user": ("/etc/passwd", "uid"), "group": ("/etc/group", "gid")}[what]
        if isinstance(raw, str) and raw in known:
            self._report(
                number,
                f"the {what} {raw!r} gets its number at the first boot: set "
                f"users.{what}s.{raw}.{key} in the system's configuration",
            )
        elif not isinstance(raw, str) or re.fullmatch("-?[0-9]+", raw):
            fault = f"a {what} is a name or a whole number from 0 to {MAX_ID}, not"
            self._report(number, f"{fault} {json.dumps(raw)}")
        elif whole:
            self._report(
                number,
                f"unknown {what} {raw!r}: give its number, or put {file} among the contents",
            )
        return 0

    def _mode(self, number: int, raw: object) -> Mode | None:
        """The permission bits of a row; None if it has none."""
        if raw is None or raw == "":
            return None
        try:
            if isinstance(raw, str):
                return parse_mode(raw)
        except ValueError:
            pass
        self._report(
            number,
            f"the mode {raw!r} is neither a string of octal digits nor one of changes "
            "as chmod takes them, such as u=rw,go=r",
        )
        return None


def _source_fault(path: str) -> str:
    """Why a host file cannot be copied; empty if it can. Raises OSError."""
    status = os.lstat(path)
    kind = stat.S_IFMT(status.st_mode)
    if kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
        return f"{path} is a device, pipe or socket"
    if not os.access(path, os.R_OK, follow_symlinks=kind != stat.S_IFLNK):
        return f"the source {path} may not be read"
    return kernel_fault(path, status)


def _is_name(raw: object) -> TypeGuard[str]:
    """Whether a JSON value can be a path: not empty, no NUL, no half of a surrogate pair."""
    try:
        return isinstance(raw, str) and raw != "" and b"\0" not in os.fsencode(raw)
    except UnicodeEncodeError:
        return False


def _is_empty(source: str) -> bool:
    """Whether a source is an empty directory, as mount points are."""
    try:
        return not os.path.islink(source) and not os.listdir(source)
    except OSError:  # a file, or unreadable, which is reported elsewhere
        return False


def _reaches(target: str, source: str, taken: str) -> bool:
    """Whether a source at this target would put something at or below the path `taken`."""
    if f"{target}/".startswith(f"{taken}/"):
        return True
    return taken.startswith(f"{target}/") and os.path.lexists(source + taken[len(target) :])
