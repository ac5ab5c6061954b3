"""VHD with a fixed size, as Azure takes it: the raw disk, then a footer of 512 bytes.

Source: Microsoft, "Virtual Hard Disk Image Format Specification" (2006), "Hard Disk Footer Format";
Azure: "Prepare a Windows VHD or VHDX to upload to Azure", "the virtual size is a whole number of
MiB".
"""

import os
import struct
from pathlib import Path
from typing import BinaryIO

from assembler.copying.sparse import can_clone, copy_sparse
from assembler.errors import DamagedError
from assembler.formats.format import Disk, Format, is_cut, require_scratch
from assembler.host import process
from assembler.host.holes import data_ranges
from assembler.host.output import Output
from assembler.host.progress import Step
from assembler.host.scratch import scratch_directory
from assembler.units import GIB, MIB, SECTOR

FOOTER = 512  # bytes
COOKIE = b"conectix"  # with which it begins
ENDINGS = ("vhd", "vpc")
LARGEST = 2040 * GIB
_TIME = slice(24, 28)  # seconds since 2000, or the nearest time
_SIZE = slice(48, 56)  # of the disk, in bytes
_TYPE, _FIXED = slice(60, 64), bytes([0, 0, 0, 2])
_CHECKSUM = slice(64, 68)
_UUID = slice(68, 84)
_YEAR_2000 = 946_684_800  # seconds since 1970
_TAIL = MIB  # bytes at the end, in which the footer is looked for
_MAX_TIME = (1 << 32) - 1


class Vhd(Format):
    """The raw image and a footer, which qemu-img makes for an empty disk of the same size."""

    name = "vhd"
    title = "VHD of fixed size"
    endings = ENDINGS
    programs = ("qemu-img",)
    driver = "vpc"
    marks = ((-FOOTER, COOKIE),)
    has_large_sectors = False
    unit = MIB  # that of Azure
    largest = LARGEST
    in_place = True

    def write(self, disk: Disk, out: Output, step: Step) -> None:
        """Append the footer. An empty disk takes no room."""
        assert out.path is not None
        with scratch_directory() as scratch:
            empty = Path(scratch) / "empty"
            argv = ["qemu-img", "create", "-q", "-f", "vpc", "-o", "subformat=fixed,force_size"]
            process.run([*argv, empty, str(disk.size)], what="making the footer")
            with empty.open("rb") as file:
                file.seek(disk.size)
                footer = with_names(file.read(FOOTER), disk)
        with out.path.open("r+b") as file:
            file.seek(disk.size)
            file.write(footer)
        step.advance(disk.size)

    def is_in(self, file: Path) -> bool:
        """Whether a file has the footer at its end only: a VHD that grows begins with it, too."""
        with file.open("rb") as opened:
            grows = opened.read(len(COOKIE)) == COOKIE
            return not grows and _find_footer(opened)[1] != b""

    def unpack(self, file: Path, raw: Path) -> list[str]:
        """Share the data of the disk, or copy it without its holes."""
        with file.open("rb") as opened:
            place, footer = _find_footer(opened)
            length = opened.seek(0, os.SEEK_END)
        if len(footer) < FOOTER:
            raise DamagedError(f"it is cut: its footer has {len(footer)} of {FOOTER} bytes")
        if footer[_CHECKSUM] != checksum(footer, _CHECKSUM):
            raise DamagedError("the check sum of its footer is wrong")
        size = _size(footer)
        if footer[_TYPE] != _FIXED:
            raise DamagedError("its footer is not that of a VHD of fixed size")
        if size > place:
            raise is_cut(length, size + FOOTER)
        if not can_clone(file, raw):
            with file.open("rb") as opened:
                require_scratch(sum(map(len, data_ranges(opened.fileno(), 0, size))))
            copy_sparse(file, raw, 0, size)
        os.truncate(raw, size)
        more = length - FOOTER - size
        return [f"it has {more} bytes more than its footer says"] if more else []


def _find_footer(file: BinaryIO) -> tuple[int, bytes]:
    """Where the footer is, and as much of it as there is; nothing if there is none.

    It is also found in a file that is cut in it, or has up to a MiB after it.
    """
    length = file.seek(0, os.SEEK_END)
    start = max(0, length - _TAIL) // SECTOR * SECTOR
    file.seek(start)
    tail = file.read()
    for place in (length - FOOTER, *range(start, length, SECTOR)):
        footer = tail[place - start :][:FOOTER] if place >= start else b""
        at_end = place + FOOTER >= length
        if footer.startswith(COOKIE) and (at_end or _size(footer) == place):
            return place, footer
    return 0, b""


def _size(footer: bytes) -> int:
    """The size of the disk in bytes, -1 if the footer is cut before it."""
    return int.from_bytes(footer[_SIZE]) if len(footer) >= _SIZE.stop else -1


def checksum(data: bytes | bytearray, place: slice) -> bytes:
    """The check sum that a footer or a header has at a place: the complement of all other bytes."""
    others = sum(data) - sum(data[place])
    return struct.pack(">I", ~others & 0xFFFFFFFF)


def with_names(raw: bytes, disk: Disk) -> bytes:
    """A footer with the same time, UUID and checksum in every run."""
    footer = bytearray(raw)
    footer[_TIME] = struct.pack(">I", min(max(0, disk.epoch - _YEAR_2000), _MAX_TIME))
    footer[_UUID] = disk.uuid("VHD").bytes
    footer[_CHECKSUM] = checksum(footer, _CHECKSUM)
    return bytes(footer)
