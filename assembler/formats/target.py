"""What a taker of images asks of them: the row of its facts, and one rule for each fact.

The rules take plain values, so that the plan of an image and the check of a finished one ask the
same.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from pathlib import Path

from assembler.disk.tables import Table, tables_that
from assembler.errors import Message, Setting, either
from assembler.machines import machine_of
from assembler.units import SECTOR, exact_sizes, round_up, unit_words, write_size

# The serial port, by any of the drivers that it may have.
_SERIAL_PORTS = ("ttyS0", "ttyAMA0", "hvc0")
_CONSOLE = "console="


class Start(StrEnum):
    """What starts a disk."""

    BIOS = "BIOS"
    UEFI = "UEFI"
    MENU = "GRUB from outside"  # which is not on the disk, and reads a menu there


class Weight(Enum):
    """What a finding means for an image."""

    DISK = "the target takes no such disk, or does not start it"
    FILE = "the target takes the disk in another file"
    HINT = "the target takes the disk, with something to know about it"


@dataclass(frozen=True, slots=True)
class Finding:
    """Where an image is not as its target takes it."""

    weight: Weight
    words: str  # the end of a sentence that begins with the target
    remedy: str = ""  # for who makes the image: a Message that names settings


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeImage:
    """A finished image, for the file beside it."""

    file: Path
    format: str
    size: int  # bytes of the disk
    platform: str  # of the system, as Nix calls it
    label: str  # of the system; empty if it has no kernel
    starts: Collection[Start]  # what was found to start it


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A JSON file beside an image, for the tools that upload it."""

    name: str
    formats: Collection[str]  # of the images that it can describe
    content: Callable[[MadeImage], Mapping[str, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A taker of images. Sizes are in bytes; None and empty are what it does not care for."""

    formats: tuple[str, ...]  # that it takes; the first one is made
    machines: Mapping[str, str]  # its platforms, as Nix calls them: the serial port, if one is seen
    starts: Mapping[Start, str]  # what starts its disks, and in which machines, if not in all
    table: Table | None = None  # that is made, and the boot loader
    boot_loader: str | None = None
    format_starts: Mapping[str, Start] = field(default_factory=dict[str, Start])  # if not all
    unit: int = 1  # of the disk's size
    largest: int | None = None  # the disk
    largest_files: Mapping[str, int] = field(default_factory=dict[str, int])  # by format
    has_large_sectors: bool = False
    sidecar: Sidecar | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An image that is planned or read back; None is what nobody has looked at."""

    format: str | None = None
    file: tuple[str, int] | None = None  # its format, and its size in bytes
    size: int | None = None  # of the disk, in bytes
    sector_size: int | None = None  # bytes
    platform: str | None = None  # of the system, as Nix calls it
    starts: Collection[Start] | None = None
    kernel_params: Collection[str] | None = None


def findings(target: Target, image: Candidate) -> list[Finding]:
    """Where an image is not as its target takes it.

    If the target has no machine for the system, nothing else matters.
    """
    if foreign := [*_platform(target, image)]:
        return foreign
    return [finding for rule in _RULES for finding in rule(target, image)]


def _platform(target: Target, image: Candidate) -> Iterator[Finding]:
    if image.platform is not None and image.platform not in target.machines:
        has = " and ".join(target.machines)
        yield Finding(
            Weight.DISK, f"has machines for {has} only, and the system is for {image.platform}"
        )


def _format(target: Target, image: Candidate) -> Iterator[Finding]:
    if image.format is not None and image.format not in target.formats:
        take = Message("take ", Setting("format", target.formats[0]))
        words = f"takes {either(target.formats)}, not {image.format}"
        yield Finding(Weight.FILE, words, take)


def _file_size(target: Target, image: Candidate) -> Iterator[Finding]:
    made, least = image.file or ("", 0)
    most = target.largest_files.get(made, least)
    if least > most:
        others = [one for one in target.formats if one not in target.largest_files]
        take = Message("take ", Setting("format", others[0])) if others else ""
        size, limit = exact_sizes(least, most)
        words = f"takes files of the format {made} of {limit} at most, not {size}"
        yield Finding(Weight.DISK, words, take)


def _size(target: Target, image: Candidate) -> Iterator[Finding]:
    if image.size is None:
        return
    if image.size % target.unit:
        whole = f"a whole number of {unit_words(target.unit)}, not {image.size} bytes"
        take = Setting("size", write_size(round_up(image.size, target.unit)))
        yield Finding(Weight.DISK, f"takes disks of {whole}", Message("take ", take))
    if target.largest is not None and image.size > target.largest:
        size, most = exact_sizes(image.size, target.largest)
        words = f"takes disks of {most} at most, and this one has {size}"
        yield Finding(Weight.DISK, words, Message("take a smaller ", Setting("size")))


def _sectors(target: Target, image: Candidate) -> Iterator[Finding]:
    if image.sector_size not in (None, SECTOR) and not target.has_large_sectors:
        words = f"has disks with sectors of {SECTOR} bytes, not {image.sector_size}"
        yield Finding(Weight.DISK, words, Message("take ", Setting("sector_size", SECTOR)))


def _start(target: Target, image: Candidate) -> Iterator[Finding]:
    """What starts the disk must be in the target's machines, if possible in all of them."""
    if image.starts is None:
        return
    only = target.format_starts.get(image.format or "")
    able = [start for start in target.starts if only in (None, start)]
    common = [start for start in able if start in image.starts]
    if not image.starts:
        yield Finding(Weight.HINT, f"starts disks by {either(able)}, and nothing starts this one")
    elif not common:
        disks = "disks" if only is None else f"disks of the format {image.format}"
        words = f"starts {disks} by {either(able)}, and this one is for "
        take = _other_table(able)
        if only is not None:
            take = Message(Setting("format", target.formats[0]), ", or ", take)
        take = Message("take ", take)
        yield Finding(Weight.DISK, words + either(sorted(image.starts)), take)
    elif all(target.starts[start] for start in common):
        where = either([target.starts[start] for start in common])
        yield Finding(Weight.HINT, f"starts a disk for {either(common)} only {where}")


def _other_table(starts: Sequence[Start]) -> Message:
    tables = tables_that(lambda table: not starts_of(table).isdisjoint(starts))
    take = Message(Setting("partition_table", tables))
    if Start.UEFI in starts:
        return take
    return Message(take, " with ", Setting("boot_loader", "grub"))


def _console(target: Target, image: Candidate) -> Iterator[Finding]:
    """Without a console on the serial port, nothing is seen of a machine."""
    port = target.machines.get(image.platform or "")
    if not port or image.kernel_params is None:
        return
    consoles = [
        param.removeprefix(_CONSOLE).partition(",")[0]
        for param in image.kernel_params
        if param.startswith(_CONSOLE)
    ]
    machine = machine_of(image.platform or "")
    if not consoles and machine is not None and machine.facts.firmware_names_console:
        return
    if not any(console in _SERIAL_PORTS for console in consoles):
        words = "shows the serial port only, and the system writes nothing there"
        yield Finding(Weight.HINT, words, f'add "{_CONSOLE}{port}" to boot.kernelParams')


_RULES: tuple[Callable[[Target, Candidate], Iterator[Finding]], ...] = (
    _format,
    _file_size,
    _size,
    _sectors,
    _start,
    _console,
)


def starts_of(table: Table) -> set[Start]:
    """What can start a disk with a partition table."""
    if not table.has_partitions:
        return {Start.MENU}
    by_bios, by_efi = (Start.BIOS, table.boots_bios), (Start.UEFI, table.boots_efi)
    return {start for start, able in (by_bios, by_efi) if able}
