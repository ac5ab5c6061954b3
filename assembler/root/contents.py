"""The user's own files: `--contents`, rows as nixpkgs' make-disk-image takes them."""

import base64
import glob
import json
import os
import posixpath
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assembler.errors import RequestError
from assembler.root.scan import Metadata, Scanner
from assembler.root.tree import Directory, Tree, Xattrs
from assembler.store.paths import STORE, StoreRoot

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
_KEYS = frozenset(("source", "target", "user", "group", "mode", "xattrs"))
_NAME_MAX = 255  # bytes in a file name, in ext4 as in Linux


@dataclass(frozen=True, slots=True)
class Row:
    """One source for one target; a directory is taken with all below it."""

    source: str  # on this host
    target: str  # in the image: absolute, normalised
    uid: int
    gid: int
    mode: int | None  # None: as the source has it
    xattrs: Xattrs


def read_contents(file: Path, store: StoreRoot) -> list[Row]:
    """Read a JSON list of rows; raises RequestError with every problem in it."""
    try:
        raw = json.loads(file.read_bytes())
    except OSError as error:
        raise RequestError(f"cannot read --contents {file}: {error.strerror}") from None
    except ValueError as error:
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

    def __init__(self, store: StoreRoot, raw: Sequence[dict[str, Any]]) -> None:
        self.problems: list[str] = []
        self._store = store
        self._users = {**_USERS, **self._database(raw, "/etc/passwd")}
        self._groups = {**_GROUPS, **self._database(raw, "/etc/group")}

    def _host(self, source: str) -> str:
        """Where a source lies: store paths in the store given, others as they stand."""
        if source.startswith(STORE + "/"):
            return str(self._store.host(source))
        return source

    def _database(self, raw: Sequence[dict[str, Any]], target: str) -> dict[str, int]:
        """Name → id out of a passwd or group file that the contents put at `target`."""
        ids = {}
        for row in raw:
            if row.get("target") != target or not isinstance(row.get("source"), str):
                continue
            try:
                text = Path(self._host(row["source"])).read_text(errors="surrogateescape")
            except OSError:
                continue  # reported with the row itself
            for line in text.splitlines():
                fields = line.split(":")
                if len(fields) > 2 and fields[2].isdecimal():
                    ids[fields[0]] = int(fields[2])
        return ids

    def read(self, number: int, raw: dict[str, Any]) -> list[Row]:
        """The Rows of one JSON row: several when its source is a pattern."""
        before = len(self.problems)
        where = f"--contents, row {number}"
        unknown = sorted(set(raw) - _KEYS)
        if unknown:
            self.problems.append(f"{where}: unknown key {', '.join(unknown)}")
        source, target = raw.get("source"), raw.get("target")
        if not isinstance(source, str) or not isinstance(target, str):
            self.problems.append(f"{where}: needs a source and a target")
            return []
        target = self._target(where, target)
        uid = self._id(where, raw.get("user", "root"), "user", self._users)
        gid = self._id(where, raw.get("group", "root"), "group", self._groups)
        mode = self._mode(where, raw.get("mode"))
        xattrs = self._xattrs(where, raw.get("xattrs", {}))
        sources = self._sources(where, source)
        if len(self.problems) > before:
            return []
        into = "*" in source
        return [
            Row(
                found,
                posixpath.join(target, posixpath.basename(found)) if into else target,
                uid,
                gid,
                mode,
                xattrs,
            )
            for found in sources
        ]

    def _sources(self, where: str, source: str) -> list[str]:
        """The host paths that a source names; `*` is a pattern, as in nixpkgs."""
        host = self._host(source)
        found = sorted(glob.glob(host)) if "*" in host else [host]
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

    def _target(self, where: str, target: str) -> str:
        """The target as an absolute path below the root, outside the store."""
        clean = "/" + posixpath.normpath("/" + target).lstrip("/")
        if ".." in target.split("/"):
            self.problems.append(f"{where}: the target {target} leaves the root or goes through ..")
        elif clean == "/":
            self.problems.append(f"{where}: the target is the root itself")
        elif clean == STORE or clean.startswith(STORE + "/"):
            self.problems.append(
                f"{where}: the target {target} is in the store: use --additional-path"
            )
        elif "\0" in target or any(len(os.fsencode(p)) > _NAME_MAX for p in target.split("/")):
            self.problems.append(f"{where}: the target {target!r} is no file name")
        return clean

    def _id(self, where: str, given: object, what: str, known: dict[str, int]) -> int:
        """A uid or gid by number or name."""
        if isinstance(given, int) and not isinstance(given, bool) and 0 <= given <= _MAX_ID:
            return given
        if isinstance(given, str):
            if given in known:
                return known[given]
            if given.isascii() and given.isdecimal() and int(given) <= _MAX_ID:
                return int(given)
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
        return tuple(result)


def _xattr_value(name: str, value: object) -> bytes:
    if name.partition(".")[0] not in ("user", "security", "trusted", "system"):
        raise ValueError("its name starts with none of user., security., trusted., system.")
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
            if isinstance(tree.get(target), Directory) and not _is_directory(row.source):
                problems.append(f"--contents: {row.target} is a directory of the system")
            else:
                scanner.add(row.source, target, metadata)
        except RequestError as error:
            problems += [f"--contents: {problem}" for problem in error.problems]
    if problems:
        raise RequestError(problems)


def _is_directory(source: str) -> bool:
    return stat.S_ISDIR(os.lstat(source).st_mode)
