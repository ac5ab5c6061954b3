"""VHD that grows, as nixpkgs' make-disk-image writes it by the name `vpc`.

Source: Microsoft, "Virtual Hard Disk Image Format Specification" (2006), "Dynamic Hard Disk Image":
a copy of the footer begins the file, and has the place of the header.
"""

import os
import struct
from typing import BinaryIO

from assembler.errors import DamagedError
from assembler.formats.format import Disk
from assembler.formats.qemu_img import QemuFormat
from assembler.formats.vhd import COOKIE, ENDINGS, FOOTER, LARGEST, checksum, with_names
from assembler.units import MIB, SECTOR

_HEADER = struct.Struct(">16xQ")  # its place
_HEADER_SIZE, _HEADER_CHECKSUM = 1024, slice(36, 40)


class DynamicVhd(QemuFormat):
    """A dynamic VHD. qemu-img draws a UUID, and writes the time down."""

    name = "vhd-dynamic"
    title = "VHD that grows"
    endings = ENDINGS
    driver = "vpc"
    marks = ((0, COOKIE),)
    has_large_sectors = False
    unit = MIB
    largest = LARGEST
    file_unit = SECTOR
    options = ("-o", "subformat=dynamic,force_size")  # not rounded to cylinders

    def fix(self, file: BinaryIO, disk: Disk) -> None:
        """Set both copies of the footer."""
        last = file.seek(-FOOTER, os.SEEK_END)
        footer = with_names(file.read(FOOTER), disk)
        for place in (0, last):
            file.seek(place)
            file.write(footer)

    def inspect(self, file: BinaryIO, size: int) -> list[str]:
        """Compare both copies of the footer, and the check sum of the header."""
        copy = file.read(FOOTER)
        file.seek(max(0, size - FOOTER))
        footer = file.read(FOOTER)
        if size <= FOOTER or not footer.startswith(COOKIE):
            raise DamagedError("it is cut, or something follows it: its footer is not at its end")
        faults = [] if footer == copy else ["the footer at its end is not the copy at its start"]
        (place,) = _HEADER.unpack_from(copy)
        file.seek(min(place, size))
        header = file.read(_HEADER_SIZE)
        if header[_HEADER_CHECKSUM] != checksum(header, _HEADER_CHECKSUM):
            faults.append("the check sum of its header is wrong")
        return faults
