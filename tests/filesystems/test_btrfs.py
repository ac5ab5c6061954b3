"""Trees that do not fit into subvolumes are refused.

Without these tests, a hard link between two subvolumes can end the run after minutes, in the
appliance.
"""

from assembler.filesystems.btrfs import BTRFS
from assembler.tree.tree import Tree, regular, symlink


def a_tree() -> Tree:
    tree = Tree()
    tree.add(b"/etc/NIXOS", regular(b""))
    tree.add(b"/srv/link", symlink(b"x" * 1024))
    group = tree.new_group()
    for name in (b"/nix/store/a/one", b"/nix/store/b/two", b"/srv/sub/three"):
        tree.add(name, regular(b"x")._replace(group=group))
    return tree


def test_subvolumes_that_fit() -> None:
    places = [("@", "/"), ("nix", "/nix"), ("var", "/var/not/there")]
    problems = BTRFS.tree_problems(a_tree(), places)
    assert problems == [
        "/srv/sub/three and /nix/store/a/one are names of one file, in different subvolumes"
    ]
    assert BTRFS.tree_problems(a_tree(), [("@", "/")]) == []
    assert BTRFS.tree_problems(a_tree(), []) == []


def test_a_subvolume_inside_another() -> None:
    """A file belongs to the subvolume with the longest place."""
    inner = [("@", "/"), ("a", "/nix/store/a")]
    assert len(BTRFS.tree_problems(a_tree(), inner)) == 2
    whole = [("n", "/nix"), ("s", "/srv")]
    assert len(BTRFS.tree_problems(a_tree(), whole)) == 1


def test_a_place_that_is_no_directory() -> None:
    places = [("@", "/"), ("a", "/etc/NIXOS"), ("b", "/srv/link/below")]
    assert BTRFS.tree_problems(a_tree(), places) == [
        "subvolumes a=/etc/NIXOS: /etc/NIXOS is not a directory",
        "subvolumes b=/srv/link/below: /srv/link is not a directory",
    ]
