"""Files that GRUB's menu shows: a theme is copied with all its files, and no link leads out.

Without these tests, a theme can lack pictures, or take files of this host into the image.
"""

from pathlib import Path

import pytest

from assembler.boot.boot_file import BootFile
from assembler.boot.grub.assets import find_theme
from assembler.boot.lookup import find_file
from assembler.errors import RequestError
from assembler.store.paths import StoreRoot
from tests.support.boots import link, path_of, put

THEME = path_of("theme")


@pytest.fixture
def store(tmp_path: Path) -> StoreRoot:
    return StoreRoot(tmp_path)


def test_a_theme_is_all_files_below_a_directory(store: StoreRoot) -> None:
    put(store, f"{THEME}/theme.txt")
    put(store, f"{THEME}/icons/nixos.png")
    store.host(f"{THEME}/icons/nixos.png").chmod(0o444)
    other = put(store, path_of("font.pf2", "1"))
    link(store, f"{THEME}/fonts/font.pf2", other)
    assert find_theme(store, THEME) == (
        BootFile("fonts/font.pf2", store.host(other), 0o644),
        BootFile("icons/nixos.png", store.host(f"{THEME}/icons/nixos.png"), 0o444),
        BootFile("theme.txt", store.host(f"{THEME}/theme.txt"), 0o644),
    )


def test_links_to_directories_in_a_theme_are_followed(store: StoreRoot) -> None:
    icons = path_of("icons", "1")
    put(store, f"{icons}/b/c.png")
    link(store, f"{THEME}/icons", icons)
    assert find_theme(store, THEME) == (
        BootFile("icons/b/c.png", store.host(f"{icons}/b/c.png"), 0o644),
    )


def test_a_theme_that_has_no_end_is_refused(store: StoreRoot) -> None:
    link(store, f"{THEME}/a/b", "..")
    with pytest.raises(RequestError, match=f"{THEME}/a/b leads to a directory above it"):
        find_theme(store, THEME)


def test_a_theme_of_links_that_multiply_is_refused(store: StoreRoot) -> None:
    for level in range(40):
        for side in ("a", "b"):
            link(store, f"{THEME}-{level}/{side}", f"{THEME}-{level + 1}")
    put(store, f"{THEME}-40/file")
    with pytest.raises(RequestError, match=f"{THEME}-0 has more than 10000 files"):
        find_theme(store, f"{THEME}-0")
    put(store, f"{THEME}{'/a' * 60}/file")
    with pytest.raises(RequestError, match=f"{THEME} has more than 10000 files, or is too deep"):
        find_theme(store, THEME)


def test_what_is_no_file_is_refused(store: StoreRoot) -> None:
    put(store, f"{THEME}/a")
    with pytest.raises(RequestError, match=f"{THEME} is not a file"):
        find_file(store, THEME)


@pytest.mark.parametrize("target", ["/home/me/secret", "../../../home/me/secret", "/home/me"])
def test_nothing_of_this_host_is_taken_for_a_file_of_the_closure(
    store: StoreRoot, target: str
) -> None:
    put(store, "/home/me/secret")
    link(store, f"{THEME}/secret", target)
    for find in (find_theme, find_file):
        path = THEME if find is find_theme else f"{THEME}/secret"
        with pytest.raises(RequestError, match=f"{THEME}/secret leads to /home/me.* is outside"):
            find(store, path)
