"""VMDK that grows, for VMware. Source: VMware, "Virtual Disk Format 5.0", "The Descriptor File"."""

import re
from typing import BinaryIO

from assembler.formats.format import Disk
from assembler.formats.qemu_img import QemuFormat
from assembler.units import KIB

_HEAD = 64 * KIB  # bytes, which hold the descriptor, and zeros after it
_MARK = b"# Disk DescriptorFile"
_CONTENT_ID = re.compile(rb"^CID=[0-9a-f]{1,8}$", re.MULTILINE)


class Vmdk(QemuFormat):
    """One file with its descriptor in it. qemu-img draws the content identifier."""

    name = "vmdk"
    title = "VMDK"
    endings = ("vmdk",)
    driver = "vmdk"
    marks = ((0, b"KDMV"),)
    has_large_sectors = False
    options = ("-o", "subformat=monolithicSparse")
    fixed_name = "disk.vmdk"

    def fix(self, file: BinaryIO, disk: Disk) -> None:
        """Set the content identifier."""
        head = file.read(_HEAD)
        start = head.index(_MARK)
        text = head[start : head.index(b"\0", start)]
        own = b"CID=" + disk.uuid("VMDK").bytes[:4].hex().encode()
        file.seek(start)
        file.write(_CONTENT_ID.sub(own, text, count=1))  # at least as long as qemu-img's
