"""A Tree keeps its inodes, their order and their links.

Without these tests, a file can vanish from the image, or e2fsck finds a wrong count of links.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembler.errors import RequestError
from assembler.tree.tree import Directory, Node, Tree, parts, regular, show, symlink

NAMES = st.binary(min_size=1, max_size=8).filter(lambda name: not set(name) & {0, ord("/")})
FILES = st.lists(st.lists(NAMES, min_size=1, max_size=4).map(tuple), unique=True)


def linked(tree: Tree, *paths: bytes) -> int:
    """Put one file under several names; returns its group."""
    group = tree.new_group()
    for path in paths:
        tree.add(path, regular(b"x")._replace(group=group))
    return group


def test_add_makes_the_directories_on_the_way() -> None:
    tree = Tree(mtime=7)
    tree.add(b"/a/b/c", regular(b"x", 0o600))
    above = tree.get(b"/a/b")
    assert isinstance(above, Directory)
    assert (above.mode, above.uid, above.gid, above.mtime) == (0o755, 0, 0, 7)
    assert tree.get(b"/a/b/c") == regular(b"x", 0o600)


@pytest.mark.parametrize("path", [b"/", b"/a/b", b"/f/x", b"/l/x", b"/f/"])
def test_get_finds_nothing_where_nothing_is(path: bytes) -> None:
    tree = Tree()
    tree.add(b"/f", regular(b""))
    tree.add(b"/l", symlink(b"/"))
    tree.add(b"/a", Directory())
    found = tree.get(path)
    assert found is {b"/": tree.root, b"/f/": tree.get(b"/f")}.get(path)


@pytest.mark.parametrize("node", [regular(b""), symlink(b"/")])
def test_what_lies_below_a_file_is_refused(node: Node) -> None:
    tree = Tree()
    tree.add(b"/a/\xff", node)
    with pytest.raises(RequestError, match=r"/a/\\xff/b/c: \\xff on the way is not a directory"):
        tree.add(b"/a/\xff/b/c/d", regular(b""))


@given(FILES)
def test_walk_tells_parents_first_and_names_in_byte_order(files: list[tuple[bytes, ...]]) -> None:
    tree = Tree()
    expected = {()}
    for file in files:
        try:
            tree.add(b"/" + b"/".join(file), regular(b""))
        except RequestError:  # below another file
            continue
        expected = {path for path in expected if path[: len(file)] != file or path == file}
        expected |= {file[:end] for end in range(len(file) + 1)}
    walked = [tuple(parts(path)) for path, _ in tree.walk()]
    assert walked == sorted(expected)


def test_names_are_counted() -> None:
    tree = Tree()
    group = linked(tree, b"/a", b"/b/c", b"/d")
    assert tree.names[group] == 3


def test_a_name_that_is_replaced_counts_no_more() -> None:
    tree = Tree()
    group = linked(tree, b"/a", b"/b/c", b"/b/d/e", b"/f")
    tree.add(b"/a", regular(b""))
    assert tree.names[group] == 3
    tree.add(b"/b", symlink(b"x"))
    assert tree.names[group] == 1


def test_a_name_that_replaces_another_of_its_group_counts_once() -> None:
    tree = Tree()
    group = linked(tree, b"/a", b"/b")
    tree.add(b"/a", regular(b"x")._replace(group=group))
    assert tree.names[group] == 2


def test_a_deep_tree_needs_no_recursion() -> None:
    tree = Tree()
    tree.add(b"/d" * 20_000, regular(b""))
    tree.add(b"/d", regular(b""))
    assert [path for path, _ in tree.walk()] == [b"/", b"/d"]


def test_show_escapes_what_is_not_text() -> None:
    assert show("/ä".encode() + b"\xff") == "/ä\\xff"
