"""Find the ends of compressed data, decompressing it wherever this can be done.

What is decompressed is thrown away at once, and there is a limit to it: the data may be damaged, or
made to do harm. Formats: RFC 1952 (gzip), RFC 8878 (zstd), lib/decompress_unlz4.c in Linux (LZ4).
"""

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import BinaryIO, NamedTuple, Protocol

from assembler.binaries.zstd import ZstdDecompressor, ZstdError, is_available

_CHUNK = 1 << 20
_MAX_UNPACKED = 4 << 30  # bytes: more than any machine unpacks into its memory when it boots
_MAX_BLOCKS = 1 << 20  # of at most 128 KiB or 8 MiB
_XZ_MEMORY = 300 << 20  # bytes: the decoder's; Linux allows for dictionaries of 128 MiB

GZIP = (b"\x1f\x8b", b"\x1f\x9e")
ZSTD = b"\x28\xb5\x2f\xfd"
XZ = b"\xfd7zXZ\0"
BZIP2 = b"BZh"
LZMA = b"\x5d\0\0"
LZ4 = b"\x02\x21\x4c\x18"
LZO = b"\x89LZO\0"


class PayloadError(ValueError):
    """It is not what it should be, or not whole: in a few words, without its name."""


class Unpacked(NamedTuple):
    """Where compressed data ended, and how many bytes came out; None where that is not known."""

    end: int  # beyond the end of the file where more should have come
    size: int | None


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


Unpack = Callable[[BinaryIO, int, int], Unpacked]


def unpacker(magic: bytes) -> Unpack | None:
    """What unpacks data that begins with `magic`, of 8 bytes: from a place on, in a file of a size.

    None for a beginning that Linux's kernel does not support. It raises PayloadError.
    """
    if magic.startswith(GZIP):
        return _unpack_gzip
    for begin, unpack in _UNPACKERS.items():
        if magic.startswith(begin):
            return unpack
    return None


def _drain(file: BinaryIO, at: int, size: int, decompressor: _Decompressor) -> Unpacked:
    file.seek(at)
    count = 0
    try:
        while not decompressor.eof:
            chunk = file.read(_CHUNK) if decompressor.needs_input else b""
            if not chunk and decompressor.needs_input:
                return Unpacked(size + 1, None)
            count += len(decompressor.decompress(chunk, _CHUNK))
            if count > _MAX_UNPACKED:
                raise PayloadError(f"it decompresses to more than {_MAX_UNPACKED >> 30} GiB")
    except (zlib.error, lzma.LZMAError, ZstdError, OSError, EOFError) as error:
        raise PayloadError(f"it does not decompress: {error}") from None
    return Unpacked(file.tell() - len(decompressor.unused_data), count)


class _Gzip:
    """zlib's decompressor, used as those of the other modules."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail or data, max_length)


def _unpack_gzip(file: BinaryIO, at: int, size: int) -> Unpacked:
    return _drain(file, at, size, _Gzip())


def _unpack_xz(file: BinaryIO, at: int, size: int) -> Unpacked:
    return _drain(file, at, size, lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY))


def _unpack_lzma(file: BinaryIO, at: int, size: int) -> Unpacked:
    return _drain(file, at, size, lzma.LZMADecompressor(lzma.FORMAT_ALONE, _XZ_MEMORY))


def _unpack_bzip2(file: BinaryIO, at: int, size: int) -> Unpacked:
    return _drain(file, at, size, bz2.BZ2Decompressor())


def _unpack_zstd(file: BinaryIO, at: int, size: int) -> Unpacked:
    if is_available():
        return _drain(file, at, size, ZstdDecompressor())
    return _zstd_end(file, at, size)


def _zstd_end(file: BinaryIO, at: int, size: int) -> Unpacked:
    """The end of a zstd frame (3.1.1), by the sizes of its blocks."""
    file.seek(at + 4)
    descriptor = file.read(1)
    if not descriptor:
        return Unpacked(size + 1, None)
    flags = descriptor[0]
    single = flags >> 5 & 1
    content_size = (single, 2, 4, 8)[flags >> 6]
    at += 5 + (1 - single) + (0, 1, 2, 4)[flags & 3] + content_size
    for _ in range(_MAX_BLOCKS):
        file.seek(at)
        header = file.read(3)
        if len(header) < 3:
            return Unpacked(size + 1, None)
        block = int.from_bytes(header, "little")
        last, kind = bool(block & 1), block >> 1 & 3
        if kind == 3:
            raise PayloadError(f"its zstd frame is damaged at byte {at}")
        at += 3 + (1 if kind == 1 else block >> 3)
        if last:
            return Unpacked(at + 4 * (flags >> 2 & 1), None)
    raise PayloadError(f"its zstd frame has more than {_MAX_BLOCKS} blocks")


def _lz4_end(file: BinaryIO, at: int, size: int) -> Unpacked:
    """The end of LZ4's legacy frame, whose blocks go on to the end of the file."""
    at += len(LZ4)
    for _ in range(_MAX_BLOCKS):
        file.seek(at)
        header = file.read(4)
        block = int.from_bytes(header, "little")
        # The build of a kernel puts the size of what was compressed behind the last block.
        if len(header) < 4 or at + 4 == size or block == 0:
            return Unpacked(at if len(header) in (0, 4) else size + 1, None)
        at += 4 if header == LZ4 else 4 + block
    raise PayloadError(f"it has more than {_MAX_BLOCKS} blocks of LZ4")


_UNPACKERS: dict[bytes, Unpack] = {
    ZSTD: _unpack_zstd,
    XZ: _unpack_xz,
    BZIP2: _unpack_bzip2,
    LZMA: _unpack_lzma,
    LZ4: _lz4_end,
    LZO: lambda _file, _at, size: Unpacked(size, None),
}
