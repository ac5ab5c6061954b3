"""What `nix-store --export` writes: store paths with their references, one after another.

Source: libstore/export-import.cc in Nix. For each path the number 1, a NAR, a mark, the path, its
references, its deriver, and the number 0, or 1 and a signature; after the last path the number 0.
"""

import os
from typing import Protocol

from assembler.errors import RequestError
from assembler.store import nar
from assembler.store.paths import is_store_path
from assembler.store.registration import PathInfo
from assembler.store.stream import Stream, StreamError

_MORE = (1).to_bytes(8, "little")
_NO_MORE = bytes(8)
_MARK = (0x4558494E).to_bytes(8, "little")
_PATH_MAX = 4095  # bytes
_MAX_REFERENCES = 1 << 20
_EMPTY = nar.string(b"")
_SIGNATURE_MAX = 1 << 16  # bytes, far more than any has


def is_export(start: bytes) -> bool:
    """Whether a file that starts with these bytes is an export, or the beginning of one."""
    usual = _MORE + nar.HEADER
    return start.startswith((usual, _NO_MORE)) or (start != b"" and usual.startswith(start))


class Receiver(nar.Sink, Protocol):
    """Takes the files of an export, and after each NAR the store path that it is."""

    def begin(self, stream: Stream, /) -> None:
        """A NAR comes next."""

    def end(self, stream: Stream, /) -> None:
        """The NAR has ended; its store path comes later."""

    def finish(self, path: str) -> tuple[str | None, int | None]:
        """The NAR that was read is this store path.

        Returns the hash (hexadecimal SHA-256) and the size of the NAR, where known.
        """


def read_export(stream: Stream, name: str, receiver: Receiver) -> list[PathInfo]:
    """Read an export, which messages call `name`, and pass its files to `receiver`.

    Raises RequestError, with the byte and the store path, for an export that is cut short or wrong;
    OSError when it cannot be read; and what the receiver raises.
    """
    infos: list[PathInfo] = []
    try:
        while not stream.looking_at(_NO_MORE):
            stream.expect(_MORE, "one more store path, or the end of the export")
            receiver.begin(stream)
            nar.read_nar(stream, receiver)
            receiver.end(stream)
            infos.append(_take_info(stream, receiver))
        stream.expect(_NO_MORE, "the end of the export")
        if not stream.at_end():
            raise stream.error(
                "is after the end of the export; exports cannot be joined, but a closure can have "
                "several sources"
            )
    except StreamError as error:
        after = f", which follows {infos[-1].path}" if infos else ""
        raise RequestError(f"{name}: {error}: store path {len(infos) + 1}{after}") from None
    return infos


def _take_info(stream: Stream, receiver: Receiver) -> PathInfo:
    stream.expect(_MARK, "the mark after a NAR")
    path = _take_path(stream)
    nar_hash, nar_size = receiver.finish(path)
    count = stream.number()
    if count > _MAX_REFERENCES:
        raise stream.error(f"is after an unlikely number of references, {count}")
    references = tuple(_take_path(stream) for _ in range(count))
    if stream.looking_at(_EMPTY):
        stream.expect(_EMPTY, "the deriver")
    else:
        _take_path(stream)
    # Nix 1 could sign an export, and Nix still ignores such a signature.
    if stream.looking_at(_MORE):
        stream.expect(_MORE, "a signature")
        stream.string("a signature", _SIGNATURE_MAX)
    else:
        stream.expect(_NO_MORE, "the end of a store path")
    return PathInfo(path, nar_hash, nar_size, references)


def _take_path(stream: Stream) -> str:
    text = os.fsdecode(stream.string("a store path", _PATH_MAX))
    if not is_store_path(text):
        raise stream.error(f"is after {text!r}, which is not a store path")
    return text
