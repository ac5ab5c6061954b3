"""Store paths, against Nix itself, and links as the image will follow them."""

import os
import subprocess
from pathlib import Path

import pytest

from assembler.errors import RequestError
from assembler.store.paths import StoreRoot, is_store_path, store_path_of
from tests.helpers import output
from tests.systems import store_path

SHELL = store_path(1, "bash-5")


@pytest.mark.parametrize(
    "path",
    [
        store_path(1, "x"),
        store_path(1, "x" * 211),
        store_path(1, "x" * 212),
        store_path(1, "a+b-c._?=D9"),
        store_path(1, "a b"),
        store_path(1, "a~b"),
        store_path(1, "ä"),
        "/nix/store/" + "e" * 32 + "-x",
        "/nix/store/" + "1" * 31 + "-x",
        "/nix/store/" + "1" * 32,
        store_path(1, ""),
    ],
)
def test_nix_agrees_on_what_a_store_path_is(tmp_path: Path, path: str) -> None:
    asked = ["nix-store", "--store", f"local?root={tmp_path}", "--check-validity", path]
    said = subprocess.run(asked, capture_output=True, check=False).stderr
    assert is_store_path(path) == (b"is not valid" in said), said


@pytest.mark.parametrize("path", ["", "/", "/nix/store", f"{SHELL}/bin", f"{SHELL}\n", f"x{SHELL}"])
def test_what_is_no_store_path_itself(path: str) -> None:
    assert not is_store_path(path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (SHELL, SHELL),
        (f"{SHELL}/bin/sh", SHELL),
        (f"{SHELL}~", None),
        (f"{SHELL}{'x' * 211}", None),
        ("/bin/sh", None),
        ("/nix/store/.links/x", None),
    ],
)
def test_store_path_of(path: str, expected: str | None) -> None:
    assert store_path_of(path) == expected


def test_the_hosts_own_store_is_what_nix_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NIX_REMOTE", raising=False)
    assert StoreRoot().uri == "auto"
    monkeypatch.setenv("NIX_REMOTE", "daemon")
    assert StoreRoot().uri == "daemon"


@pytest.mark.parametrize("name", ["a?b", "a&b=c", "a%20b", "with space", "ä", "a#b", "a+b"])
def test_nix_finds_a_store_in_a_directory_of_any_name(tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    root.mkdir()
    output("nix-store", "--store", StoreRoot(root).uri, "--load-db")
    assert (root / "nix/var/nix/db/db.sqlite").is_file()
    assert len(list(tmp_path.iterdir())) == 1


def test_resolve_follows_links_below_the_root(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").touch()
    (tmp_path / "a/up").symlink_to("../a/b")
    (tmp_path / "absolute").symlink_to("/a/up/./file")
    assert StoreRoot(tmp_path).resolve("/absolute") == "/a/b/file"


def test_resolve_agrees_with_the_kernel_where_the_root_is_the_hosts() -> None:
    for path in ("/bin/sh", "/usr/lib/../bin/env", "/var/run", "/etc/mtab", "/"):
        assert StoreRoot().resolve(path) == os.path.realpath(path)


def test_links_that_lead_out_stay_in(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("../../../../../../../../file")
    assert StoreRoot(tmp_path).resolve("/link") == "/file"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/absent", "/absent does not exist: .*: No such file"),
        ("/dangling", "/dangling does not exist"),
        ("/file/below", "/file/below does not exist: .*: Not a directory"),
        ("/round", "/round: too many levels of symbolic links"),
        ("/locked/file", "/locked/file does not exist: .*: Permission denied"),
        ("/" + "x" * 300, "File name too long"),
        ("/a\0b", "is no file name"),
        ("/\ud800", "is no file name"),
    ],
)
def test_resolve_says_what_is_wrong(tmp_path: Path, path: str, words: str) -> None:
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "file").touch()
    (tmp_path / "round").symlink_to("round")
    (tmp_path / "locked").mkdir(mode=0)
    with pytest.raises(RequestError, match=words):
        StoreRoot(tmp_path).resolve(path)


@pytest.mark.parametrize("text", [store_path(1, "\u0660"), store_path(1, "\udcff"), "\0", "\ud800"])
def test_odd_text_is_no_store_path(text: str) -> None:
    assert not is_store_path(text)
    assert store_path_of(text) is None
