"""SHA-256 of output files, and the file in which `sha256sum -c` finds it.

Source of the lines: coreutils, "md5 invocation", and print_filename in src/digest.c.
"""

import hashlib
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from assembler.host.regular import open_file
from assembler.units import MIB

_NAME = "SHA256SUMS"
_LARGEST = 64 * MIB  # bytes of such a file
_LINE = re.compile(
    rb"(?P<escaped>\\?)"
    rb"(?:[0-9a-fA-F]{64} [ *](?P<name>.+)|SHA256 \((?P<tagged>.+)\) = [0-9a-fA-F]{64})"
)
_ESCAPES = {b"\\": rb"\\", b"\n": rb"\n", b"\r": rb"\r"}
_MEANINGS = {escape: byte for byte, escape in _ESCAPES.items()}
_CHUNK = 4 << 20  # bytes
_PAUSE = 0.05  # seconds between two looks at a file that has not grown


class Hasher:
    """Hashes a file that is written from its start to its end; a context manager.

    `digest` is there when the block has ended, at which time the file must be complete.
    """

    def __init__(self, file: Path) -> None:
        self._file = file.open("rb", buffering=0)
        self._complete = threading.Event()
        self._pool = ThreadPoolExecutor(max_workers=1)

    def _follow(self) -> str:
        found, buffer = hashlib.sha256(), memoryview(bytearray(_CHUNK))
        while True:
            complete = self._complete.is_set()
            while count := self._file.readinto(buffer):
                found.update(buffer[:count])
            if complete:
                return found.hexdigest()
            self._complete.wait(_PAUSE)

    @property
    def digest(self) -> str:
        """The sum in hexadecimal digits; raises OSError if the file could not be read."""
        return self._digest.result()

    def __enter__(self) -> "Hasher":
        self._digest = self._pool.submit(self._follow)
        return self

    def __exit__(self, *_: object) -> None:
        self._complete.set()
        self._pool.shutdown()
        self._file.close()


def sums_beside(out: Path) -> Path:
    """Where the sums of files in the directory of `out` are."""
    return out.with_name(_NAME)


def read_sums(sums: Path) -> list[bytes]:
    """The lines of such a file, none if there is no file; raises OSError."""
    try:
        with open_file(sums) as file:
            content = file.read(_LARGEST + 1)
    except FileNotFoundError:
        return []
    if len(content) > _LARGEST:
        raise OSError(0, "it is too large for a list of check sums", sums)
    return content.removesuffix(b"\n").split(b"\n") if content else []


def changed_sums(lines: list[bytes], old: set[str], new: dict[str, str]) -> list[bytes]:
    """Lines without those of the files `old`, and with the digests of the files `new`.

    The other lines stay as they are, in their order.
    """
    kept = [line for line in lines if _file_of(line) not in {*map(os.fsencode, old)}]
    return [*kept, *(_line(os.fsencode(name), digest) for name, digest in new.items())]


def _line(name: bytes, digest: str) -> bytes:
    escaped = re.sub(rb"[\\\n\r]", lambda found: _ESCAPES[found[0]], name)
    mark = b"\\" if escaped != name else b""
    return mark + digest.encode() + b"  " + escaped


def _file_of(line: bytes) -> bytes | None:
    """The file whose sum is in a line, plain or by --tag; None if there is none."""
    if (found := _LINE.fullmatch(line)) is None:
        return None
    name = found["name"] or found["tagged"]
    if found["escaped"]:
        name = re.sub(rb"\\.", lambda escape: _MEANINGS.get(escape[0], escape[0]), name)
    return name.removeprefix(b"./")
