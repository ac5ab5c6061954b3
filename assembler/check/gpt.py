"""Check a GPT byte by byte: both headers, both arrays of entries, the protective MBR.

The fields and what must hold of them: UEFI specification, 5.2.3 and 5.3. The tools that list
partitions mend what they can, and check neither reserved bytes nor that the two copies agree.
"""

import struct
import zlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from uuid import UUID

from assembler.disk.tables import PartitionType
from assembler.units import SECTOR

MAGIC = b"EFI PART"
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_REVISION = 0x00010000
_ENTRY = struct.Struct("<16s16sQQQ72x")  # type, GUID, first and last LBA, attributes, name
_MAX_ENTRIES = 1 << 20  # bytes of an array; all known tables have 16 KiB
_RESERVED_ATTRIBUTES = 0x0000FFFFFFFFFFF8  # bits 3 to 47
_MBR_ENTRIES = range(446, 510, 16)
_MBR_ENTRY = struct.Struct("<B3xB3xII")  # whether active, type, first LBA, sectors
_PROTECTIVE = 0xEE
_MAX_LBA = 0xFFFFFFFF  # in an MBR
_ESP = UUID(PartitionType.ESP).bytes_le


@dataclass(frozen=True, slots=True)
class _Header:
    """One of the two headers; LBAs and sizes as they are there."""

    reserved: int
    own: int
    other: int
    first: int  # that a partition may take
    last: int
    guid: bytes
    entries: int  # LBA of the array
    count: int
    entry_size: int
    array: bytes

    def same(self, other: "_Header") -> bool:
        """Whether both describe the same disk."""
        fields = ("first", "last", "guid", "count", "entry_size", "array")
        return all(getattr(self, name) == getattr(other, name) for name in fields)


class _DamagedError(ValueError):
    """A header cannot be used; the message is the reason in a few words."""


def gpt_faults(image: Path, sector_size: int) -> list[str]:
    """What is wrong with the GPT of an image that begins with one; one line each."""
    size = image.stat().st_size
    faults: list[str] = []
    headers = {}
    for name, place in (("primary", sector_size), ("backup", size - sector_size)):
        try:
            headers[name] = _read(image, place, sector_size)
        except _DamagedError as error:
            faults.append(f"the {name} GPT: {error}")
    for name, header in headers.items():
        faults += [
            f"the {name} GPT: {fault}" for fault in _header_faults(header, size, sector_size)
        ]
    if len(headers) == 2 and not headers["primary"].same(headers["backup"]):
        faults.append("the two copies of the GPT differ")
    kinds = set[bytes]()
    for header in [*headers.values()][:1]:
        faults += _entry_faults(header)
        kinds = {
            header.array[at : at + 16] for at in range(0, len(header.array), header.entry_size)
        }
    return faults + _mbr_faults(image, size // sector_size, efi=_ESP in kinds)


def _read(image: Path, place: int, sector_size: int) -> _Header:
    with image.open("rb") as file:
        file.seek(place)
        sector = file.read(sector_size)
        if len(sector) < sector_size or not sector.startswith(MAGIC):
            raise _DamagedError("it is not there")
        _, revision, size, checksum, reserved, own, other, *rest = _HEADER.unpack_from(sector)
        first, last, guid, entries, count, entry_size, entries_checksum = rest
        if revision != _REVISION:
            raise _DamagedError(f"its header is of an unknown revision, {revision:#x}")
        if not _HEADER.size <= size <= sector_size:
            raise _DamagedError(f"its header claims to have {size} bytes")
        if zlib.crc32(sector[:16] + bytes(4) + sector[20:size]) != checksum:
            raise _DamagedError("the checksum of its header is wrong")
        if any(sector[size:]):
            raise _DamagedError("reserved bytes behind its header are not 0")
        if own * sector_size != place:
            raise _DamagedError(f"its header is for LBA {own}, not for {place // sector_size}")
        if entry_size < _ENTRY.size or entry_size & entry_size - 1:
            raise _DamagedError(f"its entries claim to have {entry_size} bytes each")
        length = count * entry_size
        array = b""
        if length <= _MAX_ENTRIES and entries * sector_size < image.stat().st_size:
            file.seek(entries * sector_size)
            array = file.read(length)
        if len(array) < length or not length:
            raise _DamagedError(f"its {count} entries cannot be at LBA {entries}")
        if zlib.crc32(array) != entries_checksum:
            raise _DamagedError("the checksum of its entries is wrong")
    return _Header(reserved, own, other, first, last, guid, entries, count, entry_size, array)


def _header_faults(header: _Header, size: int, sector_size: int) -> list[str]:
    faults = []
    sectors = size // sector_size
    if header.reserved:
        faults.append("reserved bytes in its header are not 0")
    if header.other != (sectors - 1 if header.own == 1 else 1):
        faults.append(f"its header names LBA {header.other} as the place of the other copy")
    array = -(-len(header.array) // sector_size)
    inside = header.own == 1 and header.entries >= 2 and header.entries + array <= header.first
    after = header.own != 1 and header.last < header.entries <= header.own - array
    if not (inside or after):
        faults.append(f"its entries are at LBA {header.entries}, among partitions or headers")
    if not header.first <= header.last < sectors - 1:
        faults.append(f"partitions may go from LBA {header.first} to {header.last}")
    if header.guid == bytes(16):
        faults.append("the disk has no GUID")
    return faults


def _entry_faults(header: _Header) -> list[str]:
    faults, taken, guids = [], [], set[bytes]()
    for number, at in enumerate(range(0, len(header.array), header.entry_size), start=1):
        kind, guid, first, last, attributes = _ENTRY.unpack_from(header.array, at)
        more = header.array[at + _ENTRY.size : at + header.entry_size]
        if kind == bytes(16):
            continue
        if not header.first <= first <= last <= header.last:
            faults.append(
                f"partition {number} goes from LBA {first} to {last}, beyond what a partition may "
                f"take, {header.first} to {header.last}"
            )
        if guid == bytes(16) or guid in guids:
            faults.append(f"partition {number} has no GUID of its own: {UUID(bytes_le=guid)}")
        if attributes & _RESERVED_ATTRIBUTES or any(more):
            faults.append(f"partition {number}: reserved bits of its entry are not 0")
        guids.add(guid)
        taken.append((first, last, number))
    taken.sort()
    for (_, end, one), (begin, _, other) in pairwise(taken):
        if begin <= end:
            faults.append(f"partitions {one} and {other} overlap")
    return faults


def _mbr_faults(image: Path, sectors: int, *, efi: bool) -> list[str]:
    """What is wrong with the MBR before a GPT, which may have entries beside the protective one.

    With `efi` firmware for UEFI must take it: EDK II does not, if the entry is active
    (PartitionInstallGptChildHandles in MdeModulePkg/Universal/Disk/PartitionDxe/Gpt.c).
    """
    with image.open("rb") as file:
        sector = file.read(SECTOR).ljust(SECTOR, b"\0")
    if sector[-2:] != b"\x55\xaa":
        return ["the protective MBR has no signature 55 aa"]
    protective = False
    for at in _MBR_ENTRIES:
        active, kind, first, length = _MBR_ENTRY.unpack_from(sector, at)
        if kind != _PROTECTIVE:
            if any(sector[at : at + 16]) and (not kind or first + length > sectors):
                return ["the MBR before the GPT has an entry for what is not on the disk"]
            continue
        if active not in (0, 0x80):
            return [f"the protective MBR's entry begins with {active:#04x}"]
        if active and efi:
            return ["the protective MBR's entry is active, so that UEFI passes over the GPT"]
        if first != 1 or length not in (min(sectors - 1, _MAX_LBA), _MAX_LBA):
            return [f"the protective MBR's entry is for {length} sectors from LBA {first} on"]
        protective = True
    return [] if protective else ["there is no protective MBR"]
