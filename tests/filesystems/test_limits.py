"""What a tree may not have for the file system that it goes to."""

from assembler.filesystems.limits import tree_problems
from assembler.tree.tree import Tree, regular, symlink


def a_tree() -> Tree:
    tree = Tree()
    tree.add(b"/etc/NIXOS", regular(b""))
    tree.add(b"/srv/link", symlink(b"x" * 1024))
    group = tree.new_group()
    for name in (b"/nix/store/a/one", b"/nix/store/b/two", b"/srv/sub/three"):
        tree.add(name, regular(b"x")._replace(group=group))
    return tree


def test_ext4_holds_all() -> None:
    assert tree_problems("ext4", a_tree()) == []


def test_xfs_and_long_symlinks() -> None:
    assert tree_problems("xfs", a_tree()) == [
        "/srv/link is a symlink of 1024 bytes; in XFS the longest has 1023"
    ]


def test_subvolumes_that_fit() -> None:
    places = [("@", "/"), ("nix", "/nix"), ("var", "/var/not/there")]
    problems = tree_problems("btrfs", a_tree(), places)
    assert problems == [
        "/srv/sub/three and /nix/store/a/one are names of one file, in different subvolumes"
    ]
    assert tree_problems("btrfs", a_tree(), [("@", "/")]) == []


def test_a_place_that_is_no_directory() -> None:
    places = [("@", "/"), ("a", "/etc/NIXOS"), ("b", "/srv/link/below")]
    assert tree_problems("btrfs", a_tree(), places) == [
        "--subvolume a=/etc/NIXOS: /etc/NIXOS is not a directory",
        "--subvolume b=/srv/link/below: /srv/link is not a directory",
    ]
