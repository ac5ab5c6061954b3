"""Hashes made while data is copied, against `nix-store --dump`.

Without these tests, Nix on the machine can find wrong hashes for its own store.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assembler.copying.sender import Hashing
from assembler.errors import HostError, RequestError
from assembler.filesystems.ext4.writer import DirectWriter
from assembler.filesystems.guestfs.payload import write_payload
from assembler.filesystems.protocol import RootFileSystem
from assembler.host.progress import Progress, Step
from assembler.host.scratch import remove_tree
from assembler.tree.scan import Scanner
from assembler.tree.tree import Directory, Node, Slice, Sparse, Tree, symlink
from assembler.units import MIB
from tests.filesystems.test_guestfs_archive import unpack
from tests.support.helpers import output
from tests.support.systems import store_path
from tests.support.trees import OFFSET, SEED

A, B, C = (store_path(number, name) for number, name in enumerate("abc", 1))


def nar_hash(path: Path) -> str:
    """The hash that Nix computes."""
    return hashlib.sha256(output("nix-store", "--dump", path)).hexdigest()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three store paths: odd names, holes, hard links within and across paths; one is a file."""
    source = tmp_path / "source"
    for path in (A, B):
        (source / path[1:] / "d/e").mkdir(parents=True)
        (source / path[1:] / "empty").touch()
    for name in (b"\xff\xfe", b"a b", b"-rf", b"new\nline", b"d.a", b"d-a"):
        (source / A[1:] / os.fsdecode(name)).write_bytes(name * 1000)
    (source / A[1:] / "run").touch(mode=0o755)
    (source / A[1:] / "link").symlink_to("x" * 4000)
    (source / A[1:] / "large").write_bytes(os.urandom(19 * MIB + 5))
    for name in ("d/same", "same", "d/e/same"):
        os.link(source / A[1:] / "large", source / B[1:] / name)
    with (source / B[1:] / "sparse").open("wb") as file:
        file.truncate(9 * MIB + 7)
        file.seek(2 * MIB)
        file.write(b"x" * 5000)
    with (source / B[1:] / "all-hole").open("wb") as file:
        file.truncate(MIB + 1)
    (source / C[1:]).write_bytes(b"a store path may be a file")
    return source


def scanned(source: Path) -> Tree:
    tree = Tree()
    scanner = Scanner(tree)
    for path in (A, B, C):
        scanner.add(str(source / path[1:]), path.encode())
    return tree


def write(image: Path, tree: Tree, *paths: str, size: int = 128 * MIB) -> Mapping[str, str]:
    """The hashes that the direct writer finds."""
    with direct(image, tree, Hashing(frozenset(paths)), size) as hashes:
        return hashes


@contextmanager
def direct(
    image: Path, tree: Tree, hashing: Hashing, size: int = 128 * MIB
) -> Iterator[Mapping[str, str]]:
    with image.open("wb") as file:
        file.truncate(OFFSET + size)
    target = RootFileSystem(
        offset=OFFSET, size=size, inodes=1000, label="x", uuid=SEED, hash_seed=SEED, epoch=1
    )
    with DirectWriter().write(image, target, tree, Progress(quiet=True), hashing) as hashes:
        yield hashes


def debugfs_read(image: Path, path: str) -> bytes:
    return output("/sbin/debugfs", "-R", f"cat {path}", f"{image}?offset={OFFSET}")


def test_the_direct_writer_finds_nixs_hashes(source: Path, tmp_path: Path) -> None:
    hashes = write(tmp_path / "image", scanned(source), A, B, C)
    assert hashes == {path: nar_hash(source / path[1:]) for path in (A, B, C)}


def test_hashing_changes_no_byte_of_the_image(source: Path, tmp_path: Path) -> None:
    for name, paths in (("plain", ()), ("some", (B,)), ("all", (A, B, C))):
        assert set(write(tmp_path / name, scanned(source), *paths)) == set(paths)
    assert output("cmp", tmp_path / "plain", tmp_path / "some") == b""
    assert output("cmp", tmp_path / "plain", tmp_path / "all") == b""


def test_the_payload_finds_nixs_hashes(source: Path, tmp_path: Path) -> None:
    hashing = Hashing(frozenset([A, B, C]))
    sender = write_payload(tmp_path / "payload", scanned(source), Step(None), hashing)
    assert sender.hashes == {path: nar_hash(source / path[1:]) for path in (A, B, C)}


NAMES = st.sampled_from([b"a", b"a.b", b"a-b", b"b", b"\xff"])
SIZES = st.sampled_from([0, 1, 7, 8, 4096, 100_001])


@st.composite
def store_trees(draw: st.DrawFn) -> Tree:
    """A store path with files of all sizes, executable or not, symlinks and directories."""
    tree = Tree()
    top = tree.directory(A.encode())
    top.mode = 0o555
    pending = [(top, 3)]
    while pending:
        here, depth = pending.pop()
        for name in draw(st.lists(NAMES, unique=True, max_size=3)):
            kind = draw(st.integers(0, 2 if depth else 1))
            if kind == 2:
                here.children[name] = below = Directory(0o555)
                pending.append((below, depth - 1))
            elif kind == 1:
                here.children[name] = symlink(draw(st.sampled_from([b"x", b"/" * 70])))
            else:
                content = os.urandom(draw(SIZES))
                mode = draw(st.sampled_from([0o444, 0o555]))
                here.children[name] = Node(0o100000, mode, len(content), content)
    return tree


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(store_trees())
def test_any_tree_has_nixs_hash(tmp_path: Path, tree: Tree) -> None:
    hashes = write(tmp_path / "image", tree, A, size=16 * MIB)
    dumped = tmp_path / "dumped"
    remove_tree(dumped)
    output("/sbin/debugfs", "-R", f"rdump {A} {tmp_path}", f"{tmp_path / 'image'}?offset={OFFSET}")
    output("mv", tmp_path / A[11:], dumped)
    assert hashes == {A: nar_hash(dumped)}


def test_the_last_file_has_the_bytes_that_it_got_when_the_hashes_were_known(
    source: Path, tmp_path: Path
) -> None:
    last = tmp_path / "last"
    tree = scanned(source)
    tree.add(b"/last", Node(0o100000, 0o644, 100_000, str(last)))
    hashing = Hashing(frozenset([C]), last)
    last.write_bytes(b"?" * 100_000)
    with direct(tmp_path / "image", tree, hashing) as hashes:
        assert hashes == {C: nar_hash(source / C[1:])}
        last.write_bytes(b"complete" * 12_500)
    assert debugfs_read(tmp_path / "image", "/last") == b"complete" * 12_500
    last.write_bytes(b"?" * 100_000)
    sender = write_payload(tmp_path / "payload", tree, Step(None), hashing)
    assert sender.hashes == hashes
    last.write_bytes(b"complete" * 12_500)
    sender.send_last()
    unpack(tmp_path / "payload", tmp_path / "unpacked")
    assert (tmp_path / "unpacked/last").read_bytes() == b"complete" * 12_500


def test_part_of_a_file_is_copied_and_hashed(tmp_path: Path) -> None:
    holder = tmp_path / "holder"
    content = os.urandom(3 * MIB)
    holder.write_bytes(b"before" + content + b"after")
    tree = Tree()
    node = Node(0o100000, 0o444, len(content), Slice(str(holder), 6))
    tree.add(f"{A}/file".encode(), node)
    tree.directory(A.encode()).mode = 0o555
    hashes = write(tmp_path / "image", tree, A)
    assert debugfs_read(tmp_path / "image", f"{A}/file") == content
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/file").write_bytes(content)
    assert hashes == {A: nar_hash(tmp_path / "dir")}


def test_a_hash_that_is_refused_ends_the_writing(source: Path, tmp_path: Path) -> None:
    hashing = Hashing(frozenset([C]))
    with pytest.raises(RequestError, match="no"), direct(tmp_path / "i", scanned(source), hashing):
        raise RequestError("no")


def test_a_file_that_shrinks_while_it_is_hashed_is_an_error(source: Path, tmp_path: Path) -> None:
    tree = scanned(source)
    os.truncate(source / A[1:] / "large", 100)
    with pytest.raises(HostError, match=r"large: it became shorter while it was read"):
        write(tmp_path / "image", tree, A)


def test_a_sparse_file_that_was_all_hole_is_all_zeros(source: Path) -> None:
    node = scanned(source).get(f"{B}/all-hole".encode())
    assert isinstance(node, Node)
    assert isinstance(node.data, Sparse)
