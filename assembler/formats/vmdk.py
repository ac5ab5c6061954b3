"""VMDK that grows, for VMware.

Source: VMware, "Virtual Disk Format 5.0", "The Descriptor File" and "Hosted Sparse Extent Header".
"""

import re
from pathlib import Path
from typing import BinaryIO, ClassVar

from assembler.formats.format import Disk
from assembler.formats.qemu_img import QemuFormat
from assembler.units import KIB, SECTOR

_HEAD = 64 * KIB  # bytes, which hold the descriptor, and zeros after it
_MARK = b"# Disk DescriptorFile"
_FLAGS = slice(8, 12)
_COMPRESSED = 1 << 16
_CONTENT_ID = re.compile(rb"^CID=[0-9a-f]{1,8}$", re.MULTILINE)


class Vmdk(QemuFormat):
    """One file with its descriptor in it. qemu-img draws the content identifier."""

    name = "vmdk"
    title = "VMDK"
    endings = ("vmdk",)
    driver = "vmdk"
    marks = ((0, b"KDMV"),)
    has_large_sectors = False
    file_unit = SECTOR
    options = ("-o", "subformat=monolithicSparse")
    fixed_name = "disk.vmdk"
    is_stream: ClassVar[bool] = False  # whether it is read from start to end

    def is_in(self, file: Path) -> bool:
        """Whether a file is a VMDK, and of this kind."""
        if not super().is_in(file):
            return False
        with file.open("rb") as opened:
            return is_stream(opened.read(_FLAGS.stop)) == self.is_stream

    def fix(self, file: BinaryIO, disk: Disk) -> None:
        """Set the content identifier."""
        head = file.read(_HEAD)
        start = head.index(_MARK)
        text = head[start : head.index(b"\0", start)]
        own = b"CID=" + disk.uuid("VMDK").bytes[:4].hex().encode()
        file.seek(start)
        file.write(_CONTENT_ID.sub(own, text, count=1))  # at least as long as qemu-img's


def is_stream(head: bytes) -> bool:
    """Whether a file that begins so is a compressed VMDK."""
    flags = int.from_bytes(head[_FLAGS], "little")
    return head.startswith(Vmdk.marks[0][1]) and bool(flags & _COMPRESSED)
