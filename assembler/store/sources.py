"""Closure sources: what a `--closure` is, told by its content, and what it registers."""

import codecs
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from assembler.errors import HostError, Message, RequestError, Setting, reason
from assembler.host.regular import open_regular
from assembler.store import nar, registration
from assembler.store.attributes import parse_json
from assembler.store.export import Receiver, is_export, read_export
from assembler.store.paths import STORE, Store
from assembler.store.registration import PathInfo
from assembler.store.stream import Stream

STANDARD_INPUT = Path("-")
_READ = os.O_RDONLY | os.O_CLOEXEC
_START = 64  # bytes that tell what a file is
# What compressed files start with (magic(5)), and what takes them apart.
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
}

# Makes the receiver of an export's files out of the path at which they can be read again, by
# position; None for a pipe, where they cannot.
Receive = Callable[[Path | None], Receiver]


class ReceivingStore(Store, Protocol):
    """Where the files of a closure are, those of exports among them."""

    @property
    def held(self) -> set[str]:
        """The store paths whose files are in an export that stays as it is."""

    @property
    def unpacked(self) -> set[str]:
        """The store paths that were unpacked, and hashed, while an export was read."""

    def receive(self, path: Path | None) -> Receiver:
        """Who takes the files of an export; see `Receive`."""


def read_source(source: Path, receive: Receive) -> list[PathInfo]:
    """Read a closureInfo directory, a registration, a graph, structured attributes or an export.

    `-` is standard input. Raises RequestError for what is none of these, or wrong, and HostError
    for what cannot be read.
    """
    if source == STANDARD_INPUT:
        name, file = "standard input", Path(f"/proc/{os.getpid()}/fd/0")
    else:
        file = source / "registration" if os.path.isdir(source) else source
        name = str(file)
    with _opened(source, file) as handle:
        try:
            stream = Stream(handle)
            if is_export(stream.peek(_START)):
                lasting = _lasting(handle, source, file) if stream.seekable else None
                infos = read_export(stream, name, receive(lasting))
            else:
                _refuse(stream.peek(_START), name)
                infos = _parse(stream.rest(), name)
        except OSError as error:
            raise HostError(f"cannot read {name}: {reason(error)}") from None
    if not infos:
        raise RequestError(f"{name} registers no store path")
    counts = Counter(info.path for info in infos)
    if twice := [path for path in counts if counts[path] > 1]:
        raise RequestError([f"{name}: {path} is there twice" for path in twice])
    return infos


def brings_files(source: Path) -> bool:
    """Whether a source is, or may turn out to be, an export, which has the files in it."""
    if source == STANDARD_INPUT:
        return True
    if os.path.isdir(source):
        return False
    if not os.path.isfile(source):
        return os.path.exists(source)  # a pipe
    try:
        with source.open("rb") as file:
            return is_export(file.read(_START))
    except OSError:
        return False  # told when it is read


@contextmanager
def _opened(source: Path, file: Path) -> Iterator[int]:
    """A file descriptor for a source, closed in the end unless it is standard input."""
    if source == STANDARD_INPUT:
        yield 0
        return
    try:
        # What is in a directory is no pipe that somebody writes to for us.
        handle = os.open(file, _READ) if file == source else open_regular(file)
    except OSError as error:
        raise RequestError(f"cannot read the closure {file}: {error.strerror}") from None
    try:
        yield handle
    finally:
        os.close(handle)


def _lasting(handle: int, source: Path, file: Path) -> Path | None:
    """Where all processes of ours can open once more what is open as `handle`; None for nowhere.

    /dev/stdin and the like mean something else in each process, and a file may be given to us
    that we may not open ourselves, or that has no name any more.
    """
    candidates = [Path(os.path.realpath(file)), *([file] if source == STANDARD_INPUT else [])]
    for candidate in candidates:
        try:
            if os.path.samestat(os.fstat(handle), os.stat(candidate)):
                os.close(os.open(candidate, _READ))
                return candidate
        except OSError:
            continue
    return None


def _refuse(start: bytes, name: str) -> None:
    """Raise RequestError for a file, of which this is the start, that need not be read."""
    for magic, program in _COMPRESSED.items():
        if start.startswith(magic):
            how = f"{name} is compressed: let `{program} -dc` write it to "
            raise RequestError(Message(how, Setting("closures", STANDARD_INPUT)))
    if start.startswith(nar.HEADER):
        raise RequestError(
            f"{name} is a NAR, which names no store path: take what `nix-store --export` writes"
        )
    if b"\0" in start:
        raise RequestError(f"{name} is not a registration: it is not text")


def _parse(content: bytes, name: str) -> list[PathInfo]:
    """The registration that a text is."""
    if content.removeprefix(codecs.BOM_UTF8).lstrip()[:1] in (b"{", b"["):
        return parse_json(content, name)
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise RequestError(f"{name} is not a registration: it is not text") from None
    if not text:
        raise RequestError(f"{name} is not a registration: it is empty")
    # Second in a registration is a hash, in a graph the deriver, which may be empty.
    second = text.split("\n", 2)[1:2] or ["none"]
    graph = second[0] == "" or second[0].startswith(STORE)
    return registration.parse(text, name, hashes=not graph)
