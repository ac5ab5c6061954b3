"""Sends the data of a Tree's files into an image, and hashes the store paths that it is asked to.

What both writers of images share: they go through a Tree in the order of a NAR (tree.visit), and
tell here what begins, where data goes, and what ends.
"""

import stat
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from assembler.copying.copier import Copier
from assembler.host.progress import Step
from assembler.tree import nar_digest
from assembler.tree.tree import Directory, Late, Node, Tree, origin, segments

_HASHING = 2  # processes that hash, each one store path at a time

Run = tuple[int, int, int]  # offset in the file, offset in the image, length: all bytes


class DataSender:
    """Sends data into one image; a context manager, at whose end all but Late files are there.

    `late` then has the path, the offset in the image and the length of what is to be sent when
    the hashes are settled; `digests` has the hashes, name in the store → hexadecimal SHA-256.
    """

    def __init__(self, image: Path, tree: Tree, step: Step) -> None:
        self._names = tree.digests.names
        self.image, self._step = image, step
        self._depth = 0  # how deep below a store path that is hashed; 0 outside of any
        self._workers = ExitStack()
        self.late: list[tuple[bytes, Run]] = []
        self.digests: dict[bytes, str] = {}

    def __enter__(self) -> Self:
        with ExitStack() as workers:
            self._copier = workers.enter_context(Copier(self.image, self._step))
            # Each has a pipe of its own, for a hash is made in order.
            self._hashers = [
                workers.enter_context(Copier(self.image, self._step, workers=1))
                for _ in range(_HASHING if self._names else 0)
            ]
            self._workers = workers.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._workers.__exit__(*error)  # type: ignore[arg-type]
        for hasher in self._hashers:
            self.digests |= hasher.digests

    def begin(self, name: bytes, node: Directory | Node, *, store_path: bool) -> None:
        """An entry begins: a directory with all below it, a file, or a symlink.

        `store_path` says that it is an entry of the store itself.
        """
        top = self._depth == 0
        if top:
            if not store_path or name not in self._names:
                return
            self._hasher = min(self._hashers, key=lambda hasher: hasher.asked)
            self._hasher.open(name)
        nar_digest.begin(self._hasher, name, node, top=top)
        if isinstance(node, Node) and node.kind == stat.S_IFREG and isinstance(node.data, bytes):
            self._hasher.literal(node.data)
        self._depth += 1

    def end(self, node: Directory | Node) -> None:
        """What began last and has not ended ends."""
        if not self._depth:
            return
        self._depth -= 1
        nar_digest.end(self._hasher, node, top=self._depth == 0)
        if not self._depth:
            self._hasher.close()

    def send(self, node: Node, usual: bytes, runs: Iterable[Run]) -> None:
        """Send a file's data; `usual` is its host path where the node does not tell it."""
        path, start = origin(node.data, usual)
        if isinstance(node.data, Late):
            self.late += [(path, run) for run in runs]
        elif not self._depth:
            for offset, target, length in runs:
                self._copier.copy(path, start + offset, target, length)
        else:
            done = 0
            for offset, target, length in runs:
                self._hasher.zeros(offset - done)
                self._hasher.copy(path, start + offset, target, length)
                done = offset + length
            self._hasher.zeros(node.size - done)

    def mention(self, node: Node, usual: bytes) -> None:
        """A file comes again, by another name: its data is hashed and not sent."""
        if self._depth and node.kind == stat.S_IFREG and not isinstance(node.data, bytes):
            path, start = origin(node.data, usual)
            done = 0
            for offset, length in segments(node):
                self._hasher.zeros(offset - done)
                self._hasher.hash(path, start + offset, length)
                done = offset + length
            self._hasher.zeros(node.size - done)


def settle(tree: Tree, senders: Sequence[DataSender], step: Step) -> None:
    """When all other data is read: have the hashes looked at, and send the Late files.

    Raises RequestError for a store path that is not what it is registered as.
    """
    hashes: dict[bytes, str] = {}
    for sender in senders:
        hashes |= sender.digests
    tree.digests.settle(hashes)
    for sender in senders:
        if sender.late:
            with Copier(sender.image, step, workers=1) as copier:
                for path, (offset, target, length) in sender.late:
                    copier.copy(path, offset, target, length)
