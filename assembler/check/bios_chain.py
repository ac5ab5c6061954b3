"""Follow the boot chain for BIOS: boot sector, core image, GRUB's configuration, files.

The formats are those that assembler.boot.grub.bios writes.
"""

import os
import struct
from pathlib import Path

from assembler.binaries.core_image import CoreImage, CoreImageError, read_bios_core, read_blocklist
from assembler.boot.grub.bios import CORE_SEGMENT, KERNEL_SECTOR_AT, MAX_SECTORS
from assembler.check.boot_chain import BootChain, BootDisk, BrokenError, Trail
from assembler.check.boot_code import check_boot_code
from assembler.check.grub_chain import prefix_of, start_grub, walk_menu
from assembler.disk.tables import PartitionType
from assembler.units import SECTOR, format_size

_BOOT_CODE = 440  # bytes of the first sector (UEFI specification, 5.2.1)
_SIGNATURE = b"\x55\xaa"
_MESSAGES = b"GRUB \0Geom\0Hard Disk\0Read\0"  # in boot.img: grub-core/boot/i386/pc/boot.S
_MAX_CORE = (MAX_SECTORS + 2) * SECTOR  # bytes


def has_boot_code(disk: BootDisk) -> bool:
    """Whether a BIOS would find any program in the first sector."""
    with disk.image.open("rb") as file:
        return any(file.read(_BOOT_CODE))


def has_core_image(disk: BootDisk) -> bool:
    """Whether the BIOS boot partition, if there is one, begins with anything."""
    places = [
        partition.start
        for partition in disk.partitions
        if partition.type_guid == PartitionType.BIOS_BOOT
    ]
    with disk.image.open("rb") as file:
        return any(any(os.pread(file.fileno(), SECTOR, place)) for place in places)


def lacks_signature(image: Path) -> bool:
    """Whether the first sector is GRUB's, or that of a GPT, but for its last two bytes."""
    with image.open("rb") as file:
        sectors = file.read(2 * SECTOR)
    known = _MESSAGES in sectors[:SECTOR] or sectors[SECTOR:].startswith(b"EFI PART")
    return known and sectors[SECTOR - 2 : SECTOR] != _SIGNATURE


def walk_bios(disk: BootDisk) -> BootChain:
    """Walk along the boot chain for BIOS."""
    trail = Trail("BIOS")
    with trail.walked():
        sector, lba = _boot_sector(disk)
        trail.links.append("boot sector")
        data, core, sectors = _core_image(disk, lba)
        trail.links.append(f"core image, {sectors} sectors from LBA {lba}")
        shell = start_grub(disk, core, started_from=0)
        check_boot_code(disk, prefix_of(shell), sector, data)
        walk_menu(trail, disk, core.platform, shell)
    return trail.chain


def _boot_sector(disk: BootDisk) -> tuple[bytes, int]:
    """The boot sector, and the number of that which it loads."""
    with disk.image.open("rb") as file:
        sector = file.read(SECTOR)
    if not any(sector[:_BOOT_CODE]):
        raise BrokenError("boot sector: it has no boot code")
    if sector[-2:] != _SIGNATURE:
        raise BrokenError("boot sector: it has no signature 55 aa")
    if _MESSAGES not in sector:
        raise BrokenError("boot sector: its boot code is not GRUB's")
    return sector, int(struct.unpack_from("<Q", sector, KERNEL_SECTOR_AT)[0])


def _area(disk: BootDisk) -> tuple[int, int, str]:
    """Where a core image may be: start and end in bytes, and its name in messages."""
    for part in disk.partitions:
        if part.type_guid == PartitionType.BIOS_BOOT:
            return part.start, part.start + part.size, part.where
    if disk.table != "dos":
        raise BrokenError("there is no BIOS boot partition for GRUB's core image")
    first = min((part.start for part in disk.partitions), default=disk.image.stat().st_size)
    return SECTOR, first, "the gap before the first partition"


def _core_image(disk: BootDisk, lba: int) -> tuple[bytes, CoreImage, int]:
    """The core image that the boot sector loads: its bytes, its content, and its sectors."""
    start, end, where = _area(disk)
    if lba * SECTOR != start and (disk.table == "gpt" or not start <= lba * SECTOR < end):
        called = "the BIOS boot partition" if disk.table == "gpt" else where
        raise BrokenError(f"boot sector: it loads LBA {lba}, not {called}")
    with disk.image.open("rb") as file:
        file.seek(lba * SECTOR)
        data = file.read(min(end - lba * SECTOR, _MAX_CORE))
    if not any(data[:SECTOR]):
        raise BrokenError(f"{where}: it holds no GRUB core image")
    try:
        blocks = read_blocklist(data[:SECTOR])
        sectors = 1 + sum(block.sectors for block in blocks)
        first = blocks[0]
        if first.lba != lba + 1 or len(blocks) > 1:
            raise BrokenError(
                f"core image: its first sector, LBA {lba}, goes on at LBA {first.lba}"
            )
        if first.segment != CORE_SEGMENT:
            raise BrokenError(f"core image: it is loaded to segment {first.segment:#x}")
        if lba * SECTOR + sectors * SECTOR > end:
            over = (lba + sectors) * SECTOR - end
            raise BrokenError(
                f"core image: its list of {sectors} sectors goes {format_size(over)} beyond {where}"
            )
        return data, read_bios_core(data), sectors
    except CoreImageError as error:
        raise BrokenError(f"core image at LBA {lba}: {error}") from None
