"""The direct writer: ext4 with no VM and no privilege.

mke2fs makes the file system and libext2fs the inodes. Another process copies the data meanwhile.
e2fsck indexes the directories before the last of the data is copied.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from assembler.copying.sender import NO_HASHING, DataSender, Hashing
from assembler.errors import HostError, InternalError
from assembler.filesystems.ext4 import libext2fs
from assembler.filesystems.ext4.ext4 import Attributes, Ext4, mapped
from assembler.filesystems.ext4.mke2fs import make_ext4
from assembler.filesystems.ext4_format import FAST_SYMLINK
from assembler.filesystems.protocol import RootFileSystem
from assembler.host import process
from assembler.host.progress import Progress
from assembler.tree.tree import Directory, Node, Tree, segments, visit
from assembler.units import BLOCK, ceil_div

# File types of directory entries: EXT2_FT_* in e2fsprogs lib/ext2fs/ext2_fs.h.
_REGULAR, _DIRECTORY, _SYMLINK = 1, 2, 7

# The output of `e2fsck -fyD` for a file system that lacks nothing but indexes. The clock of e2fsck
# is set back (E2FSCK_TIME), so that the writes which libext2fs just made lie in its future.
_EXPECTED = re.compile(
    rb"e2fsck \S+ \(.*\)|Pass \d.*|\s*|.*\*\*\*\*\* FILE SYSTEM WAS MODIFIED \*\*\*\*\*"
    rb"|.*: \d+/\d+ files .*|Superblock last write time .*|\(by less than a day.*|Fix\? yes"
    rb"|\s*now = .*"
)


class DirectWriter:
    """Writes ext4 from an ordinary process; see `protocol.Writer`."""

    def problems(self) -> list[str]:
        """One line if libext2fs cannot be loaded."""
        return libext2fs.problems()

    @contextmanager
    def write(
        self,
        image: Path,
        target: RootFileSystem,
        tree: Tree,
        progress: Progress,
        hashing: Hashing = NO_HASHING,
    ) -> Iterator[Mapping[str, str]]:
        """Make an ext4 in `image` and fill it with `tree`."""
        with progress.step("writing ext4", total=target.data) as step:
            sender = DataSender(image, step, hashing)
            self._fill(image, target, tree, sender)
        yield sender.hashes
        sender.send_last()

    def _fill(self, image: Path, target: RootFileSystem, tree: Tree, sender: DataSender) -> None:
        make_ext4(
            image,
            offset=target.offset,
            size=target.size,
            inodes=target.inodes,
            label=target.label,
            uuid=target.uuid,
            hash_seed=target.hash_seed,
            epoch=target.epoch,
        )
        with sender:
            with Ext4(image, target.offset) as ext4:
                _Filler(ext4, sender, image, target.offset, tree).fill()
            index_directories(image, target.offset, target.epoch)


def index_directories(image: Path, offset: int, epoch: int) -> None:
    """Run e2fsck to index directories of several blocks, and to set its times to `epoch`.

    `offset` is in bytes, `epoch` in seconds. e2fsck repairs what it finds, but it must find no
    fault: raises InternalError if it does.
    """
    done = process.run(
        ["e2fsck", "-fyD", f"{image}?offset={offset}"],
        what="indexing directories",
        env={"E2FSCK_TIME": str(max(1, epoch))},
        ok=(0, 1),
    )
    for line in (done.stdout + done.stderr).splitlines():
        if not _EXPECTED.fullmatch(line):
            raise InternalError(f"e2fsck found fault with the file system: {line.decode()}")


class _Open(NamedTuple):
    """A directory that is being filled."""

    directory: Directory
    ino: int
    entries: list[tuple[bytes, int, int]]


class _Filler:
    """Puts one Tree into one open file system."""

    def __init__(
        self, ext4: Ext4, sender: DataSender, image: Path, offset: int, tree: Tree
    ) -> None:
        self._ext4, self._sender, self._tree = ext4, sender, tree
        self._path, self._image = image, -1
        self._offset = offset
        self._groups: dict[int, int] = {}  # hard-link group → inode number

    def fill(self) -> None:
        """Write every inode in the order of a NAR, a directory after all that is below it."""
        self._image = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            self._ext4.forget_root_block()
            top = _open(self._tree.root, libext2fs.ROOT_INODE, libext2fs.ROOT_INODE)
            top.entries.append((b"lost+found", self._ext4.lost_and_found(), _DIRECTORY))
            above, store = [top], self._tree.store
            for name, node, begins, source in visit(self._tree.root):
                here = above[-1]
                if begins:
                    in_store = here.directory is store
                    self._sender.begin(name, node, store_path=in_store)
                if not isinstance(node, Directory):
                    here.entries.append((name, *self._write_node(node, source)))
                    self._sender.end(node)
                elif begins:
                    number = self._ext4.new_inode(directory=True)
                    here.entries.append((name, number, _DIRECTORY))
                    above.append(_open(node, number, here.ino))
                else:
                    self._write_directory(above.pop())
                    self._sender.end(node)
            self._write_directory(top)
        finally:
            os.close(self._image)

    def _write_directory(self, done: _Open) -> None:
        node, entries = done.directory, done.entries
        # its name, `.`, each child's `..`
        links = sum(kind == _DIRECTORY for _, _, kind in entries)
        about = Attributes(stat.S_IFDIR | node.mode, node.uid, node.gid, node.mtime, links)
        self._ext4.write_directory(done.ino, about, entries)
        if node.xattrs:
            self._ext4.set_xattrs(done.ino, node.xattrs)

    def _write_node(self, node: Node, source: bytes) -> tuple[int, int]:
        """Write a file or symlink unless it was written by another name; returns inode and type.

        `source` is the host file that its data comes from.
        """
        kind = _SYMLINK if node.kind == stat.S_IFLNK else _REGULAR
        if node.group in self._groups:
            self._sender.send_again(node, source)
            return self._groups[node.group], kind
        ino = self._ext4.new_inode(directory=False)
        links = 1
        if node.group:
            self._groups[node.group] = ino
            links = self._tree.names[node.group]
        about = Attributes(node.kind | node.mode, node.uid, node.gid, node.mtime, links)
        if kind == _SYMLINK and node.size < FAST_SYMLINK:
            self._ext4.write_inode(ino, about, node.size, symlink=node.target)
        else:
            self._write_data(ino, about, node, source)
        if node.xattrs:
            self._ext4.set_xattrs(ino, node.xattrs)
        return ino, kind

    def _write_data(self, ino: int, about: Attributes, node: Node, source: bytes) -> None:
        """Give the file its blocks and send its bytes there."""
        data = node.data
        extents = []
        for start, length in segments(node):
            physical = self._ext4.allocate(ceil_div(length, BLOCK))
            extents += mapped(physical, start // BLOCK)
            if isinstance(data, bytes):
                self._put(data, physical)
        self._ext4.write_inode(ino, about, node.size, extents)
        if isinstance(data, bytes):
            return
        runs = []
        for logical, start, count in extents:
            offset = logical * BLOCK
            length = min(count * BLOCK, node.size - offset)
            runs.append((offset, length, self._offset + start * BLOCK))
        self._sender.send(node, source, runs)

    def _put(self, data: bytes, physical: list[tuple[int, int]]) -> None:
        """Write bytes that are in memory to extents."""
        view = memoryview(data)
        for start, count in physical:
            piece, view = view[: count * BLOCK], view[count * BLOCK :]
            if os.pwrite(self._image, piece, self._offset + start * BLOCK) != len(piece):
                raise HostError("writing ext4: the disk that holds the image is full")


def _open(directory: Directory, ino: int, parent: int) -> _Open:
    """A directory about to be filled, with the two entries that each has."""
    entries = [(b".", ino, _DIRECTORY), (b"..", parent, _DIRECTORY)]
    return _Open(directory, ino, entries)
