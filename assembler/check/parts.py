"""Check what is in the partitions of a finished image, with the file systems' own tools."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from assembler.check.ext4_part import check_ext4
from assembler.check.fat_part import NAMES, check_fat
from assembler.check.part import Part
from assembler.disk.layout import ROOT_TYPES, PartitionType
from assembler.units import SECTOR

# What other file systems begin with, and at which byte: fs/xfs/libxfs/xfs_format.h,
# include/uapi/linux/btrfs_tree.h and include/uapi/linux/magic.h in Linux.
_MAGIC = {
    "xfs": (0, b"XFSB"),
    "btrfs": (0x10040, b"_BHRfS_M"),
    "f2fs": (0x400, b"\x10\x20\xf5\xf2"),
}
_EXT4_MAGIC = 0x438, b"\x53\xef"


def check_part(image: Path, part: Part, scratch: Path) -> Part:
    """The partition with what was found in it; one of an unknown type is not looked into."""
    check = _CHECKERS.get(part.type_guid)
    return check(image, part, scratch) if check else replace(part, content="not checked")


def has_file_system(image: Path) -> bool:
    """Whether an image without a partition table begins with a file system that we know."""
    return _begins(image, 0, _EXT4_MAGIC) or any(
        _begins(image, 0, magic) for magic in _MAGIC.values()
    )


def _begins(image: Path, start: int, magic: tuple[int, bytes]) -> bool:
    offset, expected = magic
    with image.open("rb") as file:
        file.seek(start + offset)
        return file.read(len(expected)) == expected


def _check_linux(image: Path, part: Part, _scratch: Path) -> Part:
    """An ext4, unless the first blocks are those of another file system that we make."""
    for kind, magic in _MAGIC.items():
        if _begins(image, part.start, magic):
            return replace(part, kind=kind, content=f"{kind}, left to its own checker")
    return check_ext4(image, part)


def _check_xbootldr(image: Path, part: Part, scratch: Path) -> Part:
    """A FAT or a Linux file system with kernels."""
    if any(_begins(image, part.start, magic) for magic in NAMES):
        return check_fat(image, part, scratch, "extended boot loader partition")
    return _check_linux(image, part, scratch)


def _check_esp(image: Path, part: Part, scratch: Path) -> Part:
    return check_fat(image, part, scratch, "EFI system partition")


def _check_boot(image: Path, part: Part, scratch: Path) -> Part:
    return check_fat(image, part, scratch, "boot partition")


def _check_bios_boot(image: Path, part: Part, _scratch: Path) -> Part:
    """What is in there, the boot chain tells."""
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
    "0fc63daf-8483-4772-8e79-3d69d8477de4": _check_linux,  # "Linux filesystem" of most tools
    **{str(kind.value): _check_linux for kind in ROOT_TYPES.values()},
    str(PartitionType.ESP.value): _check_esp,
    str(PartitionType.XBOOTLDR.value): _check_xbootldr,
    str(PartitionType.BIOS_BOOT.value): _check_bios_boot,
}
