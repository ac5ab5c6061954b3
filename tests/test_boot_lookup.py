from pathlib import Path

import pytest

from assembler.boot.lookup import resolve
from assembler.errors import RequestError
from assembler.store.paths import StoreRoot
from tests.boots import link, path_of, put

FILE, LINK = path_of("file", "1"), path_of("link", "2")


def test_links_are_followed_in_the_store(tmp_path: Path) -> None:
    store = StoreRoot(tmp_path)
    put(store, f"{FILE}/a")
    link(store, f"{LINK}/b", f"{FILE}/a")
    assert resolve(store, f"{LINK}/b") == f"{FILE}/a"


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
        resolve(store, path)
    assert str(caught.value) == f"{path} {words}"
