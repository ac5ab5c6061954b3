"""VHD that grows, as nixpkgs' make-disk-image writes it by the name `vpc`.

Source: Microsoft, "Virtual Hard Disk Image Format Specification" (2006), "Dynamic Hard Disk Image":
a copy of the footer begins the file.
"""

import os
from typing import BinaryIO

from assembler.formats.format import Disk
from assembler.formats.qemu_img import QemuFormat
from assembler.formats.vhd import COOKIE, ENDINGS, FOOTER, LARGEST, with_names
from assembler.units import MIB, SECTOR


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
