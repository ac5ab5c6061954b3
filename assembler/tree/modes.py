"""Permission bits in a row of contents: octal, or changes in the syntax of chmod and rsync.

Source: "File permissions" in the manual of GNU coreutils, and `--chmod` in rsync(1), where D and F
restrict a change to directories and to files.
"""

import re
from typing import NamedTuple

_UMASK = 0o022  # of nixpkgs' builders; for changes that name no class of users
_ALL = 0o7777
_SPECIAL = 0o6000  # setuid and setgid: a directory keeps them unless they are named
_EXECUTE = 0o111
_WHO = {"u": 0o4700, "g": 0o2070, "o": 0o1007, "a": _ALL}
_WHAT = {"r": 0o444, "w": 0o222, "x": _EXECUTE, "X": 0, "s": _SPECIAL, "t": 0o1000}
_COPIED = {"u": 0o700, "g": 0o070, "o": 0o007}
_CLAUSE = re.compile(r"([DF]?)(?:([0-7]+)|([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]|[0-7]+))+))")
_CHANGE = re.compile(r"([-+=])([^-+=]*)")


class Change(NamedTuple):
    """One change of a mode."""

    kinds: str  # D for directories, F for files
    who: int  # the bits of the classes of users that are named; 0 for none
    operator: str  # - + or =
    bits: int
    copied: int = 0  # u, g or o whose permissions are copied: three bits of the old mode
    search: bool = False  # X: for directories, and for files that someone may execute
    named: int = 0  # the special bits among these change in directories, too


Mode = tuple[Change, ...]


def parse_mode(text: str) -> Mode:
    """Parse a mode; raises ValueError if it is neither octal nor symbolic."""
    changes: list[Change] = []
    for clause in text.split(","):
        found = _CLAUSE.fullmatch(clause)
        if found is None:
            raise ValueError(clause)
        kinds, digits, who, symbols = found[1] or "DF", found[2], found[3] or "", found[4] or ""
        if digits is not None:
            changes.append(Change(kinds, _ALL, "=", _octal(digits), named=_ALL))
        for operator, what in _CHANGE.findall(symbols):
            changes.append(_change(kinds, who, operator, what))
    return tuple(changes)


def _change(kinds: str, names: str, operator: str, what: str) -> Change:
    who = 0
    for name in names:
        who |= _WHO[name]
    if what in _COPIED:
        return Change(kinds, who, operator, 0, copied=_COPIED[what])
    if what.isdigit():
        if names:
            raise ValueError(what)
        return Change(kinds, _ALL, operator, _octal(what), named=_ALL)
    bits = 0
    for letter in what:
        bits |= _WHAT[letter]
    return Change(kinds, who, operator, bits, search="X" in what, named=bits & (who or _ALL))


def _octal(digits: str) -> int:
    """Permission bits; raises ValueError above 7777."""
    if len(digits.lstrip("0")) > len("7777"):
        raise ValueError(digits)
    return int(digits, 8)


def apply(mode: Mode, bits: int, *, directory: bool) -> int:
    """Apply the changes to the permission bits of a file or directory."""
    for change in mode:
        if ("D" if directory else "F") not in change.kinds:
            continue
        value = change.bits
        if change.copied:
            copied = bits & change.copied
            value = sum(each for each in (0o444, 0o222, _EXECUTE) if each & copied)
        if change.search and (directory or bits & _EXECUTE):
            value |= _EXECUTE
        kept = _SPECIAL & ~change.named if directory else 0
        value &= (change.who or ~_UMASK) & ~kept
        match change.operator:
            case "+":
                bits |= value
            case "-":
                bits &= ~value
            case _:
                bits = bits & ((~change.who if change.who else 0) | kept) | value
    return bits & _ALL
