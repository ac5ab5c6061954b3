"""Scanning host directories, against os.walk, lstat and the kernel's view of holes.

Without these tests, hard links, holes or xattrs of the sources can get lost in the image.
"""

import os
import socket
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.errors import HostError, RequestError
from assembler.tree.modes import parse_mode
from assembler.tree.scan import Metadata, Scanner
from assembler.tree.tree import Directory, Node, Sparse, Tree, regular, source_of, symlink
from tests.support.helpers import directory, output

NAMES = st.one_of(
    st.binary(min_size=1, max_size=6),
    st.binary(min_size=255, max_size=255),
    st.sampled_from([b"\xff\xfe", b"a b", b"-", b"new\nline", b"*", b"\xc3\xa4"]),
).filter(lambda name: not set(name) & {0, ord("/")} and name not in (b".", b".."))
FILE = st.tuples(st.just("file"), st.binary(max_size=10), st.sampled_from([0o444, 0o755, 0o600]))
LINK = st.tuples(
    st.just("link"),
    st.binary(min_size=1, max_size=100).filter(lambda target: 0 not in target),
    st.sampled_from([0]),
)
HARD = st.tuples(st.just("hard"), st.integers(0, 3), st.just(0))
SPARSE = st.tuples(st.just("sparse"), st.integers(1, 1 << 21), st.integers(0, 1 << 20))
ENTRIES = st.recursive(
    st.dictionaries(NAMES, st.one_of(FILE, LINK, HARD, SPARSE), max_size=5),
    lambda below: st.dictionaries(NAMES, st.one_of(FILE, HARD, below), max_size=4),
    max_leaves=20,
)


def build(top: bytes, entries: dict[bytes, object], pool: Path) -> None:
    """Make a directory tree; hard links are to the files of `pool`."""
    for name, entry in entries.items():
        path = top + b"/" + name
        match entry:
            case dict():
                os.mkdir(path)
                build(path, entry, pool)
            case ("file", bytes(content), int(mode)):
                with open(path, "wb") as file:
                    file.write(content)
                os.chmod(path, mode)
            case ("link", bytes(target), _):
                os.symlink(target, path)
            case ("hard", int(number), _):
                os.link(pool / str(number), path)
            case ("sparse", int(size), int(start)):
                with open(path, "wb") as file:
                    file.truncate(size)
                    file.seek(min(start, size - 1))
                    file.write(b"x")


def host_path(parent: Directory, name: bytes, node: Node) -> bytes:
    """The host file that holds a node's bytes."""
    return source_of(node.data, os.fsencode(parent.source) + b"/", name)


def assert_like_host(tree: Tree, directory: Directory, host: bytes, target: bytes) -> None:
    """Compare a scanned directory with lstat, inode by inode."""
    assert set(directory.children) == set(os.listdir(host))
    for name, node in directory.children.items():
        there = host + b"/" + name
        status = os.lstat(there)
        executable = stat.S_ISDIR(status.st_mode) or status.st_mode & 0o100
        assert (node.uid, node.gid, node.mtime) == (0, 0, 1)
        if isinstance(node, Directory):
            assert stat.S_ISDIR(status.st_mode)
            assert node.mode == 0o555
            assert_like_host(tree, node, there, target + b"/" + name)
        elif stat.S_ISLNK(status.st_mode):
            assert (node.kind, node.data) == (stat.S_IFLNK, os.readlink(there))
        else:
            assert (node.kind, node.size) == (stat.S_IFREG, status.st_size)
            assert node.mode == (0o555 if executable else 0o444)
            assert os.path.samestat(os.lstat(host_path(directory, name, node)), status)
            assert bytes_of(node, there) == Path(os.fsdecode(there)).read_bytes()


def bytes_of(node: Node, host: bytes) -> bytes:
    """What a writer would write: the segments, and zeros between them."""
    content = Path(os.fsdecode(host)).read_bytes()
    if not isinstance(node.data, Sparse):
        return content
    result = bytearray(node.size)
    end = -1
    for start, length in node.data.segments:
        assert start % 4096 == 0
        assert start > end  # apart, in order
        assert length % 4096 == 0 or start + length == node.size
        result[start : start + length] = content[start : start + length]
        end = start + length
    return bytes(result)


def groups_on_host(top: bytes) -> set[frozenset[bytes]]:
    found: dict[int, set[bytes]] = {}
    for here, _, files in os.walk(top):
        for name in files:
            path = here + b"/" + name
            if os.lstat(path).st_nlink > 1:
                found.setdefault(os.lstat(path).st_ino, set()).add(path[len(top) :])
    return {frozenset(paths) for paths in found.values()}


def groups_in(tree: Tree, below: bytes) -> set[frozenset[bytes]]:
    found: dict[int, set[bytes]] = {}
    for path, node in tree.walk():
        if isinstance(node, Node) and node.group:
            found.setdefault(node.group, set()).add(path[len(below) :])
    assert all(tree.names[group] == len(paths) for group, paths in found.items())
    return {frozenset(paths) for paths in found.values()}


@given(ENTRIES)
@settings(max_examples=60)
def test_a_scanned_tree_is_what_the_host_shows(entries: dict[bytes, object]) -> None:
    with directory() as base:
        for number in range(4):
            (base / str(number)).write_bytes(b"%d" % number)
        top = base / "top"
        top.mkdir()
        build(os.fsencode(top), entries, base)
        tree = Tree()
        Scanner(tree).add(str(top), b"/nix/store/x")
        found = tree.get(b"/nix/store/x")
        assert isinstance(found, Directory)
        assert_like_host(tree, found, os.fsencode(top), b"")
        assert groups_in(tree, b"/nix/store/x") == groups_on_host(os.fsencode(top))


def scanned(source: Path, metadata: Metadata | None = None) -> Directory | Node:
    tree = Tree()
    Scanner(tree).add(str(source), b"/x", metadata or Metadata())
    found = tree.get(b"/x")
    assert found is not None
    return found


def test_a_single_file_tells_its_path(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    found = scanned(tmp_path / "f")
    assert isinstance(found, Node)
    assert (found.data, found.size, found.mode) == (str(tmp_path / "f"), 3, 0o444)


def test_a_symlink_that_is_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / "l").symlink_to(os.fsdecode(b"\xff" * 300))
    assert scanned(tmp_path / "l") == symlink(b"\xff" * 300)


@pytest.mark.parametrize(
    ("metadata", "file", "folder"),
    [
        (Metadata(), 0o444, 0o555),
        (Metadata(changes=()), 0o640, 0o750),
        (Metadata(mode=0o4711), 0o4711, 0o4711),
        (Metadata(changes=parse_mode("g-r,o=u")), 0o606, 0o717),
    ],
)
def test_permission_bits(tmp_path: Path, metadata: Metadata, file: int, folder: int) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").touch()
    (tmp_path / "d/f").chmod(0o640)
    (tmp_path / "d").chmod(0o750)
    found = scanned(tmp_path / "d", metadata)
    assert isinstance(found, Directory)
    child = found.children[b"f"]
    assert (child.mode, found.mode) == (file, folder)


def test_owners_times_and_xattrs_are_those_given(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    (tmp_path / "l").symlink_to("f")
    about = Metadata(uid=1, gid=2, mtime=3, xattrs=(("user.a", b"b"),))
    found = scanned(tmp_path, about)
    assert isinstance(found, Directory)
    file, link = found.children[b"f"], found.children[b"l"]
    assert {(node.uid, node.gid, node.mtime) for node in (found, file, link)} == {(1, 2, 3)}
    assert (found.xattrs, file.xattrs, link.xattrs) == (about.xattrs, (), ())


def test_hard_links_are_kept_across_store_paths(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    os.link(tmp_path / "a", tmp_path / "b")
    tree = Tree()
    scanner = Scanner(tree)
    scanner.add(str(tmp_path / "a"), b"/a")
    scanner.add(str(tmp_path / "b"), b"/b")
    assert groups_in(tree, b"") == {frozenset((b"/a", b"/b"))}


def test_what_gets_another_owner_is_another_inode(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    os.link(tmp_path / "a", tmp_path / "b")
    tree = Tree()
    scanner = Scanner(tree)
    scanner.add(str(tmp_path / "a"), b"/nix/store/a")
    scanner.add(str(tmp_path / "b"), b"/etc/b", Metadata(uid=1, mode=0o600))
    assert groups_in(tree, b"") == {frozenset((b"/nix/store/a",)), frozenset((b"/etc/b",))}


def test_no_group_has_more_names_than_the_file_system_allows(tmp_path: Path) -> None:
    (tmp_path / "0").touch()
    for number in range(1, 25):
        os.link(tmp_path / "0", tmp_path / str(number))
    tree = Tree()
    Scanner(tree, max_names=10).add(str(tmp_path), b"/x")
    assert sorted(tree.names) == [0, 5, 10, 10]


def test_merging_fills_a_directory_and_keeps_its_owner(tmp_path: Path) -> None:
    (tmp_path / "one/sub").mkdir(parents=True)
    (tmp_path / "two/sub/new").mkdir(parents=True)
    for file in ("one/sub/a", "one/sub/b", "two/sub/b", "two/sub/new/c", "two/d"):
        (tmp_path / file).write_text(file)
    tree = Tree()
    tree.add(b"/x", Directory(0o700, uid=5))
    scanner = Scanner(tree)
    scanner.add(str(tmp_path / "one"), b"/x", Metadata(uid=1))
    scanner.add(str(tmp_path / "two"), b"/x", Metadata(uid=2))
    owners = {path: node.uid for path, node in tree.walk()}
    assert owners == {
        b"/": 0, b"/x": 5, b"/x/d": 2, b"/x/sub": 1, b"/x/sub/a": 1, b"/x/sub/b": 2,
        b"/x/sub/new": 2, b"/x/sub/new/c": 2,
    }  # fmt: skip
    for path, node in tree.walk():
        if isinstance(node, Node):
            above, _, name = path.rpartition(b"/")
            parent = tree.get(above)
            assert isinstance(parent, Directory)
            source = os.fsdecode(host_path(parent, name, node))
            assert Path(source).read_text() == source.removeprefix(f"{tmp_path}/")


def test_merged_sparse_files_tell_their_path(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 20)
    tree = Tree()
    tree.add(b"/x", Directory())
    Scanner(tree).add(str(tmp_path), b"/x")
    found = tree.get(b"/x/sparse")
    assert isinstance(found, Node)
    assert found.data == Sparse(str(tmp_path / "sparse"), ())


def test_a_merge_that_replaces_a_hard_link_leaves_the_count_right(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    (tmp_path / "one/a").touch()
    os.link(tmp_path / "one/a", tmp_path / "one/b")
    (tmp_path / "two/a").touch()
    tree = Tree()
    Scanner(tree).add(str(tmp_path / "one"), b"/x")
    Scanner(tree).add(str(tmp_path / "two"), b"/x")
    assert groups_in(tree, b"/x") == {frozenset((b"/b",))}


def test_no_file_takes_the_place_of_a_directory_in_a_merge(tmp_path: Path) -> None:
    (tmp_path / "source/store").parent.mkdir()
    (tmp_path / "source/store").touch()
    tree = Tree()
    tree.add(b"/nix/store/a", regular(b""))
    with pytest.raises(RequestError, match="/nix/store is a directory of the system"):
        Scanner(tree).add(str(tmp_path / "source"), b"/nix")


def test_what_no_image_can_hold_is_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        with pytest.raises(RequestError, match="socket is neither a file, a directory nor a sym"):
            scanned(tmp_path)


@pytest.mark.parametrize("name", ["absent", "locked", "locked/file"])
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "locked").mkdir(mode=0)
    with pytest.raises(HostError, match=f"cannot read {tmp_path}/{name}: "):
        scanned(tmp_path / name)


def test_a_deep_directory_needs_no_recursion(tmp_path: Path) -> None:
    depth = 1800
    output("mkdir", "-p", tmp_path / "/".join("d" * depth))
    tree = Tree()
    Scanner(tree).add(str(tmp_path / "d"), b"/d")
    output("rm", "-r", tmp_path / "d")
    assert len(list(tree.walk())) == depth + 1


def test_xattrs_are_those_of_the_source_alone(tmp_path: Path) -> None:
    (tmp_path / "directory" / "below").mkdir(parents=True)
    (tmp_path / "directory" / "file").touch()
    tree = Tree()
    xattrs = (("user.note", b"text"),)
    Scanner(tree).add(str(tmp_path / "directory"), b"/d", Metadata(xattrs=xattrs))
    given = {path: node.xattrs for path, node in tree.walk() if path != b"/"}
    assert given == {b"/d": xattrs, b"/d/below": (), b"/d/file": ()}
