"""A tar archive whose file data the copy workers bring in, kernel to kernel.

The headers are the work of Python's tarfile: GNU's format (tar(5), "GNU tar Archives"), and a pax
header before an entry that has xattrs (`SCHILY.xattr`) or holes ("PAX Format, Version 1.0" in the
GNU tar manual, "Storing Sparse Files").
"""

import os
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from tarfile import BLOCKSIZE, TarInfo
from typing import Self

from assembler.copying.sender import NO_HASHING, DataSender, Hashing
from assembler.errors import HostError, reason
from assembler.host.progress import Step
from assembler.tree.tree import Directory, Node, Sparse, Xattrs
from assembler.units import MIB, round_up

RECORD = MIB  # bytes: what tar reads at once; the archive is a whole number of them
_END = 2 * BLOCKSIZE  # bytes of zeros that end an archive


class Archive:
    """A new archive at `path`; a context manager, after which all but the last file is in it.

    That one is `hashing.last`, which `sender.send_last` adds. Entry names are relative to the top,
    which is `b"."`. Raises HostError when the disk is full or a file cannot be read.
    """

    def __init__(self, path: Path, step: Step, hashing: Hashing = NO_HASHING) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._position = 0
        try:
            self.sender = DataSender(path, step, hashing)
            self.sender.__enter__()
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        try:
            self.sender.__exit__(kind, *error)
            if kind is None:
                os.ftruncate(self._file, round_up(self._position + _END, RECORD))
        finally:
            os.close(self._file)

    def directory(self, name: bytes, directory: Directory) -> None:
        """Add a directory without what it holds."""
        self._header(name, tarfile.DIRTYPE, directory)

    def link(self, name: bytes, first: bytes, node: Node) -> None:
        """Add one more name for what is, when it is extracted, at `first`."""
        self._header(name, tarfile.LNKTYPE, node._replace(xattrs=()), target=first)

    def symlink(self, name: bytes, node: Node) -> None:
        """Add a symbolic link."""
        self._header(name, tarfile.SYMTYPE, node, target=node.target)

    def regular(self, name: bytes, node: Node, source: bytes) -> None:
        """Add a file; `source` is the host file that its data comes from."""
        data = node.data
        if isinstance(data, bytes):
            self._header(name, tarfile.REGTYPE, node, size=node.size)
            self._put(data)
        elif isinstance(data, Sparse):
            self._sparse(name, node, data, source)
        else:
            self._header(name, tarfile.REGTYPE, node, size=node.size)
            self._send(node, source, [(0, node.size)] if node.size else [])
        self._position = round_up(self._position, BLOCKSIZE)

    def _sparse(self, name: bytes, node: Node, data: Sparse, source: bytes) -> None:
        # The map's last entry, which may be empty, ends where the file does.
        segments = [*data.segments]
        if not segments or sum(segments[-1]) < node.size:
            segments.append((node.size, 0))
        numbers = [len(segments), *(number for segment in segments for number in segment)]
        text = "".join(f"{number}\n" for number in numbers).encode()
        text += bytes(-len(text) % BLOCKSIZE)
        size = len(text) + sum(length for _, length in segments)
        about = {
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.name": _text(name),
            "GNU.sparse.realsize": str(node.size),
        }
        self._header(b"GNUSparseFile.0", tarfile.REGTYPE, node, size=size, pax=about)
        self._put(text)
        self._send(node, source, data.segments)

    def _header(
        self,
        name: bytes,
        kind: bytes,
        node: Node | Directory,
        *,
        size: int = 0,
        target: bytes = b"",
        pax: Mapping[str, str] | None = None,
    ) -> None:
        info = TarInfo(_text(name))
        info.type, info.size, info.linkname = kind, size, _text(target)
        info.mode, info.uid, info.gid, info.mtime = node.mode, node.uid, node.gid, node.mtime
        info.pax_headers = {**(pax or {}), **_xattr_headers(node.xattrs)}
        if info.pax_headers:
            self._put(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))
        else:
            self._put(info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))

    def _put(self, data: bytes) -> None:
        try:
            written = os.pwrite(self._file, data, self._position)
        except OSError as error:
            raise HostError(f"writing the payload: {reason(error)}") from None
        if written != len(data):
            raise HostError("writing the payload: the disk that holds it is full")
        self._position += len(data)

    def _send(self, node: Node, source: bytes, segments: Iterable[tuple[int, int]]) -> None:
        """Add those parts of a file that hold data."""
        runs = []
        for start, length in segments:
            runs.append((start, length, self._position))
            self._position += length
        self.sender.send(node, source, runs)


def _text(name: bytes) -> str:
    """Bytes as the text that tarfile writes as these bytes."""
    return name.decode("utf-8", "surrogateescape")


def _xattr_headers(xattrs: Xattrs) -> dict[str, str]:
    """Pax records for xattrs; in their names GNU tar (src/xheader.c) escapes two characters."""
    return {
        f"SCHILY.xattr.{name.replace('%', '%25').replace('=', '%3D')}": _text(value)
        for name, value in xattrs
    }
