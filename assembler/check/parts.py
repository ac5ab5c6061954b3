"""Check what is in the partitions of a finished image, with the file systems' own tools."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from assembler.check.ext4_part import check_ext4
from assembler.check.fat_part import check_fat
from assembler.check.part import Part
from assembler.disk.tables import ROOT_TYPES, PartitionType
from assembler.filesystems.ext4.kind import EXT4
from assembler.filesystems.fat.kind import FAT
from assembler.filesystems.kind import Kind
from assembler.filesystems.registry import ROOT_KINDS
from assembler.units import SECTOR


def check_part(image: Path, part: Part, scratch: Path) -> Part:
    """The partition with what was found in it; one of an unknown type is not looked into."""
    check = _CHECKERS.get(part.type_guid)
    return check(image, part, scratch) if check else replace(part, content="not checked")


def has_file_system(image: Path) -> bool:
    """Whether an image without a partition table begins with a file system of KINDS."""
    return any(_begins(image, 0, kind) for kind in ROOT_KINDS.values())


def _begins(image: Path, start: int, kind: Kind) -> bool:
    """Whether a file system of that kind begins at a byte of the image."""
    with image.open("rb") as file:
        for offset, expected in kind.magics:
            file.seek(start + offset)
            if file.read(len(expected)) == expected:
                return True
    return False


def _check_linux(image: Path, part: Part, _scratch: Path) -> Part:
    """A file system that this program makes, known by its mark.

    What has no mark goes to e2fsck: it finds the backups of an ext4 that lost its own, and anything
    else is a fault to it.
    """
    kinds = ROOT_KINDS.values()
    kind = next((one for one in kinds if _begins(image, part.start, one)), EXT4)
    if kind is EXT4:
        return check_ext4(image, part)
    return replace(part, kind=kind.name, content=f"{kind.name}, left to its own checker")


def _check_xbootldr(image: Path, part: Part, scratch: Path) -> Part:
    """A FAT or a Linux file system with kernels."""
    if _begins(image, part.start, FAT):
        return check_fat(image, part, scratch, "extended boot loader partition")
    return _check_linux(image, part, scratch)


def _check_esp(image: Path, part: Part, scratch: Path) -> Part:
    return check_fat(image, part, scratch, "EFI system partition")


def _check_boot(image: Path, part: Part, scratch: Path) -> Part:
    return check_fat(image, part, scratch, "boot partition")


def _check_bios_boot(image: Path, part: Part, _scratch: Path) -> Part:
    """A partition for GRUB's core image; the check of the boot chain reads it."""
    with image.open("rb") as file:
        file.seek(part.start)
        used = any(file.read(SECTOR))
    content = "GRUB core image for BIOS" if used else "empty, nothing for BIOS"
    return replace(part, kind="BIOS boot", content=content, empty=not used)


# By GUID, or by the number in an MBR (util-linux, include/pt-mbr-partnames.h).
_CHECKERS: dict[str, Callable[[Path, Part, Path], Part]] = {
    "": _check_linux,  # the whole image
    "83": _check_linux,
    "ef": _check_esp,
    **dict.fromkeys(("1", "4", "6", "b", "c", "e", "ea"), _check_boot),
    PartitionType.LINUX: _check_linux,
    **dict.fromkeys(ROOT_TYPES, _check_linux),
    PartitionType.ESP: _check_esp,
    PartitionType.XBOOTLDR: _check_xbootldr,
    PartitionType.BIOS_BOOT: _check_bios_boot,
}
