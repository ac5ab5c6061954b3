"""NARs and Trees: a NAR's entries as a Tree, and the size of the NAR that a Tree would make."""

import hashlib
import stat
from typing import NamedTuple

from assembler.errors import RequestError
from assembler.store import nar
from assembler.store.stream import Stream
from assembler.tree.tree import Data, Directory, Node, Slice

_DIRECTORY_SIZE = len(nar.DIRECTORY) + len(nar.END)
_SYMLINK_SIZE = len(nar.symlink(b""))
_REGULAR_SIZES = {
    executable: len(nar.regular(0, executable=executable)) + len(nar.regular_end(0))
    for executable in (False, True)
}
_ENTRY_SIZE = len(nar.entry(b"")) + len(nar.END)


def nar_size(top: Directory | Node) -> int:
    """Bytes of the NAR of a store path."""
    size = len(nar.HEADER)
    pending = [top]
    while pending:
        node = pending.pop()
        if isinstance(node, Directory):
            size += _DIRECTORY_SIZE
            for name, child in node.children.items():
                size += _ENTRY_SIZE + _padded(len(name))
                pending.append(child)
        elif node.kind == stat.S_IFLNK:
            size += _SYMLINK_SIZE + _padded(node.size)
        else:
            size += _REGULAR_SIZES[bool(node.mode & 0o100)] + _padded(node.size)
    return size


def _padded(length: int) -> int:
    return length + -length % 8


class Range(NamedTuple):
    """Where a NAR is in a host file: offset and length in bytes."""

    file: str
    start: int
    length: int

    def digest(self) -> str:
        """The SHA-256 in hexadecimal; raises OSError."""
        with open(self.file, "rb") as file:
            file.seek(self.start)
            stream, state = Stream(file.fileno()), hashlib.sha256()
            for piece in stream.pieces(self.length):
                state.update(piece)
        return state.hexdigest()


class Indexer:
    """Makes Trees of the NARs in an export file; the data of files stays in that file.

    A `Receiver` (store/export.py). Fills `trees` and `ranges`, by store path: its files, and where
    its NAR is. `path` is the export file on the host.
    """

    def __init__(
        self, path: str, trees: dict[str, Directory | Node], ranges: dict[str, Range]
    ) -> None:
        self._path, self._trees, self._ranges = path, trees, ranges
        self._start = self._end = 0
        self._open: list[Directory] = []
        self._top: Directory | Node | None = None

    def begin(self, stream: Stream) -> None:
        """A NAR comes next."""
        self._open, self._top = [], None
        self._start = stream.position

    def end(self, stream: Stream) -> None:
        """The NAR has ended."""
        self._end = stream.position

    def finish(self, path: str) -> tuple[str | None, int]:
        """The NAR was this store path; returns its hash, if it is known, and its size.

        If another export has the path, too, both are hashed. Raises RequestError if the hashes
        differ.
        """
        assert self._top is not None
        here = Range(self._path, self._start, self._end - self._start)
        before = self._ranges.setdefault(path, here)
        if before is not here:
            known, found = before.digest(), here.digest()
            if known != found:
                raise RequestError(
                    f"{path} is in two exports with two hashes: sha256:{known} in {before.file} "
                    f"and sha256:{found} in {here.file}"
                )
            return known, here.length
        self._trees[path] = self._top
        return None, here.length

    def enter(self, name: bytes) -> None:
        """A directory begins."""
        directory = Directory(0o555)
        self._add(name, directory)
        self._open.append(directory)

    def leave(self) -> None:
        """The directory ends."""
        self._open.pop()

    def regular(self, name: bytes, size: int, stream: Stream, *, executable: bool) -> None:
        """A file; its bytes come next in the stream."""
        mode = 0o555 if executable else 0o444
        data: Data = Slice(self._path, stream.position)
        self._add(name, Node(stat.S_IFREG, mode, size, data))

    def symlink(self, name: bytes, target: bytes) -> None:
        """A symbolic link."""
        self._add(name, Node(stat.S_IFLNK, 0o777, len(target), target))

    def _add(self, name: bytes, node: Directory | Node) -> None:
        if self._open:
            self._open[-1].children[name] = node
        else:
            self._top = node
