"""Sends the data of a Tree's files into an image, and hashes store paths on the way.

Both writers of images use it: they go through a Tree in the order of a NAR (tree.visit), and call
here for each entry that begins, for its data, and for each entry that ends.
"""

import os
import stat
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from assembler.copying.copier import Copier
from assembler.host.progress import Step
from assembler.store.paths import STORE
from assembler.tree import nar_digest
from assembler.tree.tree import Directory, Node, segments, start_of

_HASHING = 2  # processes that hash, each one store path at a time

Run = tuple[int, int, int]  # offset in the file, length, offset in the image: all bytes


@dataclass(frozen=True, slots=True)
class Hashing:
    """Which store paths to hash while their files are copied, and what waits for the hashes.

    `last` is a host file, as the Nix database: it has its size, but gets its bytes only when the
    hashes are known. It is copied after all other files.
    """

    paths: frozenset[str] = frozenset()
    last: Path | None = None


NO_HASHING = Hashing()


class DataSender:
    """Sends data into one image; a context manager, at whose end all data but the last is there.

    `hashes` then has store path → hexadecimal SHA-256 of its NAR; call `send_last` after that.
    """

    def __init__(self, image: Path, step: Step, hashing: Hashing) -> None:
        self._image, self._step, self._paths = image, step, hashing.paths
        self._last = b"" if hashing.last is None else os.fsencode(hashing.last)
        self._last_runs: list[Run] = []
        self._depth = 0  # how deep below a store path that is hashed; 0 outside of any
        self._workers = ExitStack()
        self.hashes: dict[str, str] = {}

    def __enter__(self) -> Self:
        with ExitStack() as workers:
            self._copier = workers.enter_context(Copier(self._image, self._step))
            # Each has a pipe of its own, for a hash is made in order.
            self._hashers = [
                workers.enter_context(Copier(self._image, self._step, workers=1))
                for _ in range(_HASHING if self._paths else 0)
            ]
            self._workers = workers.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._workers.__exit__(*error)  # type: ignore[arg-type]
        for hasher in self._hashers:
            self.hashes |= hasher.hashes

    def begin(self, name: bytes, node: Directory | Node, *, store_path: bool) -> None:
        """An entry begins: a directory with everything below it, a file, or a symlink.

        `store_path`: whether it is an entry of the store itself.
        """
        top = self._depth == 0
        if top:
            if not store_path or (path := f"{STORE}/{os.fsdecode(name)}") not in self._paths:
                return
            self._hasher = min(self._hashers, key=lambda hasher: hasher.asked)
            self._hasher.open(path)
        nar_digest.begin(self._hasher, name, node, top=top)
        if isinstance(node, Node) and node.kind == stat.S_IFREG and isinstance(node.data, bytes):
            self._hasher.literal(node.data)
        self._depth += 1

    def end(self, node: Directory | Node) -> None:
        """The entry that began last, of those that have not ended, ends."""
        if not self._depth:
            return
        self._depth -= 1
        nar_digest.end(self._hasher, node, top=self._depth == 0)
        if not self._depth:
            self._hasher.close()

    def send(self, node: Node, source: bytes, runs: Iterable[Run]) -> None:
        """Send the data of a file, which is read from the host file `source`."""
        start = start_of(node.data)
        if source == self._last:
            self._last_runs += runs
        elif self._depth:
            hasher = self._hasher
            for offset, length, target in nar_digest.with_holes(runs, node.size, hasher.zeros):
                hasher.copy(source, start + offset, target, length)
        else:
            for offset, length, target in runs:
                self._copier.copy(source, start + offset, target, length)

    def send_again(self, node: Node, source: bytes) -> None:
        """A file comes again, by another name: its data is hashed and not sent."""
        if self._depth and node.kind == stat.S_IFREG and not isinstance(node.data, bytes):
            start, hasher = start_of(node.data), self._hasher
            for offset, length in nar_digest.with_holes(segments(node), node.size, hasher.zeros):
                hasher.hash(source, start + offset, length)

    def send_last(self) -> None:
        """Send the file that was to be copied last, if the tree had it."""
        if self._last_runs:
            with Copier(self._image, self._step, workers=1) as copier:
                for offset, length, target in self._last_runs:
                    copier.copy(self._last, offset, target, length)
