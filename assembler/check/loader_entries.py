"""Read the menu of systemd-boot.

The files: The Boot Loader Specification (uapi-group.org), type #1; loader.conf(5). The order, in
which the first is the default: config_entry_compare in systemd, src/boot/efi/boot.c.
"""

import re
from dataclasses import dataclass

from assembler.check.glob import matches
from assembler.check.grub_reader import GrubReader, UnreadableError
from assembler.check.menu import Entry, Load, Location, plain_path

_DIRECTORY = "/loader/entries"
_CONFIG = "/loader/loader.conf"
_MAX_FILE = 1 << 16  # bytes
_MAX_ENTRIES = 1000
_COUNTERS = re.compile(r"\+([0-9]{1,9})(?:-[0-9]{1,9})?(?=\.conf$)")  # systemd, boot counting

_WILD = re.compile(r"[*?[\\]")
_NIXOS = "nixos-"  # how the names of NixOS's own entries begin
_KEYS = frozenset(
    {
        *("title", "version", "machine-id", "sort-key", "architecture", "options", "extra"),
        *("linux", "initrd", "efi", "uki", "uki-url", "profile"),
        *("devicetree", "devicetree-overlay", "tries-left", "tries-done"),
    }
)

Lines = list[tuple[str, str]]


def read_entries(reader: GrubReader, numbers: tuple[int, ...]) -> list[Entry]:
    """The entries in some partitions, as the menu has them. Raises UnreadableError."""
    names = [
        (number, name)
        for number in numbers
        for name in reader.names(number, _DIRECTORY)
        if name.endswith(".conf")
    ]
    if len(names) > _MAX_ENTRIES:
        raise UnreadableError(f"there are more than {_MAX_ENTRIES} entries")
    found = [
        _File(number, name, _read(reader, number, f"{_DIRECTORY}/{name}")) for number, name in names
    ]
    for one in found:
        odd = [key for key, _ in one.lines if key not in _KEYS and one.name.startswith(_NIXOS)]
        if odd:  # systemd-boot skips such a line
            raise UnreadableError(f"{one.name} has a line that begins with {odd[0]!r}")
    # Each sort keeps the order of the sorts before it among equal entries.
    found.sort(key=lambda one: _rank(one.identifier), reverse=True)
    found.sort(key=lambda one: _rank(one.value("version") if one.sort_key else ""), reverse=True)
    found.sort(key=lambda one: (not one.sort_key, one.sort_key, one.value("machine-id")))
    found.sort(key=lambda one: one.is_bad)
    return [
        Entry(
            (one.value("title") or one.name,),
            (place,),
            one.identifier,
            tuple(_loads(one.number, one.lines)),
        )
        for place, one in enumerate(found)
    ]


def default_of(reader: GrubReader, number: int, entries: list[Entry]) -> tuple[Entry | None, str]:
    """The entry that starts by itself, after loader.conf where there is one; and a remark.

    The remark is empty, or says that loader.conf names an entry that is not there: systemd-boot
    then starts the first one.
    """
    try:
        lines = _read(reader, number, _CONFIG)
    except UnreadableError:
        lines = []
    patterns = [
        next((value for key, value in lines if key == wanted), "")
        for wanted in ("preferred", "default")
    ]
    for pattern in patterns:
        for one in entries:
            if any(
                matches(name, pattern)
                for name in (one.identity, one.identity.removesuffix(".conf"))
            ):
                return one, ""
    remark = ""
    if patterns[1].endswith(".conf") and not _WILD.search(patterns[1]):
        remark = f"the default of loader.conf, {patterns[1]}, is not there: the first entry starts"
    return next(iter(entries), None), remark


@dataclass(frozen=True, slots=True)
class _File:
    """The file of an entry: its partition, its name and its lines."""

    number: int
    name: str
    lines: Lines

    @property
    def identifier(self) -> str:
        """The name by which loader.conf names it: without the counters of boot counting."""
        return _COUNTERS.sub("", self.name)

    @property
    def is_bad(self) -> bool:
        """Whether boot counting has marked it as bad."""
        counters = _COUNTERS.search(self.name)
        return counters is not None and int(counters[1]) == 0

    @property
    def sort_key(self) -> str:
        return self.value("sort-key")

    def value(self, key: str) -> str:
        """The value of the first line with a key, empty if there is none."""
        return next((value for one, value in self.lines if one == key), "")


def _read(reader: GrubReader, number: int, path: str) -> Lines:
    text = reader.read(number, path, _MAX_FILE).decode(errors="replace")
    lines = (line.strip().partition(" ") for line in text.replace("\t", " ").splitlines())
    return [(key, value.strip()) for key, _, value in lines if key and not key.startswith("#")]


def _loads(number: int, lines: Lines) -> list[Load]:
    # As the kernel splits them, for which double quotes keep spaces (next_arg() in lib/cmdline.c).
    line = " ".join(value for key, value in lines if key == "options")
    options = re.findall(r'(?:[^\s"]|"[^"]*"?)+', line)
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
