"""The user's own files: `--contents`, rows as nixpkgs' make-disk-image takes them."""

import base64
import glob
import json
import os
import posixpath
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from assembler.errors import RequestError
from assembler.root.scan import Metadata, Scanner
from assembler.root.tree import Directory, Tree, Xattrs
from assembler.store.paths import STORE, Store, locate

# Fixed ids of NixOS: nixos/modules/misc/ids.nix in nixpkgs. Names from /etc/passwd and
# /etc/group among the contents come before these.
_USERS = {"root": 0, "messagebus": 4, "nobody": 65534}
_GROUPS = {
    "root": 0, "wheel": 1, "kmem": 2, "tty": 3, "messagebus": 4, "disk": 6, "floppy": 18,
    "uucp": 19, "lp": 20, "cdrom": 24, "tape": 25, "audio": 17, "video": 26, "dialout": 27,
    "utmp": 29, "adm": 55, "keys": 96, "users": 100, "input": 174, "kvm": 302, "render": 303,
    "sgx": 304, "shadow": 318, "nixbld": 30000, "nogroup": 65534,
}  # fmt: skip
_MAX_ID = 0xFFFFFFFE
# Extended attributes have one block, with a header and an entry for each, names and values being
# padded to 4 bytes (Linux Documentation/filesystems/ext4/attributes.rst).
_XATTR_ROOM, _XATTR_ENTRY = 4096 - 32 - 4, 16 + 3 + 3
_KEYS = frozenset(("source", "target", "user", "group", "mode", "xattrs"))
_RESERVED = "lost+found"  # in the root of every ext4, made by mke2fs
_NAME_MAX = 255  # bytes in a file name, in ext4 as in Linux


@dataclass(frozen=True, slots=True)
class Row:
    """One source for one target; a directory is taken with all below it."""

    source: str  # on this host
    target: str  # in the image: absolute, normalised
    uid: int
    gid: int
    mode: int | None  # None: as the source has it
    xattrs: Xattrs  # of the source itself, not of what is below a directory


def read_contents(file: Path, store: Store) -> list[Row]:
    """Read a JSON list of rows; raises RequestError with every problem in it."""
    try:
        raw = json.loads(file.read_bytes())
    except OSError as error:
        raise RequestError(f"cannot read --contents {file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise RequestError(f"--contents {file} is not JSON: {error}") from None
    if not isinstance(raw, list) or not all(isinstance(row, dict) for row in raw):
        raise RequestError(f"--contents {file} is not a list of objects")
    reader = _Reader(store, raw)
    rows = [row for number, entry in enumerate(raw, 1) for row in reader.read(number, entry)]
    seen: dict[str, str] = {}
    for row in rows:
        if row.target in seen:
            reader.problems.append(
                f"--contents: two rows for {row.target}: {seen[row.target]} and {row.source}"
            )
        seen[row.target] = row.source
    if reader.problems:
        raise RequestError(reader.problems)
    return rows


class _Reader:
    """Turns JSON rows into Rows and gathers what is wrong with them."""

    def __init__(self, store: Store, raw: Sequence[dict[str, Any]]) -> None:
        self.problems: list[str] = []
        self._store = store
        self._users = {**_USERS, **self._database(raw, "/etc/passwd")}
        self._groups = {**_GROUPS, **self._database(raw, "/etc/group")}

    def _host(self, source: str) -> str:
        """Where a source lies: store paths in the store given, others as they stand."""
        return str(locate(self._store, source)) if source.startswith(f"{STORE}/") else source

    def _matches(self, pattern: str) -> list[str]:
        """The host paths that match a pattern."""
        head = pattern[: pattern.index("*")].rpartition("/")[0]
        return sorted(glob.glob(glob.escape(self._host(head)) + pattern[len(head) :]))

    def _database(self, raw: Sequence[dict[str, Any]], target: str) -> dict[str, int]:
        """Name → id out of a passwd or group file that the contents put at `target`."""
        ids = {}
        for row in raw:
            source = row.get("source")
            if not _is_name(source) or not _is_name(row.get("target")):
                continue
            if _absolute(row["target"]) != target:
                continue
            in_store = source.startswith(f"{STORE}/")
            try:
                host = self._store.host(self._store.resolve(source)) if in_store else Path(source)
                text = host.read_text(errors="surrogateescape") if os.path.isfile(host) else ""
            except (OSError, RequestError):
                continue  # reported with the row itself
            for line in text.split("\n"):
                fields = line.split(":")
                number = _number(fields[2]) if len(fields) > 2 else None
                if number is not None:
                    ids[fields[0]] = number
        return ids

    def read(self, number: int, raw: dict[str, Any]) -> list[Row]:
        """The Rows of one JSON row: several when its source is a pattern."""
        before = len(self.problems)
        where = f"--contents, row {number}"
        unknown = sorted(set(raw) - _KEYS)
        if unknown:
            self.problems.append(f"{where}: unknown key {', '.join(unknown)}")
        source, target = raw.get("source"), raw.get("target")
        if not _is_name(source) or not _is_name(target):
            self.problems.append(f"{where}: needs a source and a target, both file names")
            return []
        into = "*" in source
        target = self._target(where, target, into)
        uid = self._id(where, raw.get("user"), "user", self._users)
        gid = self._id(where, raw.get("group"), "group", self._groups)
        mode = self._mode(where, raw.get("mode"))
        xattrs = self._xattrs(where, raw.get("xattrs", {}))
        rows = []
        for found in self._sources(where, source):
            place = posixpath.join(target, posixpath.basename(found)) if into else target
            if _is_in_store(place, found):
                self.problems.append(
                    f"{where}: the target {place} is in the store: use --additional-path"
                )
            if xattrs and os.path.islink(found):
                self.problems.append(f"{where}: {found} is a symlink, which has no xattrs")
            rows.append(Row(found, place, uid, gid, mode, xattrs))
        return rows if len(self.problems) == before else []

    def _sources(self, where: str, source: str) -> list[str]:
        """The host paths that a source names; `*` is a pattern, as in nixpkgs."""
        if "*" in source:
            found = self._matches(source)
        else:
            host = self._host(source)
            # As nixpkgs has it: a link to a directory stands for what is in the directory.
            found = [os.path.realpath(host) if os.path.isdir(host) else host]
        found = [path for path in found if os.path.lexists(path)]
        if not found:
            self.problems.append(f"{where}: the source {source} does not exist")
        for path in found:
            kind = stat.S_IFMT(os.lstat(path).st_mode)
            if kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
                self.problems.append(f"{where}: {path} is a device, pipe or socket")
            elif not os.access(path, os.R_OK, follow_symlinks=kind != stat.S_IFLNK):
                self.problems.append(f"{where}: the source {path} may not be read")
        return found

    def _target(self, where: str, target: str, into: bool) -> str:
        """The target as an absolute path; with `into` it may be the root itself."""
        clean = _absolute(target)
        if ".." in target.split("/"):
            self.problems.append(f"{where}: the target {target} leaves the root or goes through ..")
        elif clean == "/" and not into:
            self.problems.append(f"{where}: the target is the root itself")
        elif any(len(os.fsencode(part)) > _NAME_MAX for part in target.split("/")):
            self.problems.append(f"{where}: the target {target} has a name of over 255 bytes")
        return clean

    def _id(self, where: str, given: object, what: str, known: dict[str, int]) -> int:
        """A uid or gid by number or name; root's when none is given."""
        if given is None or given == "":
            return 0
        if isinstance(given, int) and not isinstance(given, bool) and 0 <= given <= _MAX_ID:
            return given
        if isinstance(given, str):
            if given in known:
                return known[given]
            number = _number(given)
            if number is not None:
                return number
        file = {"user": "/etc/passwd", "group": "/etc/group"}[what]
        self.problems.append(
            f"{where}: unknown {what} {given!r}: give its number, or put {file} among the contents"
        )
        return 0

    def _mode(self, where: str, given: object) -> int | None:
        """Permission bits from octal digits, or None."""
        if given is None or given == "":
            return None
        digits = given if isinstance(given, str) else ""
        if not digits or not set(digits) <= set("01234567") or int(digits, 8) > 0o7777:
            self.problems.append(f"{where}: the mode {given!r} is not a string of octal digits")
            return None
        return int(digits, 8)

    def _xattrs(self, where: str, given: object) -> Xattrs:
        """Extended attributes: name → text, `0x…` hexadecimal or `0s…` base64, as getfattr(1)."""
        if not isinstance(given, dict):
            self.problems.append(f"{where}: xattrs is not an object")
            return ()
        result = []
        for name, value in sorted(given.items()):
            try:
                result.append((name, _xattr_value(name, value)))
            except ValueError as error:
                self.problems.append(f"{where}: the extended attribute {name}: {error}")
        room = _XATTR_ROOM - sum(_XATTR_ENTRY + len(name) + len(value) for name, value in result)
        if room < 0:
            self.problems.append(f"{where}: xattrs are {-room} bytes more than ext4 can hold")
        return tuple(result)


def _xattr_value(name: str, value: object) -> bytes:
    if name.partition(".")[0] not in ("user", "security", "trusted"):
        raise ValueError("its name starts with none of user., security., trusted.")
    if not name.partition(".")[2] or "\0" in name or len(name.encode()) > _NAME_MAX:
        raise ValueError(f"its name is not 1 to {_NAME_MAX} bytes without NUL")
    if not isinstance(value, str):
        raise ValueError("its value is not a string")
    if value.startswith("0x"):
        return bytes.fromhex(value[2:])
    if value.startswith("0s"):
        return base64.b64decode(value[2:], validate=True)
    return value.encode()


def add_contents(tree: Tree, scanner: Scanner, rows: Sequence[Row], epoch: int) -> None:
    """Put the rows into the tree, parents before children; `epoch` is the time of every file.

    A directory that the tree has already is filled, not replaced. Raises RequestError where a
    target cannot be.
    """
    problems = []
    for row in sorted(rows, key=lambda row: row.target):
        metadata = Metadata(
            uid=row.uid, gid=row.gid, mode=row.mode, keep=True, mtime=epoch, xattrs=row.xattrs
        )
        target = os.fsencode(row.target)
        try:
            if row.target.split("/")[1] == _RESERVED:
                problems.append(f"--contents: {row.target}: /{_RESERVED} is the file system's own")
            elif isinstance(tree.get(target), Directory) and not _is_directory(row.source):
                problems.append(f"--contents: {row.target} is a directory of the system")
            else:
                scanner.add(row.source, target, metadata)
        except RequestError as error:
            problems += [f"--contents: {problem}" for problem in error.problems]
    if tree.root.children.get(_RESERVED.encode()) is not None:
        problems.append(f"--contents: a source for / holds {_RESERVED}, the file system's own")
    if problems:
        raise RequestError(problems)


def rows_with(rows: Sequence[Row], path: str) -> list[Row]:
    """The rows that put something at the image's absolute `path`: itself or in a directory."""
    return [
        row
        for row in rows
        if row.target == path
        or (
            path.startswith(row.target.rstrip("/") + "/")
            and os.path.lexists(row.source + path.removeprefix(row.target.rstrip("/")))
        )
    ]


def _is_directory(source: str) -> bool:
    return os.path.isdir(source) and not os.path.islink(source)


def _is_name(given: object) -> TypeGuard[str]:
    """Whether something from JSON can be a path: not empty, no NUL, no half of a surrogate pair."""
    try:
        return isinstance(given, str) and given != "" and b"\0" not in os.fsencode(given)
    except UnicodeEncodeError:
        return False


def _absolute(target: str) -> str:
    """A target as the image's absolute path, without `.` and doubled slashes."""
    return "/" + posixpath.normpath("/" + target).lstrip("/")


def _is_in_store(target: str, source: str) -> bool:
    """Whether a source put at this target would reach into the store."""
    if target == posixpath.dirname(STORE):
        return os.path.lexists(os.path.join(source, posixpath.basename(STORE)))
    return target == STORE or target.startswith(STORE + "/")


def _number(text: str) -> int | None:
    """A uid or gid in decimal digits, or None."""
    number = int(text) if re.fullmatch("[0-9]{1,10}", text) else _MAX_ID + 1
    return number if number <= _MAX_ID else None
