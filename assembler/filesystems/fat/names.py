"""Which names a FAT file system can hold, and stand-ins for names that mtools would change.

Source: Microsoft's FAT specification (fatgen103), "Long Directory Entries" and "Name Limits and
Character Sets"; mtools(1) for the rest.
"""

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import TypeVar

_T = TypeVar("_T")

_MAX_NAME = 255  # UTF-16 units
_RESERVED = re.compile(r'["*/:<>?\\|\x00-\x1f\x7f]')
# Names of DOS devices: mtools makes no files with them.
_DEVICES = re.compile(r"(?:con|prn|aux|nul|clock\$|(?:com|lpt)[0-9])", re.IGNORECASE)
# Names that mtools keeps. To others it gives only a short name, in code page 850, or it takes them
# for patterns.
_PLAIN = re.compile(r"[A-Za-z0-9 ._+=,;@~^%&'!#$(){}`-]+")
_ALONE = "+=,;"  # a name of one of these characters is stored as a long name
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def name_problems(what: str, paths: Iterable[str]) -> list[str]:
    """One line for each name that a FAT cannot hold, among the `paths` of its files.

    `what` is the name of the FAT in messages. Two directories whose names differ by case alone are
    one directory; two such files are a problem.
    """
    files = sorted(set(paths))
    problems = [
        f"the {what} is a FAT, which cannot hold {path!r}: {fault}"
        for path in files
        if (fault := next(filter(None, map(_fault, path.split("/"))), ""))
    ]
    seen: dict[str, str] = {}
    for path in files:
        key = fold(path)
        if (other := seen.setdefault(key, path)) != path:
            problems.append(
                f"the {what} is a FAT, which cannot hold both {other!r} and {path!r}: they differ "
                "by case alone"
            )
    directories = {key for path in files for key in above(fold(path))}
    problems += [
        f"the {what} cannot have {path!r} as a file and as a directory"
        for key, path in seen.items()
        if key in directories
    ]
    return problems + _crowded(what, files)


def with_one_case(files: Mapping[str, _T]) -> dict[str, _T]:
    """The same files, with one spelling for directories whose names differ by case alone.

    It is the spelling that sorts first.
    """
    spelled: dict[str, str] = {}
    made = {}
    for path in sorted(files):
        directory, name = posixpath.split(path)
        for upper in reversed([directory, *above(directory)]):
            here, last = posixpath.split(upper)
            known = spelled.get(fold(here), here)
            spelled.setdefault(fold(upper), posixpath.join(known, last))
        made[posixpath.join(spelled[fold(directory)], name)] = files[path]
    return made


def above(path: str) -> Iterator[str]:
    """The directories above a path, the nearest first, without the root."""
    while path := posixpath.dirname(path):
        yield path


def fold(path: str) -> str:
    """A key that is equal for names that differ by case alone: each character in upper case."""
    return "".join(upper if len(upper := char.upper()) == 1 else char for char in path)


def units(name: str) -> int:
    """The UTF-16 units of a name."""
    return len(name.encode("utf-16-le", errors="surrogatepass")) // 2


def stand_ins(paths: Iterable[str]) -> dict[str, str]:
    """Paths to give to mtools instead of those of files and directories: real path → stand-in.

    A stand-in is plain ASCII, has as many UTF-16 units as the real path, and mtools stores it as a
    long name.
    """
    found = {"": ""}
    taken: dict[str, set[str]] = {}
    everything = {one for path in paths for one in (path, *above(path))}
    for path in sorted(everything, key=lambda path: (path.count("/"), not _is_plain(path), path)):
        directory, name = posixpath.split(path)
        names = taken.setdefault(directory, set())
        if not _is_plain(name):
            name = next(one for one in _candidates(units(name)) if fold(one) not in names)
        names.add(fold(name))
        found[path] = posixpath.join(found[directory], name)
    del found[""]
    return found


def _fault(name: str) -> str:
    """Why a FAT cannot hold a name; empty where it can."""
    if found := _RESERVED.search(name):
        return f"{found[0]!r} is reserved"
    if any("\ud800" <= char <= "\udfff" for char in name):
        return "it is not UTF-8"
    if name.endswith((".", " ")):
        return "it ends with a dot or a space"
    if _DEVICES.fullmatch(name):
        return "it is the name of a device"
    if (length := units(name)) > _MAX_NAME:
        return f"the name has {length} characters, and the longest has {_MAX_NAME}"
    return ""


def _is_plain(path: str) -> bool:
    return _PLAIN.fullmatch(posixpath.basename(path)) is not None


def _candidates(length: int) -> Iterator[str]:
    """Names of a length that mtools stores as long names."""
    if length == 1:
        yield from _ALONE
        return
    start = "a" * max(0, length - 4)
    for letters in product(_LETTERS, repeat=min(length, 4)):
        yield (start + "".join(letters[:-1])) + letters[-1].upper()


def _crowded(what: str, files: Iterable[str]) -> list[str]:
    """Directories with more names of one or two characters than there are stand-ins for."""
    most = {1: len(_ALONE), 2: len(_LETTERS) ** 2}
    counts: dict[tuple[str, int], set[str]] = {}
    for path in {one for file in files for one in (file, *above(file))}:
        directory, name = posixpath.split(path)
        length = units(name)
        if length == 2 or (length == 1 and (name in _ALONE or not _is_plain(name))):
            counts.setdefault((directory, length), set()).add(name)
    return [
        f"the {what} can have {most[length]} names like {max(names)!r} in {directory or '/'}, and "
        f"not {len(names)}"
        for (directory, length), names in sorted(counts.items())
        if len(names) > most[length] and not all(map(_is_plain, names))
    ]
