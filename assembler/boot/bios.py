"""Put GRUB's boot code onto a GPT disk for BIOS, byte for byte as `grub-bios-setup` does.

The format is GRUB's own: include/grub/i386/pc/boot.h and include/grub/offsets.h for the places,
util/setup.c for what is written there (with `--no-rs-codes`: the Reed-Solomon codes only guard
against other programs that write into the gap before the first partition).
"""

import struct
from pathlib import Path

from assembler.disk.layout import Layout
from assembler.errors import HostError
from assembler.units import SECTOR, ceil_div, format_size

# Bytes of the boot sector that belong to the disk: GRUB_BOOT_MACHINE_BPB_{START,END} and
# GRUB_BOOT_MACHINE_{WINDOWS_NT_MAGIC,PART_END}.
_BPB = slice(0x03, 0x5A)
_PARTITIONS = slice(0x1B8, 0x1FE)

_KERNEL_SECTOR = struct.Struct("<Q")  # LBA of the core image
KERNEL_SECTOR_AT = 0x5C
_BOOT_DRIVE_AT = 0x64
_BOOT_DRIVE_OF_BIOS = 0xFF  # the drive that the BIOS says it booted from
_DRIVE_CHECK = slice(0x66, 0x68)  # a jump, needed for floppies alone
_NOPS = b"\x90\x90"

# struct grub_boot_blocklist, which grows down from the end of the core image's first sector.
_BLOCKLIST = struct.Struct("<QHH")  # first LBA, sectors, segment to load them at
_BLOCKLIST_AT = SECTOR - _BLOCKLIST.size
_CORE_SEGMENT = 0x820  # GRUB_BOOT_I386_PC_KERNEL_SEG and the first sector, which is in place

# From GRUB_KERNEL_I386_PC_LINK_ADDR up to where the extended BIOS data area may begin.
_MAX_SECTORS = (0x78000 - 0x9000) // SECTOR


def embed(boot_img: bytes, core_img: bytes, *, core_lba: int, mbr: bytes) -> tuple[bytes, bytes]:
    """Fit GRUB's boot.img and core.img to a disk.

    `core_lba` is the 512-byte sector where the core image will start, `mbr` the disk's present
    first sector. Returns the new first sector and the core image, a whole number of sectors.
    Raises HostError when the images are not such as GRUB 2.02 and later make for `i386-pc`.
    """
    if len(boot_img) != SECTOR:
        raise HostError(f"GRUB's boot.img has {len(boot_img)} bytes instead of {SECTOR}")
    sectors = ceil_div(len(core_img), SECTOR)
    if sectors > _MAX_SECTORS:
        raise HostError(
            f"GRUB's core image has {sectors} sectors, {sectors - _MAX_SECTORS} more than "
            f"the {_MAX_SECTORS} that it can load"
        )
    boot = bytearray(boot_img)
    boot[_BPB] = mbr[_BPB]
    boot[_PARTITIONS] = mbr[_PARTITIONS]
    _KERNEL_SECTOR.pack_into(boot, KERNEL_SECTOR_AT, core_lba)
    boot[_BOOT_DRIVE_AT] = _BOOT_DRIVE_OF_BIOS
    boot[_DRIVE_CHECK] = _NOPS

    core = bytearray(core_img.ljust(sectors * SECTOR, b"\0"))
    if not _is_core_image(core):
        raise HostError("GRUB's core image has no list of its own sectors: it is not for i386-pc")
    # grub-mkimage counts the sectors, but does not know where they will lie.
    _BLOCKLIST.pack_into(core, _BLOCKLIST_AT, core_lba + 1, sectors - 1, _CORE_SEGMENT)
    return bytes(boot), bytes(core)


def _is_core_image(core: bytearray) -> bool:
    """Whether the first sector ends in a list of one entry, as grub-mkimage leaves it."""
    if len(core) < 2 * SECTOR:
        return False
    _, sectors, segment = _BLOCKLIST.unpack_from(core, _BLOCKLIST_AT)
    end_of_list = _BLOCKLIST.unpack_from(core, _BLOCKLIST_AT - _BLOCKLIST.size)
    return sectors > 0 and segment == _CORE_SEGMENT and end_of_list == (0, 0, 0)


def install(image: Path, layout: Layout, boot_img: bytes, core_img: bytes) -> None:
    """Write the boot sector, and the core image into the BIOS boot partition of `image`.

    Raises HostError as `embed`, and when the partition is too small for the core image.
    """
    place = layout.bios_boot
    assert place is not None
    with image.open("r+b") as file:
        mbr = file.read(SECTOR)
        boot, core = embed(boot_img, core_img, core_lba=place.start // SECTOR, mbr=mbr)
        if len(core) > place.size:
            raise HostError(
                f"GRUB's core image is {(len(core) - place.size) // SECTOR} sectors too long for "
                f"the BIOS boot partition of {format_size(place.size)}"
            )
        file.seek(place.start)
        file.write(core)
        file.seek(0)
        file.write(boot)
