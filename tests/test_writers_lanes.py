"""Lanes together hold what the tree holds, and tear no hard links apart."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from assembler.root.tree import Directory, Node, Tree, regular
from assembler.writers.lanes import Lanes, name_roots, payload_tree, share_out

SHARED = {b"/", b"/nix", b"/nix/store"}
NAMES = st.sampled_from([b"a", b"b", b"c"])
PLACES = st.sampled_from([b"/etc", b"/nix", b"/nix/var", *(b"/nix/store/%d" % n for n in range(6))])
PATHS = st.builds(lambda place, *names: b"/".join([place, *names]), PLACES, NAMES, NAMES)


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """A tree with a store, and with files of one to four names anywhere."""
    tree = Tree()
    tree.root.xattrs = (("user.note", b"root"),)
    store = tree.directory(b"/nix/store")
    store.mode, store.gid = 0o1775, 30000
    paths = draw(st.lists(PATHS, unique=True))
    while paths:
        names = [paths.pop() for _ in range(min(len(paths), draw(st.integers(1, 4))))]
        group = tree.new_group() if len(names) > 1 else 0
        content = bytes(draw(st.sampled_from([0, 10, 100_000])))
        for name in names:
            tree.add(name, regular(content)._replace(group=group))
    return tree


def of(root: Directory) -> dict[bytes, Directory | Node]:
    """Every path below a root, and what is there."""
    tree = Tree()
    tree.root = root
    return dict(tree.walk())


@given(trees(), st.integers(1, 4))
def test_the_lanes_are_the_tree(tree: Tree, count: int) -> None:
    lanes = share_out(tree, count)
    assert 1 <= len(lanes.roots) <= count
    whole = of(tree.root)
    held = Counter(path for root in lanes.roots for path in of(root))
    assert set(held) == set(whole)
    assert {path for path, times in held.items() if times > 1} <= SHARED
    assert set(of(lanes.shared)) == (SHARED if count > 1 else {b"/"})
    for root in (*lanes.roots, lanes.shared):
        for path, node in of(root).items():
            assert facts(node) == facts(whole[path])


def facts(node: Directory | Node) -> object:
    if isinstance(node, Node):
        return node
    return node.mode, node.uid, node.gid, node.mtime, node.xattrs, node.source


@given(trees(), st.integers(1, 4))
def test_an_inode_is_in_one_lane(tree: Tree, count: int) -> None:
    lanes = share_out(tree, count)
    groups = [
        {node.group for node in of(root).values() if isinstance(node, Node)} - {0}
        for root in lanes.roots
    ]
    times = Counter(group for found in groups for group in found)
    assert set(times.values()) <= {1}


def test_the_work_is_about_even() -> None:
    tree = Tree()
    for number in range(100):
        tree.add(b"/nix/store/%d/data" % number, regular(bytes(10_000 * (number + 1))))
    sizes = [
        sum(node.size for node in of(root).values() if isinstance(node, Node))
        for root in share_out(tree, 2).roots
    ]
    assert max(sizes) < 1.05 * min(sizes)


def test_a_payload_has_a_directory_for_each_lane() -> None:
    tree = Tree()
    tree.add(b"/nix/store/a", regular(b"x"))
    tree.add(b"/nix/store/b", regular(b"y"))
    lanes = share_out(tree, 2)
    payload = payload_tree(tree, lanes)
    assert set(payload.root.children) == {b"0", b"1", b"shared"}
    assert [name for name, _ in name_roots(lanes)] == ["0", "1", "shared"]


def test_a_tree_without_a_store_is_one_lane() -> None:
    tree = Tree()
    tree.add(b"/etc/x", regular(b""))
    assert isinstance(share_out(tree, 2), Lanes)
    assert share_out(tree, 2).roots == (tree.root,)
