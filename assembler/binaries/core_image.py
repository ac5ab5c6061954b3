"""Read GRUB's core images back: which configuration they were built to read, and their modules.

The formats are GRUB's own: include/grub/offsets.h for the places in core.img for BIOS,
grub-core/boot/i386/pc/startup_raw.S for its decompressor, include/grub/kernel.h for the modules,
util/mkimage.c for how all is put together. GRUB 2.02 to 2.12 write them alike.
"""

import lzma
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum

from assembler.binaries.pe import Pe, PeError, read_pe
from assembler.machines import GRUB_FOR_BIOS, machine_of_grub
from assembler.units import SECTOR, ceil_div

# struct grub_boot_blocklist; the list grows down from the end of the first sector.
BLOCKLIST = struct.Struct("<QHH")  # first LBA, sectors, segment to load them at

# Behind the first sector: the decompressor, its fields, and the compressed kernel and modules.
_ENTRY = b"\xea"  # a far jump: ljmp $0, $codestart
_DECOMPRESSOR = struct.Struct(
    "<8xIIII"
)  # compressed, uncompressed, Reed-Solomon bytes, unprotected
_ALIGNMENT = 16  # of the compressed data: .p2align 4
_MAX_DECOMPRESSOR = 8 << 10  # bytes: it has some 1,000
_MAX_UNCOMPRESSED = 16 << 20  # the decompressor works above 1 MiB; real ones have some 500 KiB
_MAX_WORK = 64 << 20  # bytes to decompress in search of the compressed part
_MAX_OBJECTS = 10_000  # behind the kernel; GRUB has some 300 modules
_MAX_MARKS = 10_000  # places that look like the list of these

# The header of an .lzma file, as Python takes it; lc=3, lp=0, pb=2 and the dictionary are
# those of compress_kernel_lzma in util/mkimage.c.
_LZMA_HEADER = struct.Struct("<BIQ")
_LZMA_PROPERTIES = (2 * 5 + 0) * 9 + 3
_LZMA_DICTIONARY = 1 << 16

_MAGIC = b"mimg"  # GRUB_MODULE_MAGIC
_INFO_32 = struct.Struct("<4xII")  # struct grub_module_info32: offset, size
_INFO_64 = struct.Struct("<8xQQ")
_OBJECT = struct.Struct("<II")  # struct grub_module_header: type, size with this header

_SBAT_VERSION = 4  # after component, generation, vendor and package


class ObjectType(IntEnum):
    """What an object behind the kernel is: OBJ_TYPE_*."""

    ELF = 0
    MEMDISK = 1
    CONFIG = 2
    PREFIX = 3


class CoreImageError(ValueError):
    """It is not a core image of GRUB, or a damaged one: a short message without its name."""


@dataclass(frozen=True, slots=True)
class Block:
    """One run of sectors that the core image's first sector loads."""

    lba: int  # in 512-byte sectors
    sectors: int
    segment: int  # of memory


@dataclass(frozen=True, slots=True)
class CoreImage:
    """What a core image was built with."""

    platform: str  # by GRUB's name
    prefix: str | None  # where modules and grub.cfg are; the configuration may set another
    config: str | None  # the commands that it begins with
    memdisk: bool  # whether it brings a file system of its own
    modules: tuple[str, ...]
    version: str = ""  # the release, if a program for EFI contains it


def read_blocklist(sector: bytes) -> tuple[Block, ...]:
    """The runs of sectors that the core image's first sector, for BIOS, loads.

    Raises CoreImageError when there is no such list.
    """
    blocks = []
    for at in range(SECTOR - BLOCKLIST.size, SECTOR // 2, -BLOCKLIST.size):
        if len(sector) < SECTOR:
            break
        block = Block(*BLOCKLIST.unpack_from(sector, at))
        if block.sectors == 0:
            break
        blocks.append(block)
    if not blocks:
        raise CoreImageError("its first sector has no list of the others")
    return tuple(blocks)


def read_bios_core(core: bytes) -> CoreImage:
    """Read a core image for BIOS (i386-pc), from its first sector on; more may follow it.

    The compressed part is decompressed whole, so damage there is found; the decompressor's own
    code is not looked at. Raises CoreImageError.
    """
    whole = (1 + sum(block.sectors for block in read_blocklist(core[:SECTOR]))) * SECTOR
    if len(core) <= whole - SECTOR:
        raise CoreImageError(f"it is cut short: {len(core)} bytes of {whole}")
    fields_end = SECTOR + _DECOMPRESSOR.size
    if len(core) < fields_end or core[SECTOR : SECTOR + 1] != _ENTRY:
        raise CoreImageError("its second sector is not GRUB's decompressor")
    compressed, size, redundancy, plain = _DECOMPRESSOR.unpack_from(core, SECTOR)
    if not 0 < size <= _MAX_UNCOMPRESSED:
        raise CoreImageError(f"it claims to decompress to {size} bytes")
    begin = SECTOR + (plain & 0xFFFF)
    latest = min(whole, len(core)) - redundancy - compressed
    # Only with Reed-Solomon codes is its very length known, else it ends in the last sector.
    first = latest if redundancy else latest - SECTOR + 1
    image, _ = _decompress_from(core, range(max(first, begin), latest + 1), compressed, size)
    if image is None:
        _, end = _decompress_from(core, range(begin, begin + _MAX_DECOMPRESSOR), compressed, size)
        if end is None:
            raise CoreImageError("it does not decompress: it is damaged, or was written over")
        sectors = ceil_div(end + redundancy, SECTOR)
        raise CoreImageError(f"its list names {whole // SECTOR} sectors, but it has {sectors}")
    return _read_modules(GRUB_FOR_BIOS, image)


def read_efi_core(program: bytes) -> CoreImage:
    """Read GRUB as an EFI program. Raises CoreImageError when it is another program, or damaged."""
    try:
        pe = read_pe(program)
    except PeError as error:
        raise CoreImageError(str(error)) from None
    core = _read_modules(pe.machine.facts.grub, program)
    return replace(core, version=_version(pe, program))


def _version(pe: Pe, program: bytes) -> str:
    """The release of GRUB in a program's SBAT, if it has one (shim's SBAT.md)."""
    section = pe.section(".sbat")
    text = b"" if section is None else program[section.offset : section.end]
    for line in _text(text).splitlines():
        fields = line.split(",")
        if fields[0] == "grub" and len(fields) > _SBAT_VERSION:
            return fields[_SBAT_VERSION]
    return ""


def _decompress_from(
    core: bytes, places: range, compressed: int, size: int
) -> tuple[bytes | None, int | None]:
    """Look for the compressed part at some places; returns its content and where it ends."""
    tries = max(4, _MAX_WORK // size)
    for at in places:
        # The first byte of an LZMA stream is 0, those behind it are not, so few places are tried.
        start = core[at : at + _ALIGNMENT]
        if tries and at % _ALIGNMENT == 0 and start[:1] == b"\0" and any(start):
            tries -= 1
            image = _decompress(core[at : at + compressed], size)
            if image is not None:
                return image, at + compressed
    return None, None


def _decompress(stream: bytes, size: int) -> bytes | None:
    """Decompress a bare LZMA stream to `size` bytes, None when it is not one of that size."""
    header = _LZMA_HEADER.pack(_LZMA_PROPERTIES, _LZMA_DICTIONARY, size)
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_ALONE)
    try:
        data = decompressor.decompress(header + stream)
    except lzma.LZMAError:
        return None
    return data if decompressor.eof and len(data) == size and not decompressor.unused_data else None


def _read_modules(platform: str, image: bytes) -> CoreImage:
    prefix = config = None
    memdisk = False
    modules = []
    for kind, data in _objects(image, machine_of_grub(platform).facts.is_narrow):
        match kind:
            case ObjectType.ELF:
                modules.append(_module_name(data) or "?")
            case ObjectType.MEMDISK:
                memdisk = True
            case ObjectType.CONFIG:
                config = _text(data)
            case ObjectType.PREFIX:
                prefix = _text(data)
    return CoreImage(platform, prefix, config, memdisk, tuple(modules))


def _objects(image: bytes, narrow: bool) -> Iterator[tuple[int, bytes]]:
    """The objects behind GRUB's kernel, each with its type."""
    start, end = _module_area(image, narrow)
    for _ in range(_MAX_OBJECTS):
        if start >= end:
            return
        if end - start < _OBJECT.size:
            raise CoreImageError("its list of modules is damaged")
        kind, size = _OBJECT.unpack_from(image, start)
        if not _OBJECT.size <= size <= end - start:
            raise CoreImageError("its list of modules is damaged")
        yield kind, image[start + _OBJECT.size : start + size]
        start += size
    raise CoreImageError(f"it claims to have more than {_MAX_OBJECTS} modules")


def _module_area(image: bytes, narrow: bool) -> tuple[int, int]:
    """Where the objects begin and end; the magic number is in the kernel's code as well."""
    info = _INFO_32 if narrow else _INFO_64
    at = image.find(_MAGIC)
    for _ in range(_MAX_MARKS):
        if at < 0 or len(image) - at < info.size:
            break
        offset, size = info.unpack_from(image, at)
        if offset == info.size and offset <= size <= len(image) - at:
            return at + offset, at + size
        at = image.find(_MAGIC, at + 1)
    raise CoreImageError("it is not GRUB, or holds no modules")


def _text(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode(errors="replace")


def _module_name(elf: bytes) -> str | None:
    """The name of a module: what the section .modname holds (include/grub/dl.h)."""
    # Elf32_Ehdr or Elf64_Ehdr and Elf32_Shdr or Elf64_Shdr (System V ABI, chapter 4).
    wide = elf[4:5] == b"\2"
    header = struct.Struct("<40xQ10xHHH") if wide else struct.Struct("<32xI10xHHH")
    section = struct.Struct("<I20xQQ") if wide else struct.Struct("<I12xII")
    if elf[:4] != b"\x7fELF" or len(elf) < header.size:
        return None
    table, entry, count, names = header.unpack_from(elf)
    if entry < section.size or names >= count or table + count * entry > len(elf):
        return None
    places = [section.unpack_from(elf, table + index * entry) for index in range(count)]
    strings = places[names][1]
    for name, offset, size in places:
        if elf.startswith(b".modname\0", strings + name):
            return _text(elf[offset : offset + size])
    return None
