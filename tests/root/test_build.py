"""The whole Tree: every inode with the owner it will have.

Without these tests, a file can have the wrong owner, and Nix or a service on the machine refuses
it.
"""

from pathlib import Path

import pytest

from assembler.root import skeleton
from assembler.root.build import build_tree, scan_store
from assembler.tree.closure_files import ClosureFiles
from assembler.tree.scan import Scanner
from assembler.tree.tree import Directory, Node, Tree, regular
from tests.support.helpers import closure_of, prepare_root
from tests.support.systems import System, make_system

EPOCH = 1_700_000_000
BOOT = {
    "/boot/grub/grub.cfg": regular(b"menu", 0o600, mtime=EPOCH),
    "/boot/kernels/linux": regular(b"kernel", 0o644, mtime=EPOCH),
}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def tree(system: System, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return built(system, tmp_path_factory.mktemp("staging"), BOOT)


def built(
    system: System, staging: Path, boot: dict[str, Node], configuration: Path | None = None
) -> Tree:
    """The tree of a system, with a channel where it has a configuration."""
    closure, store = closure_of(system)
    prepare_root(
        staging,
        closure,
        store,
        system.toplevel,
        epoch=EPOCH,
        channel=system.paths[2] if configuration else None,
        configuration=configuration,
    )
    tree = Tree(mtime=EPOCH)
    scanner = Scanner(tree)
    scan_store(tree, scanner, closure, ClosureFiles(store, staging))
    build_tree(tree, scanner, staging, boot, EPOCH)
    return tree


def test_directories_have_the_skeletons_owners_and_modes(tree: Tree) -> None:
    for place in (*skeleton.DIRECTORIES, *skeleton.BOOT_DIRECTORIES):
        found = tree.get(place.path.encode())
        assert isinstance(found, Directory)
        assert (found.mode, found.uid, found.gid) == (place.mode, place.uid, place.gid)
        assert found.mtime == EPOCH


def test_the_store_is_as_nix_leaves_it(tree: Tree, system: System) -> None:
    for path, node in tree.walk():
        if path.startswith(b"/nix/store/"):
            assert (node.uid, node.gid, node.mtime) == (0, 0, 1)
            assert node.mode in ((0o555,) if isinstance(node, Directory) else (0o444, 0o555, 0o777))
    store = tree.get(b"/nix/store")
    assert isinstance(store, Directory)
    assert sorted(store.children) == [path[11:].encode() for path in sorted(system.paths)]


def test_all_else_is_roots_and_of_the_epoch(tree: Tree) -> None:
    for path, node in tree.walk():
        if not path.startswith(b"/nix/store"):
            assert (node.uid, node.gid, node.mtime) == (0, 0, EPOCH)
            if isinstance(node, Node):
                assert node.mode in (0o600, 0o644, 0o777)


def test_the_trees_files_are_those_of_the_staging_and_the_boot_loader(tree: Tree) -> None:
    files = {path.decode() for path, node in tree.walk() if isinstance(node, Node)}
    assert {path for path in files if not path.startswith("/nix/store/")} == {
        *skeleton.FILES,
        *skeleton.links("", shell=""),
        *BOOT,
        "/nix/var/nix/db/db.sqlite",
        "/nix/var/nix/db/schema",
    }


def test_what_only_some_roots_have(system: System, tmp_path: Path) -> None:
    file, staging = tmp_path / "configuration.nix", tmp_path / "staging"
    file.write_bytes(b"{ }")
    file.chmod(0o600)
    staging.mkdir()
    tree = built(system, staging, BOOT, file)
    places = (*skeleton.CHANNEL_DIRECTORIES, *skeleton.CONFIGURATION_DIRECTORIES)
    for place in places:
        found = tree.get(place.path.encode())
        assert isinstance(found, Directory)
        assert (found.mode, found.uid, found.gid) == (place.mode, place.uid, place.gid)
        assert found.mtime == EPOCH
    for path in (skeleton.CONFIGURATION, "/root/.nix-defexpr/channels"):
        node = tree.get(path.encode())
        assert isinstance(node, Node)
        assert node.mode == (0o644 if path == skeleton.CONFIGURATION else 0o777)
        assert (node.uid, node.gid, node.mtime) == (0, 0, EPOCH)
    usual = tmp_path / "usual"
    usual.mkdir()
    without = built(system, usual, BOOT)
    assert [without.get(place.path.encode()) for place in places] == [None, None]


def test_without_grub_there_is_no_directory_for_it(system: System, tmp_path: Path) -> None:
    tree = built(system, tmp_path, {})
    assert tree.get(b"/boot/grub") is None


def test_two_builds_are_equal(tree: Tree, system: System, tmp_path: Path) -> None:
    def facts(tree: Tree) -> list[tuple[object, ...]]:
        return [
            (path, node.mode, node.uid, node.gid, node.mtime, getattr(node, "size", 0))
            for path, node in tree.walk()
        ]

    assert facts(built(system, tmp_path, BOOT)) == facts(tree)
