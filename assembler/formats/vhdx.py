"""VHDX that grows, for Hyper-V. Source: Microsoft, [MS-VHDX]."""

import struct
from typing import BinaryIO
from uuid import UUID

from assembler.formats.format import Disk
from assembler.formats.qemu_img import QemuFormat
from assembler.units import KIB, MIB, TIB

_HEADERS = (64 * KIB, 128 * KIB)  # 2.2
_HEADER_SIZE = 4 * KIB
_HEADER_CHECKSUM, _NUMBER = slice(4, 8), slice(8, 16)
_FILE_WRITE, _DATA_WRITE = slice(16, 32), slice(32, 48)
_LOG = slice(68, 80)  # its length and its place
_REGIONS = 192 * KIB  # 2.2.3: signature, checksum, number; then entries of 32 bytes
_METADATA = UUID("8B7CA206-4790-4B9A-B8FE-575F050F886E")
_PAGE_83 = UUID("BECA12AB-B2E6-4523-93EF-C309E000C746")  # 2.6.2.3, the disk's identifier
_TABLE_HEAD, _ENTRY = 32, 32  # bytes of the metadata table, 2.6.1
_CASTAGNOLI = 0x82F63B78  # the reflected polynomial of CRC-32C


class Vhdx(QemuFormat):
    """A dynamic VHDX. qemu-img draws the GUIDs of its headers and of the disk."""

    name = "vhdx"
    title = "VHDX"
    endings = ("vhdx",)
    driver = "vhdx"
    marks = ((0, b"vhdxfile"),)
    has_large_sectors = False
    options = ("-o", "subformat=dynamic,block_size=1M")
    largest = 64 * TIB
    file_unit = MIB  # 2.1

    def fix(self, file: BinaryIO, disk: Disk) -> None:
        """Set what was drawn, and the headers' checksums anew; empty the log, which is not used."""
        headers = {place: bytearray(_read(file, place, _HEADER_SIZE)) for place in _HEADERS}
        # The header with the higher number is the current one.
        in_order = sorted(headers, key=lambda place: headers[place][_NUMBER][::-1])
        for number, place in enumerate(in_order, start=1):
            header = headers[place]
            header[_NUMBER] = struct.pack("<Q", number)
            header[_FILE_WRITE] = disk.uuid("VHDX file").bytes_le
            header[_DATA_WRITE] = disk.uuid("VHDX data").bytes_le
            header[_HEADER_CHECKSUM] = bytes(4)
            header[_HEADER_CHECKSUM] = struct.pack("<I", crc32c(header))
            _write(file, place, header)
        length, log = struct.unpack("<IQ", headers[_HEADERS[0]][_LOG])
        _write(file, log, bytes(length))
        _write(file, _page_83(file), disk.uuid("VHDX disk").bytes_le)


def _read(file: BinaryIO, place: int, length: int) -> bytes:
    file.seek(place)
    return file.read(length)


def _write(file: BinaryIO, place: int, data: bytes | bytearray) -> None:
    file.seek(place)
    file.write(data)


def _page_83(file: BinaryIO) -> int:
    """Where the disk's identifier is."""
    region = _find(file, _REGIONS + 16, _METADATA)
    place = struct.unpack("<Q", region[:8])[0]
    item = _find(file, place + _TABLE_HEAD, _PAGE_83)
    return int(place + struct.unpack("<I", item[:4])[0])


def _find(file: BinaryIO, table: int, guid: UUID) -> bytes:
    """What follows a GUID in a table of entries."""
    file.seek(table)
    while entry := file.read(_ENTRY):
        if entry[:16] == guid.bytes_le:
            return entry[16:]
    raise ValueError(f"qemu-img made a VHDX without {guid}")


def crc32c(data: bytes | bytearray) -> int:
    """The CRC-32C of some bytes (RFC 3720, 12.1)."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (_CASTAGNOLI if value & 1 else 0)
    return value ^ 0xFFFFFFFF
