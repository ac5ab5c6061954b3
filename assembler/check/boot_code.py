"""Check a disk's boot code by the files that GRUB keeps in the image: copies of it, and modules.

grub-install leaves boot.img and core.img, or core.efi, beside GRUB's modules, some builds put all
of GRUB's files there. What may differ: GRUB, util/setup.c and util/mkimage.c.
"""

import struct
from collections.abc import Iterable

from assembler.binaries.core_image import CoreImage
from assembler.boot.grub.bios import KERNEL_SECTOR_AT
from assembler.check.boot_chain import BootDisk, BrokenError
from assembler.check.grub_reader import UnreadableError
from assembler.check.menu import Location, location_words
from assembler.machines import GRUB_FOR_BIOS
from assembler.units import SECTOR

_TABLE_MODULES = {"gpt": "part_gpt", "dos": "part_msdos"}
_MAX_FILE = 1 << 20  # bytes; core.img has less than half of it
_EFI_COPY = "core.efi"  # of what grub-install puts onto the ESP; its grub.efi has another prefix

# Bytes of boot.img that are the disk's or are set by grub-bios-setup: include/grub/i386/pc/boot.h.
_BOOT_FIELDS = (
    range(0x03, 0x5A),  # the parameters of a file system
    range(KERNEL_SECTOR_AT, KERNEL_SECTOR_AT + 8),
    range(0x64, 0x65),  # the drive
    range(0x66, 0x68),  # whether the drive's number is checked
    range(0x1B8, 0x1FE),  # the partition table
)
_BLOCKLIST = (range(0x1F4, 0x200),)  # of which there is one only: see bios_chain
_DECOMPRESSOR_FIELDS = (range(0x08, 0x18),)  # sizes, and those of the Reed-Solomon codes

# In the decompressor: the size of what is compressed behind it, in bytes.
_COMPRESSED = struct.Struct("<8xI")


def check_boot_code(disk: BootDisk, home: Location, sector: bytes, core: bytes) -> None:
    """Check the boot sector and the core image's own code, by the files below `home` if any.

    Files that are absent are not compared. Raises BrokenError.
    """
    known = _GrubFiles(disk, home, GRUB_FOR_BIOS)
    boot, first, decompressor = (
        known.read(name) for name in ("boot.img", "diskboot.img", "lzma_decompress.img")
    )
    core_first, code = _code_of(known.read("core.img"))
    if len(boot) == SECTOR:
        _compare("boot sector: it", sector, boot, _BOOT_FIELDS, known.words("boot.img"))
    for name, there in (("diskboot.img", first), ("core.img", core_first)):
        if len(there) == SECTOR:
            words = "core image: its first sector"
            _compare(words, core, there, _BLOCKLIST, known.words(name))
    for name, there in (("lzma_decompress.img", decompressor), ("core.img", code)):
        words = "core image: its decompressor"
        _compare(words, core[SECTOR:], there, _DECOMPRESSOR_FIELDS, known.words(name))


def check_prefix(disk: BootDisk, core: CoreImage, place: Location) -> None:
    """Check that GRUB can read its prefix with its core image's modules; raises BrokenError."""
    if core.memdisk:
        return
    if place.number is None:
        raise BrokenError(f"GRUB's prefix {place.path}: {place.fault}")
    one = disk.reader.file_system(place.number)
    if one is None:
        raise BrokenError(
            f"GRUB's prefix {place.path}: partition {place.number} has no file system of GRUB's"
            if place.number
            else f"GRUB's prefix {place.path}: it is on no partition"
        )
    needed = [one.driver, *([_TABLE_MODULES[disk.table]] if place.number else [])]
    for module in needed:
        if module not in core.modules:
            raise BrokenError(f"GRUB's core image lacks the module {module}, to read {one.where}")
    files = _GrubFiles(disk, place, core.platform)
    if "normal" not in core.modules and not files.read("normal.mod", 1):
        words = "the module is neither there nor in GRUB's core image"
        raise BrokenError(f"{files.words('normal.mod')}: {words}")


def check_efi_core(disk: BootDisk, home: Location, platform: str, program: bytes) -> None:
    """Compare an unsigned GRUB for EFI with its copy below `home`; raises BrokenError.

    A copy of another length is of another build, such as one for another ESP.
    """
    known = _GrubFiles(disk, home, platform)
    copy = known.read(_EFI_COPY, len(program) + 1)
    if len(copy) == len(program):
        _compare("it", program, copy, (), known.words(_EFI_COPY))


class _GrubFiles:
    """GRUB's files for a platform, in a directory of an image."""

    def __init__(self, disk: BootDisk, home: Location, platform: str) -> None:
        self._reader = disk.reader
        self._home = home
        self._platform = platform

    def read(self, name: str, limit: int = _MAX_FILE) -> bytes:
        """A file, at most `limit` bytes of it; empty if there is none."""
        if self._home.number is None:
            return b""
        try:
            return self._reader.read(self._home.number, self._path(name), limit)
        except UnreadableError:
            return b""

    def words(self, name: str) -> str:
        """A file in a message."""
        place = Location(self._home.number, self._path(name))
        return location_words(self._reader.file_systems, place)

    def _path(self, name: str) -> str:
        return f"{self._home.path.rstrip('/')}/{self._platform}/{name}"


def _code_of(core: bytes) -> tuple[bytes, bytes]:
    """First sector and decompressor of a core.img of grub-mkimage's, empty for what is none."""
    if len(core) < SECTOR + _COMPRESSED.size:
        return b"", b""
    end = len(core) - int(_COMPRESSED.unpack_from(core, SECTOR)[0])
    # An LZMA stream begins with 0, and this one is aligned.
    begins = end > SECTOR and end % 16 == 0 and core[end : end + 1] == b"\0"
    return (core[:SECTOR], core[SECTOR:end]) if begins else (b"", b"")


def _compare(words: str, found: bytes, expected: bytes, fields: Iterable[range], name: str) -> None:
    left, right = bytearray(found[: len(expected)]), bytearray(expected)
    for field in fields:
        for code in (left, right):
            code[field.start : field.stop] = bytes(len(code[field.start : field.stop]))
    if left != right:
        pairs = enumerate(zip(left, right, strict=False))
        at = next((at for at, (one, other) in pairs if one != other), len(left))
        raise BrokenError(f"{words} differs from {name}, from byte {at:#x} on")
