"""NAR, Nix's archive format: reads one as it arrives, and makes the framing to write one.

Source: "Nix Archive (NAR) format" in the Nix manual, and libutil/archive.cc in Nix. Everything is
strings: a 64-bit little-endian length, the bytes, and zeros up to a multiple of 8.
"""

import struct
from typing import Protocol

from assembler.store.stream import Stream
from assembler.units import NAME_MAX

_U64 = struct.Struct("<Q")
_TARGET_MAX = 4095  # bytes of a symlink's target: PATH_MAX with its NUL


def string(text: bytes) -> bytes:
    """A string as a NAR has it."""
    return _U64.pack(len(text)) + text + bytes(-len(text) % 8)


HEADER = string(b"nix-archive-1")
DIRECTORY = string(b"(") + string(b"type") + string(b"directory")
END = string(b")")  # of a node, and of a directory's entry
_REGULAR = string(b"(") + string(b"type") + string(b"regular")
_EXECUTABLE = string(b"executable") + string(b"")
_CONTENTS = string(b"contents")
_SYMLINK = string(b"(") + string(b"type") + string(b"symlink") + string(b"target")
_ENTRY = string(b"entry") + string(b"(") + string(b"name")
_NODE = string(b"node")


def entry(name: bytes) -> bytes:
    """What comes before the node of a directory's entry; END comes after it."""
    return _ENTRY + string(name) + _NODE


def regular(size: int, *, executable: bool) -> bytes:
    """What comes before the `size` bytes of a file."""
    return _REGULAR + (_EXECUTABLE if executable else b"") + _CONTENTS + _U64.pack(size)


def regular_end(size: int) -> bytes:
    """What comes after the `size` bytes of a file."""
    return bytes(-size % 8) + END


def symlink(target: bytes) -> bytes:
    """A symbolic link."""
    return _SYMLINK + string(target) + END


class Sink(Protocol):
    """Takes the entries of a NAR, in its order; `name` is empty for the top."""

    def enter(self, name: bytes) -> None:
        """A directory begins."""

    def leave(self) -> None:
        """The directory that was entered last ends."""

    def regular(self, name: bytes, size: int, stream: Stream, *, executable: bool) -> None:
        """A file, whose `size` bytes the sink may take from the stream; the rest is skipped."""

    def symlink(self, name: bytes, target: bytes) -> None:
        """A symbolic link."""


def read_nar(stream: Stream, sink: Sink) -> None:
    """Take one NAR from the stream, in the only form that Nix writes.

    Raises StreamError at the first byte that is wrong.
    """
    stream.expect(HEADER, "a NAR")
    last: list[bytes] = []  # for each open directory the name of its latest entry
    name = b""
    while True:
        if _take_node(stream, sink, name):
            last.append(b"")
        elif last:
            stream.expect(END, "the end of an entry")
        while last and not stream.looking_at(_ENTRY):
            stream.expect(END, "an entry, or the end of a directory")
            sink.leave()
            last.pop()
            if last:
                stream.expect(END, "the end of an entry")
        if not last:
            return
        name = last[-1] = _take_name(stream, last[-1])


def _take_node(stream: Stream, sink: Sink, name: bytes) -> bool:
    """Take a file, a symlink, or the start of a directory; returns whether it is a directory."""
    if stream.looking_at(_REGULAR):
        stream.expect(_REGULAR, "a file")
        _take_regular(stream, sink, name)
        return False
    if stream.looking_at(_SYMLINK):
        stream.expect(_SYMLINK, "a symlink")
        _take_symlink(stream, sink, name)
        return False
    stream.expect(DIRECTORY, "a file, a symlink or a directory")
    sink.enter(name)
    return True


def _take_regular(stream: Stream, sink: Sink, name: bytes) -> None:
    executable = stream.looking_at(_EXECUTABLE)
    if executable:
        stream.expect(_EXECUTABLE, "a flag")
    stream.expect(_CONTENTS, "the contents of a file")
    size = stream.number()
    end = stream.position + size
    sink.regular(name, size, stream, executable=executable)
    stream.skip(end - stream.position)
    stream.expect(regular_end(size), "the end of a file")


def _take_symlink(stream: Stream, sink: Sink, name: bytes) -> None:
    target = stream.string("a symlink's target", _TARGET_MAX)
    if not target or b"\0" in target:
        raise stream.error("is no symlink's target")
    stream.expect(END, "the end of a symlink")
    sink.symlink(name, target)


def _take_name(stream: Stream, before: bytes) -> bytes:
    """The name of an entry, after the entry with the name `before`."""
    stream.expect(_ENTRY, "an entry")
    name = stream.string("a file name", NAME_MAX)
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        raise stream.error(f"is no file name: {name!r}")
    if name <= before:
        raise stream.error(f"is out of order: {name!r} after {before!r}")
    stream.expect(_NODE, "a node")
    return name
