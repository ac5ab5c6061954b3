"""The results of check-image in words, and in JSON: sizes in bytes, whole paths, original names."""

from collections.abc import Sequence
from typing import Any

from assembler.check.boot_chain import BootChain
from assembler.check.image import Report
from assembler.check.menu import CheckedEntry, Load
from assembler.check.part import Part
from assembler.filesystems.ext4.kind import EXT4
from assembler.filesystems.fat.kind import FAT
from assembler.host.words import printable
from assembler.units import format_size

_CHECKED = (EXT4.name, FAT.title)  # file systems whose structure is checked


def describe(report: Report) -> list[str]:
    """A report as lines for the user, without the verdict."""
    if not report.size:
        return [f"the disk in {report.formats[-1]} cannot be read"]
    count = len(report.parts)
    words = f"{count} {'partition' if count == 1 else 'partitions'}"
    if [part.number for part in report.parts] == [0]:
        words = "a file system without a partition table: nothing boots it by itself"
    inside = f", in {', in '.join(reversed(report.formats))}" if report.formats else ""
    lines = [f"{format_size(report.size)}, {words}{inside}"]
    for part in sorted(report.parts, key=lambda part: part.start):
        free = f", {format_size(part.free)} free" if part.free else ""
        what = part.content or "unknown"
        place = f"at {format_size(part.start):>9}  {format_size(part.size):>9}"
        if (end := part.start + part.size) > report.size:
            first, last = part.start // report.sector_size, end // report.sector_size - 1
            place = f"LBA {first} to {last}, beyond the end of the image"
        lines.append(f"{part.number}  {place}  {what}{free}")
    for chain in report.chains:
        lines += chain_lines(chain)
    lines += [f"warning: {words}" for words in report.warnings]
    return [printable(line) for line in lines]


def chain_lines(chain: BootChain) -> list[str]:
    """A chain as lines for the user, in which control characters may be."""
    if not chain.firmware:
        return []
    links = [*chain.links, "broken"] if chain.fault else list(chain.links)
    below = [f"  {line}" for line in (*chain.details, *chain.remarks)]
    return [f"{chain.firmware}: {' -> '.join(links)}", *below]


def verdict(report: Report) -> str:
    """The last line for the user: `sound`, or `unsound` with all faults."""
    if report.faults:
        return printable(f"unsound: {'; '.join(report.faults)}")
    followed = all(chain.followed for chain in report.chains)
    return "sound" if followed else "sound as far as it was followed"


def facts(report: Report) -> dict[str, Any]:
    """A report as JSON can write it."""
    return {
        "path": report.image,
        "formats": [*report.formats],
        "size": report.size or None,
        "sound": report.sound,
        "faults": [*report.faults],
        "warnings": [*report.warnings],
        "partitions": [_of_part(part) for part in report.parts],
        "chains": [_of_chain(chain) for chain in report.chains if chain.firmware],
    }


def facts_of_no_image(path: str, faults: Sequence[str]) -> dict[str, Any]:
    """The same for a file that could not be checked."""
    none = {"path": path, "formats": [], "size": None, "sound": None, "faults": [*faults]}
    return {**none, "warnings": [], "partitions": [], "chains": []}


def _of_part(part: Part) -> dict[str, Any]:
    return {
        "number": part.number,
        "name": part.name,
        "type": part.type_guid,
        "start": part.start,
        "size": part.size,
        "content": {
            "kind": part.kind or None,
            "checked": part.kind in _CHECKED,
            "empty": part.empty,
            "inodes": part.inodes,
            "free": part.free if part.inodes is not None else None,
        },
        "fault": part.fault or None,
    }


def _of_chain(chain: BootChain) -> dict[str, Any]:
    return {
        "firmware": chain.firmware,
        "links": [*chain.links],
        "followed": chain.followed,
        "entries": [_of_entry(entry) for entry in chain.entries],
        "remarks": [*chain.remarks],
        "fault": chain.fault or None,
    }


def _of_entry(entry: CheckedEntry) -> dict[str, Any]:
    files = [(load.is_kernel, _of_load(load, size)) for load, size in entry.files]
    return {
        "title": entry.title,
        "default": entry.default,
        "followed": entry.followed,
        "kernel": next((file for is_kernel, file in files if is_kernel), None),
        "initrds": [file for is_kernel, file in files if not is_kernel],
        "init": entry.init,
    }


def _of_load(load: Load, size: int | None) -> dict[str, Any]:
    return {"partition": load.place.number, "path": load.place.path, "size": size}
