"""What a menu of GRUB's offers: its entries, and the files that each loads."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from assembler.check.grub.reader import FileSystem

KERNEL_COMMANDS = frozenset(
    {"linux", "linux16", "linuxefi", "multiboot", "multiboot2", "chainloader"}
)
INITRD_COMMANDS = frozenset({"initrd", "initrd16", "initrdefi", "module", "module2"})


@dataclass(frozen=True, slots=True)
class Location:
    """A file for GRUB: the partition's number, or why there is none, and the path there."""

    number: int | None
    path: str
    fault: str = ""

    @property
    def is_blocks(self) -> bool:
        """Whether it is no file but a list of blocks, such as `+1` (grub_file_open)."""
        return not self.path.startswith("/")


@dataclass(frozen=True, slots=True)
class Load:
    """A command of an entry that loads a file."""

    command: str
    place: Location
    arguments: tuple[str, ...]

    @property
    def is_kernel(self) -> bool:
        """Whether the entry starts it."""
        return self.command in KERNEL_COMMANDS


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the menu: its titles from the top, its place there, and what it loads."""

    titles: tuple[str, ...]
    numbers: tuple[int, ...]
    identity: str
    loads: tuple[Load, ...]
    fault: str = ""  # why nothing of it is ever started

    @property
    def title(self) -> str:
        """The entry in a message."""
        return " ".join(" > ".join(self.titles).split())


@dataclass(slots=True)
class Counter:
    """Where in the menu the next entry goes."""

    titles: tuple[str, ...]
    numbers: tuple[int, ...]
    count: int = 0

    def next(self) -> int:
        """The number of the next entry, from 0."""
        self.count += 1
        return self.count - 1


def default_entry(entries: Sequence[Entry], wanted: str) -> Entry | None:
    """The entry that starts by itself: that of the variable `default`, else the first."""
    steps = (wanted or "0").split(">")
    if all(re.fullmatch("[0-9]{1,6}", step) for step in steps):
        numbers = tuple(int(step) for step in steps)
        match = [one for one in entries if one.numbers[: len(numbers)] == numbers]
    else:
        match = [one for one in entries if steps[-1] in (one.titles[-1], one.identity)]
    return next(iter(match or entries), None)


def device_name(number: int) -> str:
    """What we call a partition in GRUB's variables: numbers are all that counts."""
    return f"hd0,{number}" if number else "hd0"


def device_number(device: str) -> int | None:
    """The partition that a device name of GRUB's means on this disk; 0 is the whole disk."""
    match = re.fullmatch(r"(?:hd0|hostdisk/[^,]*)?(?:,(?:gpt|msdos)?(\d+))?", device)
    if match is None or not device:
        return None
    return int(match[1] or 0)


def title_of(arguments: Sequence[str]) -> tuple[str, str]:
    """Title and --id of an entry; the options with values are those of grub_cmd_menuentry."""
    title, identity = "", ""
    words = iter(arguments)
    for word in words:
        if word in ("--class", "--users", "--hotkey", "--source", "--id"):
            value = next(words, "")
            identity = value if word == "--id" else identity
        elif not word.startswith("--") and not title:
            title = word
    return title, identity


def plain_path(path: str) -> str:
    """A path without double slashes, which GRUB passes over."""
    return str(PurePosixPath("/" + path.lstrip("/")))


def location_words(file_systems: Iterable[FileSystem], place: Location) -> str:
    """A file in a message."""
    if place.number is None:
        return place.path
    disk = f"partition {place.number}" if place.number else "the disk"
    where = next((one.where for one in file_systems if one.number == place.number), disk)
    return f"{where}, {place.path}"
