"""Paths in a closure: links are followed as in the image, and never to files of the host.

Without these tests, a link in the closure can bring a file of this host into the image.
"""

import os
from pathlib import Path

import pytest

from assembler.boot.lookup import host_tree, target_of
from assembler.errors import RequestError
from assembler.store.paths import StoreRoot
from tests.support.boots import link, path_of, put

FILE, LINK = path_of("file", "1"), path_of("link", "2")


def test_links_are_followed_in_the_store(tmp_path: Path) -> None:
    store = StoreRoot(tmp_path)
    put(store, f"{FILE}/a")
    link(store, f"{LINK}/b", f"{FILE}/a")
    assert target_of(store, f"{LINK}/b") == f"{FILE}/a"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (f"{FILE}/b", "does not exist"),
        (f"{FILE}/a/b", "cannot be read: Not a directory"),
        (f"{LINK}/nowhere", "is a link that leads nowhere"),
        (f"{LINK}/round", "is a link that leads nowhere"),
    ],
)
def test_where_they_fail_is_told_once(tmp_path: Path, path: str, words: str) -> None:
    store = StoreRoot(tmp_path)
    put(store, f"{FILE}/a")
    link(store, f"{LINK}/nowhere", f"{FILE}/b")
    link(store, f"{LINK}/round", "round")
    with pytest.raises(RequestError) as caught:
        target_of(store, path)
    assert str(caught.value) == f"{path} {words}"


def test_a_link_out_of_the_closure_is_told_for_what_it_is(tmp_path: Path) -> None:
    store = StoreRoot(tmp_path)
    link(store, f"{LINK}/secret", "/home/me/secret")
    with pytest.raises(RequestError, match=f"{LINK}/secret leads to /home/me/secret, which is out"):
        target_of(store, f"{LINK}/secret")


def test_a_directory_for_another_program_has_links_within_itself(tmp_path: Path) -> None:
    store = StoreRoot(tmp_path)
    put(store, f"{FILE}/a")
    link(store, f"{FILE}/b", "a")
    link(store, f"{FILE}/dangling", "nothing")
    assert host_tree(store, FILE) == store.host(FILE)
    assert host_tree(store, f"{FILE}/absent") == store.host(f"{FILE}/absent")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (f"{FILE}/a", "should be a file, not a symlink to another store path"),
        (os.path.realpath(__file__), "leads to .*, which is outside /nix/store"),
        ("../../../.." + os.path.realpath(__file__), "leads to .*, which is outside /nix/store"),
    ],
)
def test_another_program_is_not_led_to_files_of_this_host(
    tmp_path: Path, target: str, words: str
) -> None:
    store = StoreRoot(tmp_path)
    put(store, f"{FILE}/a")
    link(store, f"{LINK}/mods/a", target)
    with pytest.raises(RequestError, match=f"{LINK}/mods/a {words}"):
        host_tree(store, LINK)
    with pytest.raises(RequestError, match=f"{LINK}/mods/a {words}"):
        host_tree(store, f"{LINK}/mods/a")
