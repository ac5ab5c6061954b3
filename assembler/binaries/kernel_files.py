"""Check kernels, initial RAM disks and device trees, and that they are complete.

Kernels: Linux, Documentation/arch/x86/boot.rst, Documentation/arch/arm64/booting.rst,
drivers/firmware/efi/libstub/zboot-header.S.
Initial RAM disks: Documentation/driver-api/early-userspace/buffer-format.rst, init/initramfs.c,
lib/decompress.c. Device trees: Devicetree Specification, 5.2.
"""

import re
import struct
import sys
import zlib
from contextlib import suppress
from io import BytesIO
from typing import BinaryIO

from assembler.binaries.decompress import PayloadError, Unpack, Unpacked, unpacker
from assembler.binaries.pe import PeError, read_pe
from assembler.machines import Machine

_CHUNK = 1 << 20
_IMAGE_MAGIC = slice(0x38, 0x3C)
_IMAGES = {one.facts.image_magic: one.facts.linux for one in Machine if one.facts.image_magic}

_DEVICETREE = b"\xd0\x0d\xfe\xed"
_DEVICETREE_HEADER = 40  # bytes

_MAGIC = 8  # bytes by which an archive is recognised
_CPIO = (b"070701", b"070702")
_CPIO_HEADER = 110
_CPIO_END = b"TRAILER!!!\0"
# Magic number, and thirteen numbers of eight digits each.
_CPIO_NUMBERS = re.compile(rb"07070[12][0-9A-Fa-f]{104}")
_MAX_FILES = 1_000_000  # in a cpio archive
_MAX_ARCHIVES = 1000

_BZIMAGE_HEADER = 4096  # bytes, which hold the headers of boot.rst and of PE
_RELEASE = 128  # bytes
_WITHOUT_CHECKSUM = (6, 16)  # the release of Linux from which on a bzImage has none


def check_kernel(header: bytes, size: int | None = None) -> str | None:
    """Check a Linux kernel of `size` bytes, if known, by its beginning.

    A bzImage and an EFI zboot image contain their lengths, an Image does not. Returns the
    architecture as `Facts.linux`, None if the kernel does not contain it.
    Raises PayloadError.
    """
    machine, needed = None, 0
    if header[0x1FE:0x200] == b"\x55\xaa" and header[0x202:0x206] == b"HdrS":
        setup = header[0x1F1] or 4  # sectors
        protected = int.from_bytes(header[0x1F4:0x1F8], "little")  # units of 16 bytes, rounded up
        machine, needed = Machine.X64.facts.linux, (setup + 1) * 512 + max(0, protected - 1) * 16
    elif header[:2] == b"MZ" and header[4:8] == b"zimg":
        offset, length = header[8:12], header[12:16]
        needed = int.from_bytes(offset, "little") + int.from_bytes(length, "little")
    elif header[_IMAGE_MAGIC] in _IMAGES:
        machine = _IMAGES[header[_IMAGE_MAGIC]]
    else:
        raise PayloadError("it is not a Linux kernel" if header else "it is empty")
    if size is not None and size < needed:
        raise PayloadError(f"it is cut short: {size} bytes of {needed}")
    return machine


def check_initrd_start(header: bytes, size: int) -> None:
    """Check an initial RAM disk of `size` bytes by its beginning alone; raises PayloadError."""
    if size == 0:
        raise PayloadError("it is empty")
    at = len(header) - len(header.lstrip(b"\0"))
    if at == size:
        raise PayloadError("it holds nothing but zeros")
    if size == len(header) or len(header) - at >= _MAGIC:
        _unpacker(BytesIO(header), at)


def check_devicetree(header: bytes, size: int) -> None:
    """Check a flattened device tree of `size` bytes by its header; raises PayloadError."""
    if header[:4] != _DEVICETREE:
        raise PayloadError("it is not a device tree" if size else "it is empty")
    total = max(_DEVICETREE_HEADER, int.from_bytes(header[4:8], "big"))
    if size < total:
        raise PayloadError(f"it is cut short: {size} bytes of {total}")


def check_initrd(file: BinaryIO) -> None:
    """Walk through the archives of an initial RAM disk, as the kernel will unpack them.

    All are followed to their ends; LZO is known by its beginning alone. Raises PayloadError.
    """
    size = file.seek(0, 2)
    if size == 0:
        raise PayloadError("it is empty")
    at = _after_padding(file, 0)
    if at is None:
        raise PayloadError("it holds nothing but zeros")
    for _ in range(_MAX_ARCHIVES):
        end = _unpacker(file, at)(file, at, size).end
        if end > size:
            raise PayloadError(f"it is cut short: {size} bytes, and an archive goes on")
        at = _after_padding(file, end)
        if at is None:
            return
    raise PayloadError(f"it has more than {_MAX_ARCHIVES} archives")


def check_whole_kernel(file: BinaryIO) -> None:
    """Read a Linux kernel to its end: its checksum, and what it will decompress of itself.

    A bzImage has a checksum up to Linux 6.15 (arch/x86/boot/tools/build.c there), and a compressed
    part, as an EFI zboot image has; others have neither. Raises PayloadError.
    """
    size = file.seek(0, 2)
    file.seek(0)
    header = file.read(_BZIMAGE_HEADER)
    check_kernel(header, size)
    if header[:2] == b"MZ" and header[4:8] == b"zimg":
        _check_compressed(file, *struct.unpack_from("<II", header, 8), tail=False)
    elif header[0x202:0x206] == b"HdrS" and header[0x206:0x208] >= b"\x08\x02":
        if _has_checksum(file, header):
            _check_checksum(file, header, size)
        start = ((header[0x1F1] or 4) + 1) * 512
        offset, length = struct.unpack_from("<II", header, 0x248)
        _check_compressed(file, start + offset, length, tail=True)


def _check_compressed(file: BinaryIO, start: int, length: int, *, tail: bool) -> None:
    """Unpack what a kernel holds; in a bzImage the last four bytes are its size."""
    size, end = file.seek(0, 2), start + length
    if not length or end > size:
        raise PayloadError(f"it is cut short: {size} bytes of {end}")
    file.seek(start)
    unpack = unpacker(file.read(_MAGIC))
    if unpack is None:
        raise PayloadError(f"what it should decompress, from byte {start} on, is not compressed")
    found = unpack(file, start, end)
    if found.end > end:
        raise PayloadError(f"what it should decompress goes on beyond its byte {end}")
    if tail and found.size is not None:
        file.seek(end - 4)
        expected = int.from_bytes(file.read(4), "little")
        if expected != found.size & 0xFFFFFFFF:
            raise PayloadError(f"it decompresses to {found.size} bytes, not to {expected}")


def _has_checksum(file: BinaryIO, header: bytes) -> bool:
    """Whether a bzImage is of a release that has a checksum, by the release in its header."""
    at = int.from_bytes(header[0x20E:0x210], "little")
    if not at:
        return False
    file.seek(0x200 + at)
    release = re.match(rb"(\d{1,3})\.(\d{1,3})[^ ]{0,80} \(", file.read(_RELEASE))
    return release is not None and (int(release[1]), int(release[2])) < _WITHOUT_CHECKSUM


def _check_checksum(file: BinaryIO, header: bytes, size: int) -> None:
    """Compare a bzImage's last four bytes with the CRC-32 of all before them.

    A signature comes behind these, and changes two fields of the PE header, which were 0.
    """
    changed: dict[int, int] = {}
    with suppress(PeError):  # some kernels are no EFI programs
        pe = read_pe(header, sys.maxsize)
        changed = {pe.checksum_at: 4, pe.certificates_at: 8}
        offset = int.from_bytes(header[pe.certificates_at : pe.certificates_at + 4], "little")
        size = offset or size
    file.seek(0)
    start = bytearray(file.read(min(_BZIMAGE_HEADER, max(0, size - 4))))
    for at, length in changed.items():
        start[at : at + length] = bytes(len(start[at : at + length]))
    crc, left = zlib.crc32(start), size - 4 - len(start)
    while left > 0 and (chunk := file.read(min(left, _CHUNK))):
        crc, left = zlib.crc32(chunk, crc), left - len(chunk)
    if left or file.read(4) != (crc ^ 0xFFFFFFFF).to_bytes(4, "little"):
        raise PayloadError("its checksum is wrong: it is damaged")


def _unpacker(file: BinaryIO, at: int) -> Unpack:
    """What finds the end of the archive that begins at a byte."""
    file.seek(at)
    magic = file.read(_MAGIC)
    found = _cpio_end if magic.startswith(_CPIO) else unpacker(magic)
    if found is not None:
        return found
    what = "it is not an initial RAM disk" if at == 0 else f"what is at its byte {at} is no archive"
    raise PayloadError(f"{what} (it begins with {magic[:4].hex(' ')})")


def _after_padding(file: BinaryIO, at: int) -> int | None:
    """The first byte from `at` on that is not 0."""
    file.seek(at)
    while chunk := file.read(_CHUNK):
        rest = chunk.lstrip(b"\0")
        if rest:
            return at + len(chunk) - len(rest)
        at += len(chunk)
    return None


def _cpio_end(file: BinaryIO, at: int, size: int) -> Unpacked:
    for _ in range(_MAX_FILES):
        if at >= size:
            return Unpacked(size + 1, None)
        file.seek(at)
        header = file.read(_CPIO_HEADER)
        if len(header) < _CPIO_HEADER:
            return Unpacked(size + 1, None)
        if not _CPIO_NUMBERS.fullmatch(header):
            raise PayloadError(f"its cpio archive is damaged at byte {at}")
        data, name = int(header[54:62], 16), int(header[94:102], 16)
        if name == len(_CPIO_END) and file.read(name) == _CPIO_END:
            return Unpacked(at + _CPIO_HEADER + name, None)
        at += _four(_CPIO_HEADER + name) + _four(data)
    raise PayloadError(f"its cpio archive has more than {_MAX_FILES} files")


def _four(number: int) -> int:
    return (number + 3) & ~3
