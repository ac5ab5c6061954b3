"""VHD with a fixed size, as Azure takes it: the raw disk, then a footer of 512 bytes.

Source: Microsoft, "Virtual Hard Disk Image Format Specification" (2006), "Hard Disk Footer Format";
Azure: "Prepare a Windows VHD or VHDX to upload to Azure", "the virtual size is a whole number of
MiB".
"""

import struct
from pathlib import Path

from assembler.formats.format import Disk, Format
from assembler.formats.qemu_img import convert_back
from assembler.host import process
from assembler.host.output import Output
from assembler.host.progress import Step
from assembler.host.scratch import scratch_directory
from assembler.units import GIB, MIB

FOOTER = 512  # bytes
COOKIE = b"conectix"  # with which it begins
ENDINGS = ("vhd", "vpc")
LARGEST = 2040 * GIB
_TIME = slice(24, 28)  # seconds since 2000, or the nearest time
_CHECKSUM = slice(64, 68)  # the complement of the sum of all other bytes
_UUID = slice(68, 84)
_YEAR_2000 = 946_684_800  # seconds since 1970
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
        return not grows and super().is_in(file)

    def unpack(self, file: Path, raw: Path) -> list[str]:
        """Let qemu-img read it."""
        return convert_back(file, self.driver, raw)


def with_names(raw: bytes, disk: Disk) -> bytes:
    """A footer with the same time, UUID and checksum in every run."""
    footer = bytearray(raw)
    footer[_TIME] = struct.pack(">I", min(max(0, disk.epoch - _YEAR_2000), _MAX_TIME))
    footer[_UUID] = disk.uuid("VHD").bytes
    footer[_CHECKSUM] = bytes(4)
    footer[_CHECKSUM] = struct.pack(">I", ~sum(footer) & 0xFFFFFFFF)
    return bytes(footer)
