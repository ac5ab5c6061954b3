"""Each kind of root file system has its own limits, and Linux has the rest.

Without these tests, the limits of one kind would be applied to all of them, or forgotten.
"""

import stat
from dataclasses import dataclass

import pytest

from assembler.filesystems.demand import measure
from assembler.filesystems.registry import ROOT_KINDS
from assembler.tree.linux import XATTR_SIZE_MAX
from assembler.tree.tree import Node, Sparse, Tree, Xattrs, regular, symlink
from tests.support.trees import LARGEST_XATTR

_MAX = (1 << 63) - 1


@dataclass(frozen=True, kw_only=True)
class LimitRow:
    """The most that a kind can hold, and how a number above it is reported."""

    size: int = _MAX  # bytes of the file system
    file: int = _MAX  # bytes of a file
    symlink: int = 4095  # bytes of a target
    names: int = 0xFFFFFFFF  # of one file
    time: int = _MAX  # seconds since 1970
    value: int  # bytes, of a lone user.note
    values: int  # of 1000 bytes each that one file has


ROWS = {
    "ext4": LimitRow(
        size=8 << 40,
        file=(16 << 40) - 4096,
        names=65000,
        time=0x3_7FFF_FFFF,
        value=LARGEST_XATTR,
        values=3,
    ),
    "btrfs": LimitRow(names=65535, value=16219, values=100),
    # The last time is 2486-07-02 20:20:24 UTC, as a comment in the kernel has it.
    "xfs": LimitRow(symlink=1023, names=0x7FFFFFFF, time=16_299_260_424, value=65536, values=100),
    "f2fs": LimitRow(size=16 << 40, file=4_329_687_105_536, value=4032, values=3),  # 3.94 TiB
}
KINDS = pytest.mark.parametrize("name", ROWS)


def with_file(size: int) -> Tree:
    """A tree with a file that is one hole, and has two names."""
    tree = Tree()
    node = Node(stat.S_IFREG, 0o644, size, Sparse("/huge", ()), group=tree.new_group())
    tree.add(b"/srv/huge", node)
    tree.add(b"/srv/huge-too", node)
    return tree


def problems(name: str, tree: Tree) -> list[str]:
    return ROOT_KINDS[name].problems(tree, measure(tree))


def test_each_kind_has_a_row() -> None:
    assert {*ROWS} == {*ROOT_KINDS}


@KINDS
def test_numbers(name: str) -> None:
    """The spec and the scanner read these."""
    row, limits = ROWS[name], ROOT_KINDS[name].limits
    assert (limits.size, limits.names, limits.time) == (row.size, row.names, row.time)


@KINDS
def test_large_files(name: str) -> None:
    """Each is reported once, however many names it has."""
    most = ROWS[name].file
    assert problems(name, with_file(most)) == []
    if most < _MAX:
        fault = f"is a file of {most + 1} bytes; in {name} the largest has {most}"
        assert problems(name, with_file(most + 1)) == [f"/srv/huge {fault}"]


@pytest.mark.parametrize(("name", "refused"), [("ext4", 1), ("btrfs", 0), ("xfs", 0), ("f2fs", 1)])
def test_a_sparse_file_of_17_tib(name: str, refused: int) -> None:
    assert len(problems(name, with_file(17 << 40))) == refused


@KINDS
def test_long_symlinks(name: str) -> None:
    most, tree = ROWS[name].symlink, Tree()
    tree.add(b"/srv/fits", symlink(b"x" * most))
    assert problems(name, tree) == []
    tree.add(b"/srv/link", symlink(b"x" * (most + 1)))
    fault = f"is a symlink of {most + 1} bytes; in {name} the longest has {most}"
    assert problems(name, tree) == [f"/srv/link {fault}"]


@KINDS
def test_a_large_xattr(name: str) -> None:
    kind, most = ROOT_KINDS[name], ROWS[name].value
    assert kind.xattr_problems((("user.note", bytes(most)),)) == []
    if most < XATTR_SIZE_MAX:
        [line] = kind.xattr_problems((("user.note", bytes(most + 7)),))
        assert line.endswith(f" 7 bytes more than {name} can hold")


@KINDS
def test_many_xattrs(name: str) -> None:
    kind, most = ROOT_KINDS[name], ROWS[name].values
    many: Xattrs = tuple((f"user.{number}", bytes(1000)) for number in range(most + 1))
    assert kind.xattr_problems(many[:-1]) == []
    if most < 100:
        [line] = kind.xattr_problems(many)
        assert line.startswith("xattrs are ")


@pytest.mark.parametrize(("name", "refused"), [("ext4", 1), ("btrfs", 0), ("xfs", 0), ("f2fs", 1)])
def test_an_xattr_of_5000_bytes(name: str, refused: int) -> None:
    assert len(ROOT_KINDS[name].xattr_problems((("user.note", bytes(5000)),))) == refused


def test_each_xattr_that_is_too_large_is_named() -> None:
    large = tuple((f"user.{number}", bytes(20000)) for number in range(2))
    assert ROOT_KINDS["btrfs"].xattr_problems(large) == [
        f"the extended attribute user.{number} is 3778 bytes more than btrfs can hold"
        for number in range(2)
    ]


def test_large_xattrs_need_several_blocks() -> None:
    """Free space must not pay for them."""
    tree = Tree()
    tree.add(b"/f", regular(b"")._replace(xattrs=(("user.a", bytes(XATTR_SIZE_MAX)),)))
    plain = Tree()
    plain.add(b"/f", regular(b""))
    assert measure(tree).blocks == measure(plain).blocks + 17
