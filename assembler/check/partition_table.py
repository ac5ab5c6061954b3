"""Read the partition table of an image with util-linux's tools, and compare it with libparted's."""

import json
import re
import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

from assembler.check import libparted
from assembler.check.gpt import MAGIC, gpt_faults
from assembler.check.part import Part
from assembler.host import process
from assembler.units import SECTOR

_STATUSES = (*range(-64, 0), 0, 1)  # a damaged table may kill a tool
_LIMIT = 60  # seconds
_WHERE = "partition table: "
_GPT_HEADER = struct.Struct("<12xII12xQ")  # its size, its checksum, LBA of the other header
_PROTECTIVE = "ee"  # the type of the partition that stands for a GPT (5.2.3)
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
    whole: bool = True  # whether the partitions can be there


def read_table(image: Path) -> DiskTable | None:
    """The table of an image, None if it has none that the tools read."""
    table, end = _read(image), _end_of_gpt(image)
    missing = table is not None and table.kind == "dos" and _speaks_of_gpt(table)
    if table is not None and missing:
        table = replace(table, parts=(), whole=False)
    elif table is not None and end is None:
        end = max((part.start + part.size for part in table.parts), default=0)
    lacking = (end or 0) - image.stat().st_size
    if lacking > 0:
        fault = f"the image is {lacking} bytes short of what its partition table says"
        return replace(table or DiskTable("gpt", SECTOR, ()), faults=(fault,), whole=False)
    if table is not None and missing:
        own = gpt_faults(image, SECTOR) if _has_header(image) else []
        fault = "; ".join(own) or "the GPT is missing, though the MBR speaks of one"
        return replace(table, faults=(_WHERE + fault,))
    if table is not None and table.kind == "gpt":
        own = gpt_faults(image, table.sector_size)
        known = [fault.removeprefix(_WHERE) for fault in table.faults]
        faults = (_WHERE + "; ".join([*known, *own]),) if known or own else ()
        size = image.stat().st_size
        inside = all(part.start + part.size <= size for part in table.parts)
        table = replace(table, faults=faults, whole=inside)
    if table is not None and table.sector_size == SECTOR and not table.faults:
        others = libparted.table_faults(image, table.kind, table.parts)
        return replace(table, faults=tuple(f"{_WHERE}{fault}" for fault in others))
    return table


def _has_header(image: Path) -> bool:
    """Whether there is a header of a GPT, good or not, for sectors of 512 bytes."""
    with image.open("rb") as file:
        return file.read(2 * SECTOR)[SECTOR:].startswith(MAGIC)


def _speaks_of_gpt(table: DiskTable) -> bool:
    return any(part.type_guid == _PROTECTIVE for part in table.parts)


def _end_of_gpt(image: Path) -> int | None:
    """Where a disk ends, in bytes, by the first header of a GPT, None without an intact one."""
    with image.open("rb") as file:
        start = file.read(2 * _LARGE_SECTOR)
    for sector_size in (SECTOR, _LARGE_SECTOR):
        header = start[sector_size : 2 * sector_size]
        if header.startswith(MAGIC) and len(header) >= _GPT_HEADER.size:
            size, checksum, alternate = _GPT_HEADER.unpack_from(header)
            without = header[:16] + bytes(4) + header[20:size]
            if size <= len(header) and zlib.crc32(without) == checksum:
                return int(alternate + 1) * sector_size
    return None


def _read(image: Path) -> DiskTable | None:
    """The table as the tools print it; raises HostError, also if a tool does not end."""
    if _has_large_sectors(image):
        return _read_with_fdisk(image)
    done = process.run(
        ["sfdisk", "--json", image],
        what="reading the partition table",
        ok=_STATUSES,
        limit=_LIMIT,
    )
    if done.returncode:
        return None
    try:
        # sfdisk prints names as they are, whether JSON allows that or not.
        document = json.loads(done.stdout.decode(errors="replace"), strict=False)
    except ValueError as error:
        fault = f"{_WHERE}sfdisk prints JSON that cannot be read: {error}"
        return DiskTable("gpt", SECTOR, (), (fault,), whole=False)
    table = document["partitiontable"]
    unit = table.get("sectorsize", SECTOR)
    parts = [
        Part(
            number=int(re.findall(r"\d+", entry["node"])[-1]),
            name=entry.get("name", ""),
            type_guid=entry["type"].lower(),
            start=entry["start"] * unit,
            size=entry["size"] * unit,
        )
        for entry in table.get("partitions", [])
    ]
    return DiskTable(table["label"], SECTOR, tuple(parts), tuple(_faults(image)))


def _has_large_sectors(image: Path) -> bool:
    """Whether a GPT is where one for sectors of 4096 bytes is, and none for 512 bytes."""
    with image.open("rb") as file:
        start = file.read(_LARGE_SECTOR + len(MAGIC))
    return start[_LARGE_SECTOR:] == MAGIC and not start[SECTOR:].startswith(MAGIC)


def _read_with_fdisk(image: Path) -> DiskTable:
    """fdisk takes the size of a sector as an option, and sfdisk does not."""
    done = process.run(
        ["fdisk", "-b", str(_LARGE_SECTOR), "-l", "-o", _FDISK_COLUMNS, image],
        what="reading the partition table",
        ok=_STATUSES,
        limit=_LIMIT,
    )
    parts = []
    for line in done.stdout.decode(errors="replace").splitlines():
        if match := _FDISK_ROW.fullmatch(line.removeprefix(str(image)).strip()):
            number, start, size, kind, name = match.groups()
            place = int(start) * _LARGE_SECTOR, int(size) * _LARGE_SECTOR
            parts.append(Part(int(number), name or "", kind.lower(), *place))
    complaint = " ".join(done.stderr.decode(errors="replace").split())
    faults = (f"{_WHERE}{complaint}",) if complaint or done.returncode else ()
    return DiskTable("gpt", _LARGE_SECTOR, tuple(parts), faults)


def _faults(image: Path) -> list[str]:
    """The faults that `sfdisk --verify` finds."""
    done = process.run(
        ["sfdisk", "--verify", image],
        what="verifying the partition table",
        ok=_STATUSES,
        limit=_LIMIT,
    )
    printed = (done.stderr + done.stdout).decode(errors="replace").replace(f"{image}:", "")
    # A damaged backup table is no error to sfdisk: only stderr shows it.
    if done.returncode == 0 and "No errors detected" in printed and not done.stderr:
        return []
    return [f"{_WHERE}{' '.join(printed.split())}"]
