"""Check what is in the partitions of a finished image, with the file systems' own tools."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from assembler import process
from assembler.check.sparse import copy_sparse
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
_FAT_NAMES = ((0x36, b"FAT1"), (0x52, b"FAT32"))  # fatgen103, "FAT32 FS type"

_ANY_STATUS = range(256)
_E2FSCK_TOTALS = re.compile(rb": (\d+)/(\d+) files \(.*\), (\d+)/(\d+) blocks")


@dataclass(frozen=True, slots=True)
class Part:
    """One partition as the table in the image shows it, and what was found in it."""

    number: int
    name: str
    type_guid: str  # in lower case; in an MBR, a number
    start: int  # bytes
    size: int  # bytes
    content: str = ""  # in the user's words
    free: int = 0  # bytes, in an ext4
    empty: bool = False  # nothing is in it, as far as this is looked at: in a FAT
    fault: str = ""  # what is wrong, in one line

    @property
    def where(self) -> str:
        """The partition in a message."""
        return f"partition {self.number} ({self.name})" if self.name else f"partition {self.number}"


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


def _check_linux(image: Path, part: Part, scratch: Path) -> Part:
    """An ext4, unless the first blocks are those of another file system that we make."""
    for kind, magic in _MAGIC.items():
        if _begins(image, part.start, magic):
            return replace(part, content=f"{kind}, left to its own checker")
    return _check_ext4(image, part, scratch)


def _check_xbootldr(image: Path, part: Part, scratch: Path) -> Part:
    """A FAT or a Linux file system with kernels."""
    if any(_begins(image, part.start, magic) for magic in _FAT_NAMES):
        checked = _check_fat(image, part, scratch)
        return replace(checked, content="FAT (extended boot loader partition)")
    return _check_linux(image, part, scratch)


def _check_ext4(image: Path, part: Part, _scratch: Path) -> Part:
    """Let e2fsck read the whole structure."""
    done = process.run(
        ["e2fsck", "-fn", f"{image}?offset={part.start}"], what="checking ext4", ok=_ANY_STATUS
    )
    totals = _E2FSCK_TOTALS.search(done.stdout)
    if done.returncode or totals is None:
        said = (done.stdout + done.stderr).decode(errors="replace")
        return replace(part, fault=f"e2fsck: {_first_complaint(said)}")
    inodes, _all_inodes, blocks, all_blocks = (int(number) for number in totals.groups())
    block_size = _ext4_block_size(image, part.start)
    # e2fsck asks whether to go on with an ext4 that is cut off, and takes it for a good one.
    if (over := all_blocks * block_size - part.size) > 0:
        return replace(part, fault=f"the ext4 goes {over} bytes beyond its end")
    free = (all_blocks - blocks) * block_size
    return replace(part, content=f"ext4, {inodes:,} inodes", free=free)


def _ext4_block_size(image: Path, start: int) -> int:
    """Bytes in a block: s_log_block_size, at 0x18 in the superblock (ext4/super.rst in Linux)."""
    with image.open("rb") as file:
        file.seek(start + 1024 + 0x18)
        return 1024 << int.from_bytes(file.read(4), "little")


def _first_complaint(said: str) -> str:
    """The first line of e2fsck's that is no heading."""
    for line in said.splitlines():
        if line.strip() and not re.match(r"e2fsck [\d.]+ |Pass \d", line):
            return line.strip()
    return "it failed without a word"


def _check_fat(image: Path, part: Part, scratch: Path) -> Part:
    """Let fsck.fat read a FAT; it takes no offset, so it gets a sparse copy."""
    copy = scratch / f"{part.number}.fat"
    copy_sparse(image, copy, part.start, part.size)
    done = process.run(["fsck.fat", "-n", copy], what="checking a FAT", ok=_ANY_STATUS)
    if done.returncode:
        # Its own name and version come first; what it cannot begin to read, it tells on stderr.
        said = (done.stdout.partition(b"\n")[2] + done.stderr).decode(errors="replace")
        said = said.replace(str(copy), str(image))
        return replace(part, fault=f"fsck.fat: {' '.join(said.split())}")
    # The root directory takes a cluster in FAT32; EFI/BOOT/BOOTX64.EFI would take three more.
    used = re.search(rb": \d+ files, (\d+)/\d+ clusters", done.stdout)
    empty = used is not None and int(used[1]) <= 1
    content = f"FAT (EFI system partition{', empty' if empty else ''})"
    return replace(part, content=content, empty=empty)


def _check_bios_boot(image: Path, part: Part, _scratch: Path) -> Part:
    """What is in there, the boot chain tells."""
    with image.open("rb") as file:
        file.seek(part.start)
        used = any(file.read(SECTOR))
    return replace(part, content="GRUB core image for BIOS" if used else "empty, nothing for BIOS")


# By GUID, or by the number in an MBR (util-linux, include/pt-mbr-partnames.h).
_CHECKERS: dict[str, Callable[[Path, Part, Path], Part]] = {
    "": _check_linux,  # the whole image
    "83": _check_linux,
    "ef": _check_fat,
    "0fc63daf-8483-4772-8e79-3d69d8477de4": _check_linux,  # "Linux filesystem" of most tools
    **{str(kind.value): _check_linux for kind in ROOT_TYPES.values()},
    str(PartitionType.ESP.value): _check_fat,
    str(PartitionType.XBOOTLDR.value): _check_xbootldr,
    str(PartitionType.BIOS_BOOT.value): _check_bios_boot,
}
