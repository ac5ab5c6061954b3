"""Decompress zstd with the system's libzstd, where there is one, called without a compiler.

Source: zstd.h of Zstandard 1.4 and later, "Streaming decompression".
"""

from functools import cache
from typing import Any

from assembler.errors import HostError
from assembler.host.shared_objects import LIBZSTD, load_library

_DECLARATIONS = """
typedef struct { const void *src; size_t size; size_t pos; } ZSTD_inBuffer;
typedef struct { void *dst; size_t size; size_t pos; } ZSTD_outBuffer;
void *ZSTD_createDStream(void);
size_t ZSTD_freeDStream(void *);
size_t ZSTD_decompressStream(void *, ZSTD_outBuffer *, ZSTD_inBuffer *);
unsigned ZSTD_isError(size_t);
const char *ZSTD_getErrorName(size_t);
"""


class ZstdError(ValueError):
    """Data does not decompress: why, in the library's words."""


class ZstdDecompressor:
    """Decompresses one frame; used as those of Python's modules bz2 and lzma are.

    The library takes at most 128 MiB of memory for it, and refuses frames that need more.
    """

    def __init__(self) -> None:
        self.eof = False
        self.needs_input = True
        self.unused_data = b""
        self._ffi, self._lib = _library()
        self._stream = self._ffi.gc(self._lib.ZSTD_createDStream(), self._lib.ZSTD_freeDStream)
        self._rest = b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most `max_length` bytes of what comes next; raises ZstdError."""
        given = self._rest + data
        source = self._ffi.from_buffer(given)
        target = bytearray(max_length)
        there = self._ffi.new("ZSTD_inBuffer *", {"src": source, "size": len(given), "pos": 0})
        out = {"dst": self._ffi.from_buffer(target), "size": max_length, "pos": 0}
        here = self._ffi.new("ZSTD_outBuffer *", out)
        status = self._lib.ZSTD_decompressStream(self._stream, here, there)
        if self._lib.ZSTD_isError(status):
            words = self._ffi.string(self._lib.ZSTD_getErrorName(status)).decode()
            raise ZstdError(words)
        self._rest = given[there.pos :]
        self.eof = status == 0
        self.needs_input = not self._rest and here.pos < max_length
        if self.eof:
            self.unused_data, self._rest = self._rest, b""
        return bytes(target[: here.pos])


def is_available() -> bool:
    """Whether this host has the library."""
    return _library() is not None


@cache
def _library() -> Any:
    try:
        return load_library(LIBZSTD, _DECLARATIONS)
    except HostError:
        return None
