"""Lanes together hold what the tree holds, each about as much work."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from assembler.filesystems.guestfs.lanes import Lanes, share_out
from assembler.tree.tree import Directory, Node, Tree, regular
from tests.support.trees import random_trees

SHARED = {b"/", b"/nix", b"/nix/store"}


def of(root: Directory) -> dict[bytes, Directory | Node]:
    """Every path below a root, and what is there."""
    tree = Tree()
    tree.root = root
    return dict(tree.walk())


@given(random_trees(), st.integers(1, 4))
def test_the_lanes_are_the_tree(tree: Tree, count: int) -> None:
    lanes = share_out(tree, count)
    assert 1 <= len(lanes.roots) <= count
    whole = of(tree.root)
    held = Counter(path for root in lanes.roots for path in of(root))
    assert set(held) == set(whole)
    twice = {path for path, times in held.items() if times > 1}
    assert twice == {path for path, _ in lanes.shared} == (SHARED if lanes.roots[1:] else set())
    for root in lanes.roots:
        for path, node in of(root).items():
            assert facts(node) == facts(whole[path])
    for path, node in lanes.shared:
        assert node is whole[path]


def facts(node: Directory | Node) -> object:
    if isinstance(node, Node):
        return node
    return node.mode, node.uid, node.gid, node.mtime, node.xattrs, node.source


def test_the_work_is_about_even() -> None:
    """Also of a store that is linked through and through."""
    tree = Tree()
    group = tree.new_group()
    for number in range(100):
        tree.add(b"/nix/store/%d/data" % number, regular(bytes(10_000 * (number + 1))))
        tree.add(b"/nix/store/%d/link" % number, regular(b"x")._replace(group=group))
    sizes = [
        sum(node.size for node in of(root).values() if isinstance(node, Node))
        for root in share_out(tree, 2).roots
    ]
    assert max(sizes) < 1.05 * min(sizes)


def test_what_is_outside_the_store_is_work_too() -> None:
    tree = Tree()
    tree.add(b"/var/large", regular(bytes(1_000_000)))
    for number in range(10):
        tree.add(b"/nix/store/%d" % number, regular(bytes(100)))
    first, second = share_out(tree, 2).roots
    assert (b"/var/large" in of(first), len(of(second))) == (True, len(SHARED) + 10)


def test_a_tree_without_a_store_is_one_lane() -> None:
    tree = Tree()
    tree.add(b"/etc/x", regular(b""))
    assert share_out(tree, 2) == Lanes((tree.root,), ())
