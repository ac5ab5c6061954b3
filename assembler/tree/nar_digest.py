"""The hash of a store path's NAR, made while a writer goes through the files of the path."""

import stat
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from assembler.store import nar
from assembler.tree.tree import Directory, Node


class Consumer(Protocol):
    """Takes the framing of a NAR in order; the caller adds the data of files in between."""

    def literal(self, data: bytes) -> None:
        """Take the next bytes of the NAR."""


def begin(consumer: Consumer, name: bytes, node: Directory | Node, *, top: bool) -> None:
    """Pass on what precedes the data of a file or the entries of a directory; a symlink whole.

    `top`: the node is the store path itself, not an entry of a directory.
    """
    consumer.literal(nar.HEADER if top else nar.entry(name))
    if isinstance(node, Directory):
        consumer.literal(nar.DIRECTORY)
    elif node.kind == stat.S_IFLNK:
        consumer.literal(nar.symlink(node.target))
    else:
        consumer.literal(nar.regular(node.size, executable=bool(node.mode & 0o100)))


def end(consumer: Consumer, node: Directory | Node, *, top: bool) -> None:
    """Pass on what follows the data of a file or the entries of a directory."""
    if isinstance(node, Directory):
        consumer.literal(nar.END)
    elif node.kind == stat.S_IFREG:
        consumer.literal(nar.regular_end(node.size))
    if not top:
        consumer.literal(nar.END)


# The offset and the length of data in a file, in bytes, and perhaps more.
_Run = TypeVar("_Run", tuple[int, int], tuple[int, int, int])


def with_holes(runs: Iterable[_Run], size: int, zeros: Callable[[int], None]) -> Iterator[_Run]:
    """Yield the runs of data in a file of `size` bytes, to be hashed one after another.

    Calls `zeros` with the length in bytes, which may be 0, of the hole before each run and of
    the one after the last.
    """
    done = 0
    for run in runs:
        zeros(run[0] - done)
        yield run
        done = run[0] + run[1]
    zeros(size - done)
