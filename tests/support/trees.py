"""Trees for tests, and what a file system made from one must show."""

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from assembler.filesystems.demand import measure
from assembler.filesystems.ext4.writer import DirectWriter
from assembler.filesystems.protocol import RootFileSystem
from assembler.host.progress import Progress
from assembler.tree.tree import Directory, Node, Sparse, Tree, Xattrs, regular, source_of, symlink
from assembler.units import MIB
from tests.support.readback import digest

OFFSET = MIB
SEED = UUID("11111111-2222-3333-4444-555555555555")
LARGEST_XATTR = 4096 - 32 - 4 - 22 - len("user.note")  # bytes of a value alone in its block
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw+ep


def write_image(image: Path, tree: Tree, *, size: int = 64 * MIB, inodes: int = 0) -> None:
    """Write a tree to an ext4 of `size` bytes, OFFSET into a new image."""
    with image.open("wb") as file:
        file.truncate(OFFSET + size)
    target = RootFileSystem(
        offset=OFFSET,
        size=size,
        inodes=inodes or measure(tree).inodes + 100,
        label="test",
        uuid=SEED,
        hash_seed=SEED,
        epoch=1,
    )
    with DirectWriter().write(image, target, tree, Progress(quiet=True)):
        pass  # no file waits for hashes


NAMES = st.sampled_from([b"a", b"b", b"c"])
PLACES = st.sampled_from([b"/etc", b"/nix", b"/nix/var", *(b"/nix/store/%d" % n for n in range(6))])
PATHS = st.builds(lambda place, *names: b"/".join([place, *names]), PLACES, NAMES, NAMES)


@st.composite
def random_trees(draw: st.DrawFn) -> Tree:
    """A tree with a store, and with files of one to four names anywhere."""
    tree = Tree()
    store = tree.directory(b"/nix/store")
    store.mode, store.mtime = 0o1775, 7
    paths = draw(st.lists(PATHS, unique=True))
    while paths:
        names = [paths.pop() for _ in range(min(len(paths), draw(st.integers(1, 4))))]
        group = tree.new_group() if len(names) > 1 else 0
        content = bytes(draw(st.sampled_from([0, 10, 100_000])))
        for name in names:
            tree.add(name, regular(content)._replace(group=group))
    return tree


def every_kind(sources: Path) -> Tree:
    """A tree with every kind of entry that the store or `--contents` can hold."""
    tree = Tree()
    source = sources / "data"
    source.write_bytes(bytes(range(256)) * 40)
    tree.add(b"/from-host", host_file(source))
    for size in (0, 1, 4095, 4096, 4097, 70000):
        tree.add(b"/sizes/%d" % size, regular(bytes(i % 251 for i in range(size))))
    for length in (1, 59, 60, 61, 255, 4095):
        tree.add(b"/links/%d" % length, symlink(b"x" * length))
    tree.add(b"/links/not-utf-8", symlink(b"\xff/\xfe"))
    for name in (b"with space", b"new\nline", b"\xff\xfe not utf-8", b"-dash", b"*", b"n" * 255):
        tree.add(b"/names/" + name, regular(name))
    group = tree.new_group()
    for name in (b"/hard/one", b"/hard/two", b"/elsewhere/three"):
        tree.add(name, host_file(source, group=group))
    for mode in (0o4755, 0o2755, 0o6711, 0o1777, 0o400):
        tree.add(b"/modes/file-%o" % mode, regular(b"x", mode))
        tree.add(b"/modes/directory-%o" % mode, Directory(mode))
    for number in (1, 65534, 65536, 0xFFFFFFFE):
        tree.add(b"/owners/%d" % number, regular(b"")._replace(uid=number, gid=number - 1))
    tree.add(b"/owners/directory", Directory(uid=100000, gid=30000))
    for time in (0, 1, 0x7FFFFFFF, 0x80000000, 0x1_0000_0000, 0x3_7FFF_FFFF):
        tree.add(b"/times/%d" % time, regular(b"", mtime=time))
    xattrs: Xattrs = (("security.capability", CAPABILITY), ("user.note", b"short"))
    tree.add(b"/xattrs/small", regular(b"x", 0o755)._replace(xattrs=xattrs))
    tree.add(b"/xattrs/large", regular(b"x")._replace(xattrs=(("user.note", b"y" * 3000),)))
    largest = (("user.note", b"x" * LARGEST_XATTR),)
    tree.add(b"/xattrs/largest", regular(b"x")._replace(xattrs=largest))
    tree.add(b"/xattrs/directory", Directory(xattrs=(("user.note", b"z"),)))
    tree.add(b"/empty", Directory())
    for index in range(1500):
        tree.add(b"/many/entry number %d" % index, symlink(b"t"))
    for name, segments in SPARSE.items():
        tree.add(b"/sparse/" + name, sparse_file(sources / os.fsdecode(name), segments))
    return tree


_BIG = 5 << 30  # bytes: beyond what 32 bits can count
SPARSE: dict[bytes, tuple[int, tuple[tuple[int, int], ...]]] = {
    b"all-hole": (_BIG, ()),
    b"begins-with-hole": (1 << 20, ((1 << 19, 1 << 19),)),
    b"hole-in-the-middle": (1 << 20, ((0, 8192), (1 << 19, 12288))),
    b"ends-with-hole": (1 << 20, ((0, 4096),)),
    b"many-holes": (8 << 20, tuple((i << 16, 4096) for i in range(0, 128, 2))),
    b"over-4-gib": (_BIG + 5, ((0, 4096), (_BIG, 5))),
}


def host_file(source: Path, *, group: int = 0) -> Node:
    """A Node for a file of this host, with mode 0444."""
    size = source.stat().st_size
    return Node(stat.S_IFREG, 0o444, size, str(source), group=group)


def sparse_file(path: Path, shape: tuple[int, tuple[tuple[int, int], ...]]) -> Node:
    """Make a sparse file of (size, segments) and the Node for it."""
    size, segments = shape
    with path.open("wb") as file:
        file.truncate(size)
        for start, length in segments:
            file.seek(start)
            file.write(os.urandom(length // 2) + b"\x01" * (length - length // 2))
    return Node(stat.S_IFREG, 0o644, size, Sparse(str(path), segments))


def expected(tree: Tree) -> dict[str, dict[str, Any]]:
    """What `readback.walk` must print for a file system made from `tree`."""
    return {path.lstrip(b"/").hex(): _facts(tree, node) for path, node in tree.walk()}


def _facts(tree: Tree, node: Directory | Node) -> dict[str, Any]:
    kind = stat.S_IFDIR if isinstance(node, Directory) else node.kind
    facts: dict[str, Any] = {
        "mode": kind | node.mode,
        "uid": node.uid,
        "gid": node.gid,
        "mtime": node.mtime * 10**9,
        "xattrs": {name: value.hex() for name, value in node.xattrs},
    }
    if isinstance(node, Directory):
        return facts
    if kind == stat.S_IFLNK:
        return {**facts, "target": node.target.hex()}
    links = tree.names[node.group] if node.group else 1
    return {**facts, "size": node.size, "sha256": _digest(node), "links": links}


def _digest(node: Node) -> str:
    if isinstance(node.data, bytes):
        state = hashlib.sha256()
        for start in range(0, node.size, 1 << 20):
            piece = node.data[start : start + (1 << 20)]
            if piece.strip(b"\0"):
                state.update(b"%d:" % start + piece.rstrip(b"\0"))
        return state.hexdigest()
    return digest(source_of(node.data))


def parse(readback: str) -> tuple[dict[str, dict[str, Any]], list[set[str]]]:
    """What `readback` printed, without inode numbers, and the groups of names that share one."""
    found = json.loads(readback)
    groups: dict[int, set[str]] = {}
    for path, facts in found.items():
        inode = facts.pop("inode", None)
        if facts.get("links", 1) > 1:
            groups.setdefault(inode, set()).add(path)
    return found, list(groups.values())
