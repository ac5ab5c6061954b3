"""Closure sources: find out from a file's content what it is, and read its registration."""

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
_START = 64  # bytes at the start of a file that identify it
# First bytes of compressed files (magic(5)), and the programs that decompress them.
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
}

# Returns a receiver for an export; the path allows reading it again, None means a pipe.
Receive = Callable[[Path | None], Receiver]


class ReceivingStore(Store, Protocol):
    """A Store that also takes the files of exports."""

    @property
    def in_exports(self) -> set[str]:
        """The store paths whose files are in an export file."""

    @property
    def unpacked(self) -> set[str]:
        """The store paths that were unpacked from a pipe, and hashed."""

    def receive(self, path: Path | None) -> Receiver:
        """A receiver for an export; see `Receive`."""


def read_source(source: Path, receive: Receive) -> list[PathInfo]:
    """Read a closureInfo directory, a registration, a graph, structured attributes or an export.

    `-` is standard input. Raises RequestError for a file that is none of these, or wrong, and
    HostError for one that cannot be read.
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
    """Whether a source is an export, which has files in it, or a pipe, which may be one."""
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
        return False  # reading it reports the error


@contextmanager
def _opened(source: Path, file: Path) -> Iterator[int]:
    """A file descriptor for a source, closed at the end unless it is standard input."""
    if source == STANDARD_INPUT:
        yield 0
        return
    try:
        # A pipe in a closureInfo directory would have no writer.
        handle = os.open(file, _READ) if file == source else open_regular(file)
    except OSError as error:
        raise RequestError(f"cannot read the closure {file}: {error.strerror}") from None
    try:
        yield handle
    finally:
        os.close(handle)


def _lasting(handle: int, source: Path, file: Path) -> Path | None:
    """A path at which each of our processes can open the file `handle` again; None for none.

    /dev/stdin and the like are another file in each process. A file may also be passed to us open,
    though we may not open it ourselves, or though it has no name any more.
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
    """Raise RequestError for a file whose `start` shows that it is no source."""
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
    """Read a registration in JSON or in lines."""
    if content.removeprefix(codecs.BOM_UTF8).lstrip()[:1] in (b"{", b"["):
        return parse_json(content, name)
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise RequestError(f"{name} is not a registration: it is not text") from None
    if not text:
        raise RequestError(f"{name} is not a registration: it is empty")
    # The second line of a registration is a hash, that of a graph a deriver, which may be empty.
    second = text.split("\n", 2)[1:2] or ["none"]
    graph = second[0] == "" or second[0].startswith(STORE)
    return registration.parse_registration(text, name, hashes=not graph)
