"""Tell whether kernels, initial RAM disks and device trees are such, and whole if they say so.

Kernels: Linux, Documentation/arch/x86/boot.rst, Documentation/arch/arm64/booting.rst,
Documentation/arch/riscv/boot-image-header.rst, drivers/firmware/efi/libstub/zboot-header.S.
Initial RAM disks: Documentation/driver-api/early-userspace/buffer-format.rst, init/initramfs.c,
lib/decompress.c. Device trees: Devicetree Specification, 5.2.
"""

import zlib
from collections.abc import Callable
from io import BytesIO
from typing import BinaryIO

_CHUNK = 1 << 20
_IMAGES = {b"ARMd": "arm64", b"RSC\x05": "riscv64"}

_DEVICETREE = b"\xd0\x0d\xfe\xed"
_DEVICETREE_HEADER = 40  # bytes

_MAGIC = 8  # bytes that tell an archive
_CPIO = (b"070701", b"070702")
_CPIO_HEADER = 110
_CPIO_END = b"TRAILER!!!\0"
_ZSTD = b"\x28\xb5\x2f\xfd"
_XZ = b"\xfd7zXZ\0"
_XZ_END = b"YZ"
# bzip2, LZMA, LZO and LZ4, which are known by their beginning alone.
_OTHERS = (b"BZh", b"\x5d\x00\x00", b"\x89LZO\0", b"\x02\x21\x4c\x18")


class PayloadError(ValueError):
    """It is not what it should be, or not whole: in a few words, without its name."""


def check_kernel(header: bytes, size: int | None = None) -> str | None:
    """Check a Linux kernel of `size` bytes, if known, by its beginning.

    A bzImage says how long it is, an EFI zboot image as well; an arm64 or riscv64 Image does not.
    Returns the machine that it is for, x86, arm64 or riscv64, where it says so.
    Raises PayloadError.
    """
    machine, needed = None, 0
    if header[0x1FE:0x200] == b"\x55\xaa" and header[0x202:0x206] == b"HdrS":
        setup = header[0x1F1] or 4  # sectors
        protected = int.from_bytes(header[0x1F4:0x1F8], "little")  # units of 16 bytes, rounded up
        machine, needed = "x86", (setup + 1) * 512 + max(0, protected - 1) * 16
    elif header[:2] == b"MZ" and header[4:8] == b"zimg":
        offset, length = header[8:12], header[12:16]
        needed = int.from_bytes(offset, "little") + int.from_bytes(length, "little")
    elif header[0x38:0x3C] in _IMAGES:
        machine = _IMAGES[header[0x38:0x3C]]
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
        _walker(BytesIO(header), at)


def check_devicetree(header: bytes, size: int) -> None:
    """Check a flattened device tree of `size` bytes by its header; raises PayloadError."""
    if header[:4] != _DEVICETREE:
        raise PayloadError("it is not a device tree" if size else "it is empty")
    total = max(_DEVICETREE_HEADER, int.from_bytes(header[4:8], "big"))
    if size < total:
        raise PayloadError(f"it is cut short: {size} bytes of {total}")


def check_initrd(file: BinaryIO) -> None:
    """Walk through the archives of an initial RAM disk, as the kernel will unpack them.

    Uncompressed ones, gzip and zstd are followed to their ends, of xz the end is looked for, and
    of others the beginning. Raises PayloadError.
    """
    size = file.seek(0, 2)
    if size == 0:
        raise PayloadError("it is empty")
    at = _after_padding(file, 0)
    if at is None:
        raise PayloadError("it holds nothing but zeros")
    while at is not None:
        end = _walker(file, at)(file, at, size)
        if end > size:
            raise PayloadError(f"it is cut short: {size} bytes, and an archive goes on")
        at = _after_padding(file, end)


_Walker = Callable[[BinaryIO, int, int], int]


def _walker(file: BinaryIO, at: int) -> _Walker:
    """What finds the end of the archive that begins at a byte."""
    file.seek(at)
    magic = file.read(_MAGIC)
    if magic.startswith(_CPIO):
        return _cpio_end
    if magic.startswith((b"\x1f\x8b", b"\x1f\x9e")):
        return _gzip_end
    if magic.startswith(_ZSTD):
        return _zstd_end
    if magic.startswith(_XZ):
        return _xz_end
    if magic.startswith(_OTHERS):
        return lambda _file, _at, size: size
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


def _cpio_end(file: BinaryIO, at: int, size: int) -> int:
    while at < size:
        file.seek(at)
        header = file.read(_CPIO_HEADER)
        if len(header) < _CPIO_HEADER:
            return size + 1
        if not header.startswith(_CPIO):
            raise PayloadError(f"its cpio archive is damaged at byte {at}")
        try:
            data, name = int(header[54:62], 16), int(header[94:102], 16)
        except ValueError:
            raise PayloadError(f"its cpio archive is damaged at byte {at}") from None
        if name == len(_CPIO_END) and file.read(name) == _CPIO_END:
            return at + _CPIO_HEADER + name
        at += _four(_CPIO_HEADER + name) + _four(data)
    return size + 1


def _four(number: int) -> int:
    return (number + 3) & ~3


def _gzip_end(file: BinaryIO, at: int, size: int) -> int:
    """The end of a gzip member (RFC 1952), decompressed for its length and checksum."""
    file.seek(at)
    decompressor = zlib.decompressobj(wbits=31)
    try:
        while not decompressor.eof:
            chunk = decompressor.unconsumed_tail or file.read(_CHUNK)
            if not chunk:
                return size + 1
            decompressor.decompress(chunk, _CHUNK)  # zeros grow a thousandfold
    except zlib.error as error:
        raise PayloadError(f"it does not decompress: {error}") from None
    return file.tell() - len(decompressor.unused_data)


def _zstd_end(file: BinaryIO, at: int, size: int) -> int:
    """The end of a zstd frame (RFC 8878, 3.1.1), by the sizes that its blocks tell."""
    file.seek(at + 4)
    descriptor = file.read(1)
    if not descriptor:
        return size + 1
    flags = descriptor[0]
    single = flags >> 5 & 1
    content_size = (single, 2, 4, 8)[flags >> 6]
    at += 5 + (1 - single) + (0, 1, 2, 4)[flags & 3] + content_size
    last = False
    while not last:
        file.seek(at)
        header = file.read(3)
        if len(header) < 3:
            return size + 1
        block = int.from_bytes(header, "little")
        last, kind = bool(block & 1), block >> 1 & 3
        if kind == 3:
            raise PayloadError(f"its zstd frame is damaged at byte {at}")
        at += 3 + (1 if kind == 1 else block >> 3)
    return at + 4 * (flags >> 2 & 1)


def _xz_end(file: BinaryIO, at: int, size: int) -> int:
    """The end of the file, unless no xz stream ends there (the .xz file format, 2.1.2)."""
    file.seek(max(at, size - 4096))
    return size if file.read().rstrip(b"\0").endswith(_XZ_END) else size + 1
