"""VDI, for VirtualBox. Source: VirtualBox, src/VBox/Storage/VDICore.h, VDIHEADER1PLUS."""

from typing import BinaryIO

from assembler.formats.format import Disk
from assembler.formats.qemu_img import QemuFormat

_UUIDS = 0x188  # of the image, and of its last change


class Vdi(QemuFormat):
    """A dynamic VDI. qemu-img draws two UUIDs."""

    name = "vdi"
    title = "VDI"
    endings = ("vdi",)
    driver = "vdi"
    marks = ((0x40, b"\x7f\x10\xda\xbe"),)
    has_large_sectors = False

    def fix(self, file: BinaryIO, disk: Disk) -> None:
        """Set the UUIDs; VirtualBox writes them in the order of bytes_le."""
        file.seek(_UUIDS)
        file.write(disk.uuid("VDI image").bytes_le + disk.uuid("VDI change").bytes_le)
