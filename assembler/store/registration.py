"""A closure's registration: what the Nix database has of every store path."""

import base64
import re
from collections.abc import Iterable
from typing import NamedTuple

from assembler.errors import RequestError
from assembler.store.paths import is_store_path

_NIX32 = "0123456789abcdfghijklmnpqrsvwxyz"
_SHA256_HEX = 64
_SHA256_NIX32 = 52
_MAX_NUMBER = (1 << 63) - 1  # an integer column of SQLite


class PathInfo(NamedTuple):
    """One valid store path, as the table ValidPaths has it.

    The deriver is left out: only some sources have it, and one closure must give one image. Some
    sources have neither hash nor size: they are None until the files are read.
    """

    path: str
    nar_hash: str | None  # sha256 in hexadecimal
    nar_size: int | None  # bytes
    references: tuple[str, ...]


def requisites(infos: Iterable[PathInfo], paths: Iterable[str]) -> set[str]:
    """The `paths` and all that they refer to, directly or not."""
    references = {info.path: info.references for info in infos}
    found: set[str] = set()
    pending = list(paths)
    while pending:
        path = pending.pop()
        if path not in found:
            found.add(path)
            pending += references.get(path, ())
    return found


def nearest(infos: Iterable[PathInfo], path: str, suffix: str | tuple[str, ...]) -> list[str]:
    """Of the store paths whose names end in `suffix`, those nearest to `path`, sorted.

    The distance is counted in references. There may be none.
    """
    references = {info.path: info.references for info in infos}
    seen, layer = {path}, [path]
    while layer:
        layer = sorted({ref for one in layer for ref in references.get(one, ())} - seen)
        seen.update(layer)
        if found := [one for one in layer if one.endswith(suffix)]:
            return found
    return []


def parse_hash(text: str) -> str:
    """Convert a SHA-256 to hexadecimal from any form that Nix writes: [sha256:]hex, base-32, SRI.

    Raises ValueError. Base-32 is Nix's own, least significant digit last (libutil/hash.cc).
    """
    digits = text.removeprefix("sha256:")
    if text.startswith("sha256-"):
        try:
            raw = base64.b64decode(text.removeprefix("sha256-").encode(), validate=True)
        except ValueError:
            raw = b""
        if len(raw) != 32:
            raise ValueError(f"{text!r} is not a SHA-256")
        return raw.hex()
    if len(digits) == _SHA256_NIX32:
        number = 0
        for digit in digits:
            if digit not in _NIX32:
                raise ValueError(f"{text!r} is not a SHA-256")
            number = number * 32 + _NIX32.index(digit)
        if number >> 256:
            raise ValueError(f"{text!r} is not a SHA-256")
        return number.to_bytes(32, "little").hex()
    if len(digits) != _SHA256_HEX or not set(digits) <= set("0123456789abcdef"):
        raise ValueError(f"{text!r} is not a SHA-256")
    return digits


def parse_registration(text: str, source: str, *, hashes: bool = True) -> list[PathInfo]:
    """Read the lines that `nix-store --load-db` takes and closureInfo writes.

    Without `hashes`, read the lines that exportReferencesGraph makes, in which there is neither
    hash nor size. Messages call the file `source`. Raises RequestError, naming the line, when the
    lines are cut short or are not a registration.
    """
    lines = text.split("\n")
    if lines.pop() != "":
        raise RequestError(f"{source} is cut short: its last line has no end")
    reader = _LineReader(lines, source)
    infos: list[PathInfo] = []
    while not reader.at_end:
        infos.append(reader.path_info(hashes=hashes))
    return infos


class _LineReader:
    """Reads a registration line by line; raises RequestError, naming the line."""

    def __init__(self, lines: list[str], source: str) -> None:
        self._lines, self._source = lines, source
        self._position = 0
        self._start = 0  # the first line about the present store path

    @property
    def at_end(self) -> bool:
        """Whether all lines are read."""
        return self._position == len(self._lines)

    def path_info(self, *, hashes: bool) -> PathInfo:
        """Read all lines about one store path."""
        self._start = self._position
        path = self._store_path("a store path")
        nar_hash = self._hash() if hashes else None
        nar_size = self._number("the size", 1) if hashes else None
        if deriver := self._line("the deriver"):
            self._check_path(deriver)
        count = self._number("the number of references", 0)
        references = tuple(self._store_path("a reference") for _ in range(count))
        return PathInfo(path, nar_hash, nar_size, references)

    def _line(self, what: str) -> str:
        if self.at_end:
            path = f" of {self._lines[self._start]}" if self._start < self._position else ""
            raise RequestError(
                f"{self._source} is cut short: line {self._position + 1}, {what}{path}, is missing"
            )
        self._position += 1
        return self._lines[self._position - 1]

    def _error(self, problem: str) -> RequestError:
        return RequestError(f"{self._source}, line {self._position}: {problem}")

    def _store_path(self, what: str) -> str:
        path = self._line(what)
        self._check_path(path)
        return path

    def _check_path(self, path: str) -> None:
        if not is_store_path(path):
            raise self._error(f"{path!r} is not a store path")

    def _hash(self) -> str:
        try:
            return parse_hash(self._line("the hash"))
        except ValueError as error:
            raise self._error(str(error)) from None

    def _number(self, what: str, least: int) -> int:
        word = self._line(what)
        number = int(word) if re.fullmatch("[0-9]{1,19}", word) else -1
        if not least <= number <= _MAX_NUMBER:
            raise self._error(f"{word!r} should be {what}")
        return number


def format_registration(infos: Iterable[PathInfo]) -> bytes:
    """Write what `nix-store --load-db` reads; every hash and size must be known."""
    lines: list[str] = []
    for info in infos:
        assert info.nar_hash is not None
        lines += [info.path, info.nar_hash, str(info.nar_size), ""]
        lines += [str(len(info.references)), *info.references]
    return "".join(line + "\n" for line in lines).encode()
