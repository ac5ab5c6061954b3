"""The entries of a boot menu, GRUB's or systemd-boot's, and the files that they load."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from assembler.check.grub_reader import GrubFileSystem

KERNEL_COMMANDS = frozenset(
    {"linux", "linux16", "linuxefi", "multiboot", "multiboot2", "chainloader"}
)


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
    unfollowed: str = ""  # a part of it whose effect we do not know, if there is one

    @property
    def title(self) -> str:
        """The entry in a message."""
        return " ".join(" > ".join(self.titles).split())


@dataclass(frozen=True, slots=True)
class CheckedEntry:
    """An entry of a menu after its check."""

    title: str
    default: bool  # whether it starts by itself
    followed: bool  # whether its files are read: all of the default's, the beginnings of others
    files: tuple[tuple[Load, int | None], ...]  # with their sizes in bytes where they were read
    init: str | None  # the path of the kernel's parameter init=


def plain_path(path: str) -> str:
    """A path without double slashes, which boot loaders ignore."""
    return str(PurePosixPath("/" + path.lstrip("/")))


def location_words(file_systems: Iterable[GrubFileSystem], place: Location) -> str:
    """A file in a message."""
    if place.number is None:
        return place.path
    disk = f"partition {place.number}" if place.number else "the disk"
    where = next((one.where for one in file_systems if one.number == place.number), disk)
    return f"{where}, {place.path}"
