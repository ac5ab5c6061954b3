"""SHA-256 of an output file, computed while another program writes the file."""

import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_NAME = "SHA256SUMS"
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


def with_sums(sums: Path, digests: dict[str, str]) -> bytes:
    """The content of a file for `sha256sum -c`: what is there of other files, and `digests`.

    The keys are names of files. Raises OSError.
    """
    kept = _others(_lines(sums), {*digests})
    new = [os.fsencode(f"{digest}  {name}") for name, digest in digests.items()]
    return _joined([*kept, *new])


def without_sums(sums: Path, names: set[str]) -> bytes | None:
    """The content of such a file without the lines of `names`; None if it has none of them.

    Raises OSError.
    """
    lines = _lines(sums)
    kept = _others(lines, names)
    return None if kept == lines else _joined(kept)


def _lines(sums: Path) -> list[bytes]:
    return sums.read_bytes().splitlines() if sums.exists() else []


def _others(lines: list[bytes], names: set[str]) -> list[bytes]:
    """The lines that are not about files of these names."""
    return [line for line in lines if os.fsdecode(line[66:]) not in names]


def _joined(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in sorted(lines, key=lambda line: line[66:]))
