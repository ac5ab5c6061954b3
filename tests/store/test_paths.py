"""Store paths, against Nix itself, and links as the image will follow them.

Without these tests, a path can be taken for another store path, or a link in it leads to files of
this host.
"""

import os
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembler.errors import RequestError
from assembler.store.paths import AbsentError, StoreRoot, follow_links, is_store_path, store_path_of
from tests.support.helpers import directory, output
from tests.support.systems import store_path

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
    printed = subprocess.run(asked, capture_output=True, check=False).stderr
    assert is_store_path(path) == (b"is not valid" in printed), printed


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


def followed(root: Path, path: str) -> str:
    """What a path leads to below a root, wherever that is."""
    return follow_links(path, StoreRoot(root).link, lambda _path: "")


def test_links_are_followed_below_the_root(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").touch()
    (tmp_path / "a/up").symlink_to("../a/b")
    (tmp_path / "absolute").symlink_to("/a/up/./file")
    assert followed(tmp_path, "/absolute") == "/a/b/file"


def test_links_are_followed_as_the_kernel_does_where_the_root_is_the_hosts() -> None:
    for path in ("/bin/sh", "/usr/lib/../bin/env", "/var/run", "/etc/mtab", "/"):
        assert followed(Path("/"), path) == os.path.realpath(path)


def test_links_that_lead_above_the_root_stay_below_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("../../../../../../../../file")
    assert followed(tmp_path, "/link") == "/file"


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
def test_it_is_told_what_is_absent(tmp_path: Path, path: str, words: str) -> None:
    (tmp_path / "dangling").symlink_to("nothing")
    (tmp_path / "file").touch()
    (tmp_path / "round").symlink_to("round")
    (tmp_path / "locked").mkdir(mode=0)
    with pytest.raises(AbsentError, match=words):
        followed(tmp_path, path)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("/etc/passwd", "leads to /etc/passwd, which is outside /nix/store"),
        ("../../../../etc/passwd", "leads to /etc/passwd, which is outside /nix/store"),
        ("../../../../../../../etc", "leads to /etc, which is outside /nix/store"),
        (f"{SHELL}/../../../home/me", "leads to /home/me, which is outside /nix/store"),
        ("/nix/var/nix/db/db.sqlite", "leads to /nix/var/nix/db/db.sqlite, which is outside"),
        ("/nix/store/.links/x", "leads to /nix/store/.links/x, which is outside /nix/store"),
        ("/nix/store", "leads to /nix/store, which is not in a store path"),
        ("..", "leads to /nix/store, which is not in a store path"),
        ("/", "leads to /, which is not in a store path"),
    ],
)
def test_no_link_is_followed_out_of_the_store(tmp_path: Path, target: str, words: str) -> None:
    """Whether there is anything or not."""
    for exists in ("etc/passwd", "home/me", "nix/var/nix/db/db.sqlite", "nix/store/.links/x"):
        (tmp_path / exists).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / exists).touch()
    (tmp_path / SHELL[1:]).mkdir()
    (tmp_path / SHELL[1:] / "link").symlink_to(target)
    path = f"{SHELL}/link"
    with pytest.raises(RequestError) as caught:
        StoreRoot(tmp_path).resolve(path)
    assert not isinstance(caught.value, AbsentError)
    assert str(caught.value).startswith(f"{path} {words}")


def test_paths_outside_the_store_are_not_looked_at() -> None:
    with pytest.raises(RequestError, match="/etc/passwd is outside /nix/store"):
        StoreRoot().resolve("/etc/passwd")


# The names along a path or a link's target, from the store of a root with links in it.
NAMES = st.lists(st.sampled_from(["a", "b", "..", ".", "nix", "store", SHELL[11:], "etc"]))


@given(target=NAMES, absolute=st.booleans(), path=NAMES)
def test_whatever_links_lead_to_is_in_the_store(
    target: list[str], absolute: bool, path: list[str]
) -> None:
    with directory() as root:
        top = root / SHELL[1:]
        top.mkdir(parents=True)
        (root / "etc").mkdir()
        (top / "a").symlink_to("/" * absolute + "/".join(target) or ".")
        (top / "b").touch()
        with suppress(RequestError):
            real = StoreRoot(root).resolve(f"{SHELL}/{'/'.join(path)}")
            assert store_path_of(real) == SHELL
            assert not StoreRoot(root).fault(real)


@pytest.mark.parametrize("text", [store_path(1, "\u0660"), store_path(1, "\udcff"), "\0", "\ud800"])
def test_odd_text_is_no_store_path(text: str) -> None:
    assert not is_store_path(text)
    assert store_path_of(text) is None
