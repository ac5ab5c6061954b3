"""What leads to a store path, as Nix's own tools follow it.

Without these tests, `./result` or a profile can be refused as a system, or lead to another one.
"""

import os
import subprocess
from pathlib import Path

import pytest

from assembler.store.links import link_fault, to_store_path
from assembler.store.paths import StoreRoot
from tests.support.systems import make_system, store_path

SYSTEM, OTHER = store_path(4, "nixos-system"), store_path(5, "nixos-other")
HOST = StoreRoot()


@pytest.mark.parametrize("given", [SYSTEM, f"{SYSTEM}/", f"/nix/store/../store/{SYSTEM[11:]}//"])
def test_a_store_path_is_itself_though_it_is_absent(given: str) -> None:
    assert to_store_path(given, HOST) == SYSTEM
    assert link_fault(given, HOST) == ""


def test_a_result_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "result").symlink_to(SYSTEM)
    monkeypatch.chdir(tmp_path)
    for given in ("result", "./result", "result/", str(tmp_path / "result")):
        assert to_store_path(given, HOST) == SYSTEM


def test_a_profile_is_a_link_beside_a_link(tmp_path: Path) -> None:
    profiles = tmp_path / "profiles"
    profiles.mkdir()
    (profiles / "system").symlink_to("system-42-link")
    (profiles / "system-42-link").symlink_to(SYSTEM)
    (tmp_path / "way").symlink_to("profiles")
    assert to_store_path(f"{tmp_path}/way/system", HOST) == SYSTEM
    (tmp_path / "far").mkdir()
    (tmp_path / "far/back").symlink_to(profiles)
    (profiles / "up").symlink_to("../profiles/system")
    assert to_store_path(f"{tmp_path}/far/back/up", HOST) == SYSTEM


def test_a_profile_in_the_directory_of_a_store(tmp_path: Path) -> None:
    """By its name on the machine and by that on the host; the target is the machine's, too."""
    profiles = tmp_path / "nix/var/nix/profiles"
    profiles.mkdir(parents=True)
    (profiles / "system").symlink_to("/nix/var/nix/profiles/system-1-link")
    (profiles / "system-1-link").symlink_to(SYSTEM)
    (tmp_path / "result").symlink_to(f"{tmp_path}{SYSTEM}")
    store = StoreRoot(tmp_path)
    for given in ("/nix/var/nix/profiles/system", f"{profiles}/system", f"{tmp_path}/result"):
        assert to_store_path(given, store) == SYSTEM


def test_a_store_path_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "nix/store").mkdir(parents=True)
    (tmp_path / SYSTEM[1:]).symlink_to(OTHER)
    assert to_store_path(SYSTEM, StoreRoot(tmp_path)) == SYSTEM


def test_a_link_below_a_store_path_leads_on(tmp_path: Path) -> None:
    (tmp_path / SYSTEM[1:] / "specialisation").mkdir(parents=True)
    (tmp_path / SYSTEM[1:] / "specialisation/rescue").symlink_to(OTHER)
    (tmp_path / "result").symlink_to(SYSTEM)
    store = StoreRoot(tmp_path)
    assert to_store_path(f"{SYSTEM}/specialisation/rescue", store) == OTHER


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("", "it is empty"),
        ("absent", "it does not exist"),
        ("dangling", "it leads to /absent, which does not exist"),
        ("loop", "it is a link that leads back to itself"),
        ("file", "it should be /nix/store/<hash>-<name>, or a link to one"),
        ("to-file", "which should be /nix/store/<hash>-<name>, or a link to one"),
        ("below", f"it leads to {SYSTEM}/sw/bin, which lies below one: {SYSTEM}"),
        (f"{SYSTEM}/init", f"it lies below one: {SYSTEM}"),
        ("/nix/store/short-name", "it should be /nix/store/<hash>-<name>, or a link to one"),
    ],
)
def test_what_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, why: str
) -> None:
    links = {"dangling": "/absent", "loop": "loop", "to-file": "file", "below": f"{SYSTEM}/sw/bin"}
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    assert to_store_path(given, HOST) == given
    assert link_fault(given, HOST).endswith(why)


def test_nix_follows_the_same(tmp_path: Path) -> None:
    """Against nix-store, for a link of each kind."""
    system = make_system(tmp_path / "root")
    registration = system.registration.read_bytes()
    nix = ["nix-store", "--store", f"local?root={system.root}"]
    subprocess.run([*nix, "--load-db"], input=registration, check=True)
    (tmp_path / "result").symlink_to(system.toplevel)
    (tmp_path / "profile").symlink_to("result")
    for name in ("result", "profile"):
        given = os.fspath(tmp_path / name)
        query = [*nix, "--query", "--hash", given]
        assert subprocess.run(query, capture_output=True).returncode == 0
        assert to_store_path(given, StoreRoot(system.root)) == system.toplevel
