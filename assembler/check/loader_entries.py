"""Read the menu of systemd-boot.

The files: The Boot Loader Specification (uapi-group.org), type #1; loader.conf(5). The order, in
which the first is the default: systemd, src/boot/efi/boot.c.
"""

import re
from fnmatch import fnmatchcase

from assembler.check.grub_menu import Entry, Load, Location, plain_path
from assembler.check.grub_reader import GrubReader, UnreadableError

_DIRECTORY = "/loader/entries"
_CONFIG = "/loader/loader.conf"
_MAX_FILE = 1 << 16  # bytes

Lines = list[tuple[str, str]]


def read_entries(reader: GrubReader, numbers: tuple[int, ...]) -> list[Entry]:
    """The entries in some partitions, as the menu has them. Raises UnreadableError."""
    found = []
    for number in numbers:
        for name in reader.names(number, _DIRECTORY):
            if name.endswith(".conf"):
                found.append((_rank(name), name, number))
    entries: list[Entry] = []
    for _, name, number in sorted(found, reverse=True):
        lines = _read(reader, number, f"{_DIRECTORY}/{name}")
        title = next((value for key, value in lines if key == "title"), name)
        entries.append(Entry((title,), (len(entries),), name, tuple(_loads(number, lines))))
    return entries


def default_of(reader: GrubReader, number: int, entries: list[Entry]) -> Entry | None:
    """The entry that starts by itself, after loader.conf where there is one."""
    try:
        lines = _read(reader, number, _CONFIG)
    except UnreadableError:
        lines = []
    pattern = next((value for key, value in lines if key == "default"), "*")
    match = [
        one
        for one in entries
        if fnmatchcase(one.identity, pattern)
        or fnmatchcase(one.identity.removesuffix(".conf"), pattern)
    ]
    return next(iter(match or entries), None)


def _read(reader: GrubReader, number: int, path: str) -> Lines:
    text = reader.read(number, path, _MAX_FILE).decode(errors="replace")
    lines = (line.strip().partition(" ") for line in text.replace("\t", " ").splitlines())
    return [(key, value.strip()) for key, _, value in lines if key and not key.startswith("#")]


def _loads(number: int, lines: Lines) -> list[Load]:
    options = " ".join(value for key, value in lines if key == "options").split()
    loads = []
    for key, value in lines:
        place = Location(number, plain_path(value))
        match key:
            case "linux":
                loads.append(Load("linux", place, tuple(options)))
            case "initrd":
                loads.append(Load("initrd", place, ()))
            case "efi":
                loads.append(Load("chainloader", place, tuple(options)))
    return loads


def _rank(name: str) -> list[tuple[int, str]]:
    """A key that puts generation 10 after generation 9."""
    return [
        (int(part) if part.isdecimal() else -1, part) for part in re.split("([0-9]{1,18})", name)
    ]
