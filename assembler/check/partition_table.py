"""Read the partition table of an image, with util-linux's tools."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from assembler import process
from assembler.check.parts import Part
from assembler.units import SECTOR

_ANY_STATUS = range(256)
_GPT_MAGIC = b"EFI PART"  # in the second block (UEFI specification 5.3.2)
_LARGE_SECTOR = 4096
_FDISK_COLUMNS = "Device,Start,Sectors,Type-UUID,Name"
_FDISK_ROW = re.compile(r"\S*?(\d+) +(\d+) +(\d+) ([0-9A-F-]{36})(?: (.*))?")


@dataclass(frozen=True, slots=True)
class DiskTable:
    """A partition table: gpt, dos, or none where the image has none; sizes in bytes."""

    kind: str
    sector_size: int
    parts: tuple[Part, ...]
    faults: tuple[str, ...] = ()


def read_table(image: Path) -> DiskTable | None:
    """The table of an image, None where it has none that the tools know."""
    if _has_large_sectors(image):
        return _read_with_fdisk(image)
    done = process.run(
        ["sfdisk", "--json", image], what="reading the partition table", ok=_ANY_STATUS
    )
    if done.returncode:
        return None
    # sfdisk tells names as they are, whether JSON allows that or not.
    said = json.loads(done.stdout.decode(errors="replace"), strict=False)
    table = said["partitiontable"]
    unit = table.get("sectorsize", SECTOR)
    parts = [
        Part(
            number=int(re.findall(r"\d+", entry["node"])[-1]),
            name=entry.get("name", ""),
            type_guid=entry["type"],
            start=entry["start"] * unit,
            size=entry["size"] * unit,
        )
        for entry in table.get("partitions", [])
    ]
    return DiskTable(table["label"], SECTOR, tuple(parts), tuple(_faults(image)))


def _has_large_sectors(image: Path) -> bool:
    """Whether a GPT is where one for sectors of 4096 bytes is, and none for 512 bytes."""
    with image.open("rb") as file:
        start = file.read(_LARGE_SECTOR + len(_GPT_MAGIC))
    return start[_LARGE_SECTOR:] == _GPT_MAGIC and not start[SECTOR:].startswith(_GPT_MAGIC)


def _read_with_fdisk(image: Path) -> DiskTable:
    """Unlike sfdisk, fdisk can be told the size of a sector."""
    done = process.run(
        ["fdisk", "-b", str(_LARGE_SECTOR), "-l", "-o", _FDISK_COLUMNS, image],
        what="reading the partition table",
        ok=_ANY_STATUS,
    )
    parts = []
    for line in done.stdout.decode(errors="replace").splitlines():
        if match := _FDISK_ROW.fullmatch(line.removeprefix(str(image)).strip()):
            number, start, size, kind, name = match.groups()
            place = int(start) * _LARGE_SECTOR, int(size) * _LARGE_SECTOR
            parts.append(Part(int(number), name or "", kind, *place))
    said = " ".join(done.stderr.decode(errors="replace").split())
    faults = (f"partition table: {said}",) if said or done.returncode else ()
    return DiskTable("gpt", _LARGE_SECTOR, tuple(parts), faults)


def _faults(image: Path) -> list[str]:
    """What `sfdisk --verify` says against the table."""
    done = process.run(
        ["sfdisk", "--verify", image], what="verifying the partition table", ok=_ANY_STATUS
    )
    said = (done.stderr + done.stdout).decode(errors="replace")
    # A damaged backup table is told on stderr, and is no error to sfdisk.
    if done.returncode == 0 and "No errors detected" in said and not done.stderr:
        return []
    return [f"partition table: {' '.join(said.split())}"]
