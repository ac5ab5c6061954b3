"""Hashes made while data is copied, against `nix-store --dump`."""

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assembler.errors import HostError, RequestError
from assembler.filesystems.ext4.writer import DirectWriter
from assembler.filesystems.guestfs.payload import write_payload
from assembler.filesystems.protocol import FileSystem
from assembler.host.progress import Step
from assembler.host.scratch import remove_tree
from assembler.tree.scan import Scanner
from assembler.tree.tree import Digests, Directory, Late, Node, Slice, Sparse, Tree, symlink
from assembler.units import MIB
from tests.filesystems.test_guestfs_archive import unpack
from tests.support.helpers import output
from tests.support.systems import store_path
from tests.support.trees import OFFSET, SEED

A, B, C = (store_path(number, name) for number, name in enumerate("abc", 1))


def nar_hash(path: Path) -> str:
    """What Nix says."""
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


class Settled:
    """Takes the hashes that a writer found."""

    def __init__(self, tree: Tree, *paths: str) -> None:
        self.hashes: dict[str, str] = {}
        tree.digests = Digests(frozenset(os.fsencode(path[11:]) for path in paths), self.settle)

    def settle(self, hashes: dict[bytes, str]) -> None:  # type: ignore[override]
        self.hashes = {f"/nix/store/{os.fsdecode(name)}": hashes[name] for name in hashes}


def write(image: Path, tree: Tree, size: int = 128 * MIB) -> None:
    with image.open("wb") as file:
        file.truncate(OFFSET + size)
    target = FileSystem(
        offset=OFFSET, size=size, inodes=1000, label="x", uuid=SEED, hash_seed=SEED, epoch=1
    )
    DirectWriter().fill(image, target, tree, Step(None))


def debugfs_read(image: Path, path: str) -> bytes:
    return output("/sbin/debugfs", "-R", f"cat {path}", f"{image}?offset={OFFSET}")


def test_the_direct_writer_finds_nixs_hashes(source: Path, tmp_path: Path) -> None:
    tree = scanned(source)
    settled = Settled(tree, A, B, C)
    write(tmp_path / "image", tree)
    assert settled.hashes == {path: nar_hash(source / path[1:]) for path in (A, B, C)}


def test_hashing_changes_no_byte_of_the_image(source: Path, tmp_path: Path) -> None:
    for name, paths in (("plain", ()), ("some", (B,)), ("all", (A, B, C))):
        tree = scanned(source)
        settled = Settled(tree, *paths)
        write(tmp_path / name, tree)
        assert set(settled.hashes) == set(paths)
    assert output("cmp", tmp_path / "plain", tmp_path / "some") == b""
    assert output("cmp", tmp_path / "plain", tmp_path / "all") == b""


@pytest.mark.parametrize("lanes", [1, 3])
def test_the_payload_finds_nixs_hashes(source: Path, tmp_path: Path, lanes: int) -> None:
    tree = scanned(source)
    settled = Settled(tree, A, B, C)
    (tmp_path / "payload").mkdir()
    write_payload(tmp_path / "payload", tree, lanes, Step(None))
    assert settled.hashes == {path: nar_hash(source / path[1:]) for path in (A, B, C)}


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
    settled = Settled(tree, A)
    write(tmp_path / "image", tree, 16 * MIB)
    dumped = tmp_path / "dumped"
    remove_tree(dumped)
    output("/sbin/debugfs", "-R", f"rdump {A} {tmp_path}", f"{tmp_path / 'image'}?offset={OFFSET}")
    output("mv", tmp_path / A[11:], dumped)
    assert settled.hashes == {A: nar_hash(dumped)}


def test_a_late_file_has_the_bytes_that_settling_gave_it(source: Path, tmp_path: Path) -> None:
    late = tmp_path / "late"
    late.write_bytes(b"?" * 100_000)
    for maker in ("direct", "payload"):
        tree = scanned(source)
        tree.add(b"/late", Node(0o100000, 0o644, 100_000, Late(str(late))))

        def settle(_hashes: object) -> None:
            late.write_bytes(b"settled!" * 12_500)

        tree.digests = Digests(frozenset([C[11:].encode()]), settle)
        if maker == "direct":
            write(tmp_path / "image", tree)
            found = debugfs_read(tmp_path / "image", "/late")
        else:
            (tmp_path / "payload").mkdir()
            archives = write_payload(tmp_path / "payload", tree, 2, Step(None))
            unpack(archives[0], tmp_path / "unpacked")
            found = (tmp_path / "unpacked/late").read_bytes()
        assert found == b"settled!" * 12_500
        late.write_bytes(b"?" * 100_000)


def test_part_of_a_file_is_copied_and_hashed(tmp_path: Path) -> None:
    holder = tmp_path / "holder"
    content = os.urandom(3 * MIB)
    holder.write_bytes(b"before" + content + b"after")
    tree = Tree()
    node = Node(0o100000, 0o444, len(content), Slice(str(holder), 6))
    tree.add(f"{A}/file".encode(), node)
    tree.directory(A.encode()).mode = 0o555
    settled = Settled(tree, A)
    write(tmp_path / "image", tree)
    assert debugfs_read(tmp_path / "image", f"{A}/file") == content
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/file").write_bytes(content)
    assert settled.hashes == {A: nar_hash(tmp_path / "dir")}


def test_what_settling_refuses_ends_the_writing(source: Path, tmp_path: Path) -> None:
    tree = scanned(source)

    def settle(_hashes: object) -> None:
        raise RequestError("no")

    tree.digests = Digests(frozenset([C[11:].encode()]), settle)
    with pytest.raises(RequestError, match="no"):
        write(tmp_path / "image", tree)


def test_a_file_that_shrinks_while_it_is_hashed_is_told(source: Path, tmp_path: Path) -> None:
    tree = scanned(source)
    Settled(tree, A)
    os.truncate(source / A[1:] / "large", 100)
    with pytest.raises(HostError, match=r"large: it became shorter while it was read"):
        write(tmp_path / "image", tree)


def test_a_sparse_file_that_was_all_hole_is_all_zeros(source: Path) -> None:
    node = scanned(source).get(f"{B}/all-hole".encode())
    assert isinstance(node, Node)
    assert isinstance(node.data, Sparse)
