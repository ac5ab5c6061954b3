"""Put GRUB's boot code onto a disk for BIOS, byte for byte as `grub-bios-setup` does.

The format is GRUB's own: include/grub/i386/pc/boot.h and include/grub/offsets.h for the places,
util/setup.c for what is written there. The core image goes into the BIOS boot partition of a GPT
or the gap between an MBR and the first partition, as with the option `--no-rs-codes`.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

from assembler.binaries.core_image import BLOCKLIST
from assembler.disk.layout import Layout
from assembler.disk.tables import FOR_BIOS
from assembler.errors import HostError
from assembler.units import SECTOR, ceil_div

# Bytes of the boot sector that belong to the disk: GRUB_BOOT_MACHINE_BPB_{START,END} and
# GRUB_BOOT_MACHINE_{WINDOWS_NT_MAGIC,PART_END}.
_BPB = slice(0x03, 0x5A)
_PARTITIONS = slice(0x1B8, 0x1FE)

_KERNEL_SECTOR = struct.Struct("<Q")  # LBA of the core image
KERNEL_SECTOR_AT = 0x5C
_BOOT_DRIVE_AT = 0x64
_BOOT_DRIVE_OF_BIOS = 0xFF  # the drive whose number the BIOS passes
_DRIVE_CHECK = slice(0x66, 0x68)  # a jump, needed for floppies alone
_NOPS = b"\x90\x90"

_BLOCKLIST_AT = SECTOR - BLOCKLIST.size  # in the core image's first sector
CORE_SEGMENT = 0x820  # GRUB_BOOT_I386_PC_KERNEL_SEG and the first sector, which is in place

# Length of the start that error-correction codes would not protect; it holds their code itself.
_UNPROTECTED = struct.Struct("<H")
_UNPROTECTED_AT = SECTOR + 0x14
_NO_LENGTH = 0xFFFF  # in a core image of another version, which grub-bios-setup refuses

# From GRUB_KERNEL_I386_PC_LINK_ADDR up to where the extended BIOS data area may begin.
MAX_SECTORS = (0x78000 - 0x9000) // SECTOR


def core_problems(layout: Layout, core_size: int) -> list[str]:
    """One line for each reason why a disk cannot hold a core image of `core_size` bytes."""
    if layout.core_area is None:
        return [
            f"the partition table {layout.table} has no place for GRUB's core image for BIOS: "
            f"use {FOR_BIOS}"
        ]
    problems = []
    if layout.sector_size != SECTOR:
        problems.append(
            f"GRUB for BIOS reads only disks with sectors of {SECTOR} bytes, and this one's have "
            f"{layout.sector_size}: boot it by UEFI"
        )
    sectors = ceil_div(core_size, SECTOR)
    room = layout.core_area[1] // SECTOR
    if sectors > MAX_SECTORS:
        problems.append(
            f"GRUB's core image has {sectors} sectors, {sectors - MAX_SECTORS} more than the "
            f"{MAX_SECTORS} that GRUB can load: build fewer modules into it"
        )
    if sectors > room:
        problems.append(
            f"{_area(layout)} has {room} sectors, {sectors - room} fewer than GRUB's core image: "
            "make it larger, or build fewer modules into the core image"
        )
    return problems


def _area(layout: Layout) -> str:
    return "the gap after the MBR" if layout.bios_boot is None else "the BIOS boot partition"


def embed(
    boot_img: bytes, core_img: bytes, *, core_lba: int, mbr: bytes, room: int
) -> tuple[bytes, bytes]:
    """Fit GRUB's boot.img and core.img to a disk.

    `core_lba` is the 512-byte sector where the core image will start, `room` the number of
    sectors there, and `mbr` the disk's present first sector. Returns the new first sector, and
    the core image as a whole number of sectors. Raises HostError when the images are too large,
    or are not those that GRUB 2.02 and later make for `i386-pc`.
    """
    if len(boot_img) != SECTOR:
        raise HostError(f"GRUB's boot.img has {len(boot_img)} bytes instead of {SECTOR}")
    sectors = ceil_div(len(core_img), SECTOR)
    most = min(room, MAX_SECTORS)
    if sectors > most:
        raise HostError(f"GRUB's core image has {sectors} sectors where {most} are the most")
    if not _is_core_image(core_img):
        raise HostError("GRUB's core image has no list of its own sectors: it is not for i386-pc")

    boot = bytearray(boot_img)
    boot[_BPB] = mbr[_BPB]
    boot[_PARTITIONS] = mbr[_PARTITIONS]
    _KERNEL_SECTOR.pack_into(boot, KERNEL_SECTOR_AT, core_lba)
    boot[_BOOT_DRIVE_AT] = _BOOT_DRIVE_OF_BIOS
    boot[_DRIVE_CHECK] = _NOPS

    core = bytearray(core_img)
    # grub-mkimage counts the sectors, but their place is decided only here.
    BLOCKLIST.pack_into(core, _BLOCKLIST_AT, core_lba + 1, sectors - 1, CORE_SEGMENT)
    return bytes(boot), bytes(core).ljust(sectors * SECTOR, b"\0")


def _is_core_image(core: bytes) -> bool:
    """Whether grub-mkimage made it: then its first sector ends in a list with one entry."""
    if len(core) < _UNPROTECTED_AT + _UNPROTECTED.size:
        return False
    _, sectors, segment = BLOCKLIST.unpack_from(core, _BLOCKLIST_AT)
    end_of_list = BLOCKLIST.unpack_from(core, _BLOCKLIST_AT - BLOCKLIST.size)
    if sectors == 0 or segment != CORE_SEGMENT or end_of_list != (0, 0, 0):
        return False
    unprotected = int(_UNPROTECTED.unpack_from(core, _UNPROTECTED_AT)[0])
    return unprotected != _NO_LENGTH and SECTOR + unprotected <= len(core)


@dataclass(frozen=True, slots=True)
class BiosCode:
    """GRUB's boot.img and its core image; a `boot.protocol.BootCode`."""

    boot_img: bytes
    core_img: bytes

    def problems(self, layout: Layout) -> list[str]:
        """One line for each reason why a disk cannot hold the core image."""
        return core_problems(layout, len(self.core_img))

    def install(self, image: Path, layout: Layout) -> None:
        """Write the boot sector and the core image into `image`, which has its table already.

        Raises HostError, before anything is written, with what `problems` finds, and as `embed`.
        """
        problems = self.problems(layout)
        if problems or layout.core_area is None:
            raise HostError(*problems)
        start, size = layout.core_area
        with image.open("r+b") as file:
            boot, core = embed(
                self.boot_img,
                self.core_img,
                core_lba=start // SECTOR,
                mbr=file.read(SECTOR),
                room=size // SECTOR,
            )
            file.seek(start)
            file.write(core)
            file.seek(0)
            file.write(boot)
