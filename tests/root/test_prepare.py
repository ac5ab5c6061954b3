"""prepare_root, against stat, find and nix-store.

Without these tests, a second run of prepare-root can remove a user's files, or follow a link out of
the root.
"""

import os
import shutil
from pathlib import Path

import pytest

from assembler.errors import HostError, RequestError
from assembler.root import skeleton
from assembler.store.paths import StoreRoot
from tests.support.helpers import (
    closure_of,
    copy_closure,
    nix_store,
    output,
    prepare_root,
    read,
    verify,
)
from tests.support.systems import System, add_path, make_system, store_path


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(tmp_path_factory.mktemp("source"))


def prepare(root: Path, system: System, epoch: int = 1) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    closure, store = closure_of(system)
    prepare_root(root, closure, store, system.toplevel, epoch=epoch)
    return root


CHANNEL = store_path(7, "nixos-23.05")
ENV = store_path(8, "coreutils-9")


@pytest.fixture(scope="module")
def full_system(tmp_path_factory: pytest.TempPathFactory) -> System:
    """A system whose closure holds a channel and `env` as well."""
    system = make_system(tmp_path_factory.mktemp("full"))
    more = [
        add_path(system, CHANNEL, {"nixos/default.nix": b"{ }"}),
        add_path(system, ENV, {"bin/env": b"#!\n"}),
    ]
    for registration in more:
        with system.registration.open("a") as file:
            file.write(registration.read_text())
    return system


def prepare_fully(root: Path, system: System, configuration: Path, epoch: int = 1) -> Path:
    """Prepare a root with everything that can be asked for."""
    root.mkdir(parents=True, exist_ok=True)
    closure, store = closure_of(system)
    prepare_root(
        root,
        closure,
        store,
        system.toplevel,
        epoch=epoch,
        generations=[(2, system.toplevel), (5, system.paths[2])],
        channel=CHANNEL,
        configuration=configuration,
    )
    return root


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """A configuration that is private on the host, and not UTF-8."""
    file = tmp_path / "host-configuration.nix"
    file.write_bytes(b"{ } # caf\xe9\n")
    file.chmod(0o600)
    return file


def listing(root: Path) -> list[bytes]:
    """Every path with type, mode, link target and size, as find(1) sees them."""
    return sorted(output("find", root, "-printf", "%P %y %m %l %s\\0").split(b"\0"))


def files_and_links(root: Path) -> list[str]:
    """All that is no directory, with the targets of links, as find(1) sees them."""
    found = output("find", root, "!", "-type", "d", "-printf", "/%P %l\n")
    return sorted(found.decode().splitlines())


def test_the_skeleton_is_there_with_its_modes(tmp_path: Path, system: System) -> None:
    root = prepare(tmp_path / "root", system)
    for place in skeleton.DIRECTORIES:
        printed = output("stat", "-c", "%F %a", root / place.path[1:]).decode().strip()
        assert printed == f"directory {place.mode:o}"


def test_nothing_but_the_skeleton_is_there(tmp_path: Path, system: System) -> None:
    root = prepare(tmp_path / "root", system)
    assert files_and_links(root) == [
        f"/bin/sh {system.paths[2]}/bin/bash",
        "/etc/NIXOS ",
        "/nix/var/nix/db/db.sqlite ",
        "/nix/var/nix/db/schema ",
        "/nix/var/nix/gcroots/booted-system /run/booted-system",
        "/nix/var/nix/gcroots/current-system /run/current-system",
        "/nix/var/nix/gcroots/profiles /nix/var/nix/profiles",
        "/nix/var/nix/profiles/system system-1-link",
        f"/nix/var/nix/profiles/system-1-link {system.toplevel}",
        "/var/run /run",
    ]


def test_all_that_can_be_asked_for_is_there(
    tmp_path: Path, system: System, full_system: System, configuration: Path
) -> None:
    usual = files_and_links(prepare(tmp_path / "usual", system))
    full = files_and_links(prepare_fully(tmp_path / "root", full_system, configuration))
    profiles = "/nix/var/nix/profiles"
    assert sorted(set(full) - set(usual)) == [
        "/etc/nixos/configuration.nix ",
        f"/nix/var/nix/gcroots/assemble/{ENV[11:]} {ENV}",
        f"{profiles}/per-user/root/channels channels-1-link",
        f"{profiles}/per-user/root/channels-1-link {CHANNEL}",
        f"{profiles}/system system-2-link",
        f"{profiles}/system-2-link {full_system.toplevel}",
        f"{profiles}/system-5-link {full_system.paths[2]}",
        f"/root/.nix-defexpr/channels {profiles}/per-user/root/channels",
        f"/usr/bin/env {ENV}/bin/env",
    ]
    assert set(usual) - set(full) == {
        f"{profiles}/system system-1-link",
        f"{profiles}/system-1-link {system.toplevel}",
    }


def test_the_configuration_is_the_hosts_file(
    tmp_path: Path, full_system: System, configuration: Path
) -> None:
    root = prepare_fully(tmp_path / "root", full_system, configuration, epoch=86400)
    copy = root / "etc/nixos/configuration.nix"
    output("cmp", configuration, copy)
    assert output("stat", "-c", "%a %Y %F", copy) == b"644 86400 regular file\n"
    assert output("stat", "-c", "%a", copy.parent) == b"755\n"
    assert output("stat", "-c", "%a", root / "root/.nix-defexpr") == b"700\n"


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_umask_is_no_difference(
    tmp_path: Path, full_system: System, configuration: Path, umask: int
) -> None:
    expected = listing(prepare_fully(tmp_path / "usual", full_system, configuration))
    before = os.umask(umask)
    try:
        assert listing(prepare_fully(tmp_path / "other", full_system, configuration)) == expected
    finally:
        os.umask(before)


def test_nix_takes_the_links_for_roots_of_its_garbage_collector(
    tmp_path: Path, full_system: System, configuration: Path
) -> None:
    root = prepare_fully(tmp_path / "root", full_system, configuration)
    closure, store = closure_of(full_system)
    copy_closure(root, closure, store)
    printed = nix_store(root, "--gc", "--print-roots").decode().splitlines()
    places = {line.split(" -> ")[0].removeprefix(f"{root}/nix/var/nix/") for line in printed}
    assert places == {
        "profiles/system-2-link",
        "profiles/system-5-link",
        "profiles/per-user/root/channels-1-link",
        f"gcroots/assemble/{ENV[11:]}",
    }
    nix_store(root, "--gc")
    assert verify(root) == ""
    assert (root / ENV[1:]).exists()
    assert (root / CHANNEL[1:] / "nixos/default.nix").is_file()


@pytest.mark.parametrize("name", ["nixos", "nixpkgs"])
def test_nix_finds_the_channel(demo_system: str, tmp_path: Path, name: str) -> None:
    """A channel in the live store, so that the links that the root holds lead somewhere here."""
    tree = tmp_path / "channels"
    (tree / name).mkdir(parents=True)
    (tree / name / "default.nix").write_text(f"{{ }} # {tmp_path}")
    channel = output("nix-store", "--add", tree).decode().strip()
    try:
        closure = read([], StoreRoot(), demo_system, [channel])
        root = tmp_path / "root"
        root.mkdir()
        prepare_root(root, closure, StoreRoot(), demo_system, epoch=1, channel=channel)
        channels = root / "nix/var/nix/profiles/per-user/root/channels"
        found = output(
            "env", f"NIX_PATH=nixpkgs={channels}/nixos:nixos-config=/none:{channels}",
            "nix-instantiate", "--find-file", "nixpkgs",
        ).decode().strip()  # fmt: skip
        assert os.path.realpath(found) == f"{channel}/{name}"
    finally:
        output("nix-store", "--delete", channel)


def test_a_second_run_with_less_takes_nothing_away(
    tmp_path: Path,
    system: System,
    full_system: System,
    configuration: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What a machine has beyond the request stays, with a warning of what that means."""
    root = prepare_fully(tmp_path / "root", full_system, configuration)
    before = files_and_links(root)
    assert caplog.messages == []
    prepare(root, system)
    after = files_and_links(root)
    profiles = "/nix/var/nix/profiles"
    assert set(before) - set(after) == {
        f"{profiles}/system system-2-link",
        f"/nix/var/nix/gcroots/assemble/{ENV[11:]} {ENV}",
    }
    assert set(after) - set(before) == {
        f"{profiles}/system system-1-link",
        f"{profiles}/system-1-link {system.toplevel}",
    }
    assert caplog.messages == [
        f"{root}{profiles}/per-user/root/channels-1-link stays, but {CHANNEL} is not in the closure"
    ]


def test_a_second_run_replaces_what_it_is_asked_for(
    tmp_path: Path, full_system: System, configuration: Path
) -> None:
    root = prepare_fully(tmp_path / "root", full_system, configuration)
    configuration.write_text("{ changed = true; }")
    prepare_fully(root, full_system, configuration)
    assert (root / "etc/nixos/configuration.nix").read_text() == "{ changed = true; }"


def test_a_second_run_changes_nothing(tmp_path: Path, system: System) -> None:
    root = prepare(tmp_path / "root", system)
    database = (root / "nix/var/nix/db/db.sqlite").read_bytes()
    before = listing(root)
    prepare(root, system)
    assert listing(root) == before
    assert (root / "nix/var/nix/db/db.sqlite").read_bytes() == database


def test_a_second_run_with_another_system_replaces_the_profile(
    tmp_path: Path, system: System
) -> None:
    root = prepare(tmp_path / "root", system)
    other = make_system(tmp_path / "source")
    closure, store = closure_of(other)
    prepare_root(root, closure, store, other.paths[2], epoch=1)
    assert os.readlink(root / "nix/var/nix/profiles/system-1-link") == other.paths[2]


def test_what_was_there_stays(tmp_path: Path, system: System) -> None:
    (tmp_path / "root/etc/nixos").mkdir(parents=True)
    (tmp_path / "root/etc/nixos/configuration.nix").write_text("{ }")
    root = prepare(tmp_path / "root", system)
    assert (root / "etc/nixos/configuration.nix").read_text() == "{ }"


def test_with_the_store_paths_nix_finds_no_fault(tmp_path: Path, system: System) -> None:
    root = prepare(tmp_path / "root", system)
    closure, store = closure_of(system)
    copy_closure(root, closure, store)
    assert verify(root) == ""
    listed = nix_store(root, "--query", "--requisites", system.toplevel).decode().split()
    assert sorted(listed) == closure.paths


def test_the_demo_system_with_its_store_paths_is_without_fault(
    demo_system: str, tmp_path: Path
) -> None:
    closure = read([], StoreRoot(), demo_system)
    prepare_root(tmp_path, closure, StoreRoot(), demo_system, epoch=1)
    copy_closure(tmp_path, closure, StoreRoot())
    assert verify(tmp_path) == ""
    dump = nix_store(tmp_path, "--query", "--requisites", demo_system).decode().split()
    assert sorted(dump) == closure.paths
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.mark.parametrize("place", ["bin", "nix/var/nix/db", "tmp", "etc/nixos", "root"])
def test_a_symlink_that_leads_out_is_not_followed(
    tmp_path: Path, full_system: System, configuration: Path, place: str
) -> None:
    (tmp_path / "outside").mkdir(mode=0o700)
    (tmp_path / "root" / place).parent.mkdir(parents=True)
    (tmp_path / "root" / place).symlink_to(tmp_path / "outside")
    with pytest.raises(RequestError, match=f"{tmp_path}/root/{place} is not a directory"):
        prepare_fully(tmp_path / "root", full_system, configuration)
    assert list((tmp_path / "outside").iterdir()) == []
    assert (tmp_path / "outside").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "place",
    ["etc/NIXOS", "nix/var/nix/db/db.sqlite", "bin/sh", "etc/nixos/configuration.nix"],
)
def test_a_link_in_a_files_place_is_replaced(
    tmp_path: Path, full_system: System, configuration: Path, place: str
) -> None:
    (tmp_path / "outside").write_bytes(b"precious")
    (tmp_path / "root" / place).parent.mkdir(parents=True)
    (tmp_path / "root" / place).symlink_to(tmp_path / "outside")
    prepare_fully(tmp_path / "root", full_system, configuration)
    assert (tmp_path / "outside").read_bytes() == b"precious"


def test_directories_in_the_places_of_links_and_files_are_told(
    tmp_path: Path, full_system: System, configuration: Path
) -> None:
    places = ["etc/NIXOS", "etc/nixos/configuration.nix", "var/run", "root/.nix-defexpr/channels"]
    for place in places:
        (tmp_path / "root" / place).mkdir(parents=True)
    before = listing(tmp_path / "root")
    with pytest.raises(RequestError) as caught:
        prepare_fully(tmp_path / "root", full_system, configuration)
    assert sorted(caught.value.problems) == sorted(
        f"{tmp_path}/root/{place} is a directory" for place in places
    )
    assert listing(tmp_path / "root") == before


def test_a_root_that_may_not_be_written_is_told(system: System) -> None:
    closure, store = closure_of(system)
    with pytest.raises(HostError, match="cannot prepare /proc: /proc/bin: "):
        prepare_root(Path("/proc"), closure, store, system.toplevel, epoch=1)


def test_what_the_system_does_not_keep_gets_a_root(tmp_path: Path, system: System) -> None:
    root, (kernel, _, shell, toplevel) = tmp_path / "root", system.paths
    root.mkdir()
    closure, store = closure_of(system)
    prepare_root(root, closure, store, shell, epoch=1)  # which refers to nothing
    links = root / "nix/var/nix/gcroots/assemble"
    [link] = links.iterdir()
    assert os.readlink(link) == toplevel
    assert (links / os.path.basename(toplevel)).is_symlink()
    copy_closure(root, closure, store)
    live = nix_store(root, "--gc", "--print-live").decode().split()
    assert {toplevel, kernel} <= set(live)


def test_roots_of_an_earlier_closure_go(tmp_path: Path, system: System) -> None:
    root = prepare(tmp_path / "root", system)
    links = root / "nix/var/nix/gcroots/assemble"
    links.mkdir()
    (links / "stale").symlink_to(store_path(9, "stale"))
    (links / "theirs").mkdir()
    prepare(root, system)
    assert [path.name for path in links.iterdir()] == ["theirs"]


def test_a_closure_with_derivations_is_without_fault(demo_system: str, tmp_path: Path) -> None:
    [deriver] = output("nix-store", "--query", "--deriver", demo_system).decode().split()
    closure = read([], StoreRoot(), demo_system, build_dependencies=True)
    prepare_root(tmp_path, closure, StoreRoot(), demo_system, epoch=1)
    copy_closure(tmp_path, closure, StoreRoot())
    assert verify(tmp_path) == ""
    question = ["--query", "--requisites", "--include-outputs", deriver]
    assert sorted(nix_store(tmp_path, *question).decode().split()) == closure.paths
    links = tmp_path / "nix/var/nix/gcroots/assemble"
    assert os.readlink(links / os.path.basename(deriver)) == deriver
    assert nix_store(tmp_path, "--gc", "--print-dead") == b""
    shutil.rmtree(links)
    dead = nix_store(tmp_path, "--gc", "--print-dead").decode().split()
    kept = nix_store(tmp_path, "--query", "--requisites", demo_system).decode().split()
    assert sorted(dead) == sorted(set(closure.paths).difference(kept))
    output("chmod", "-R", "u+w", tmp_path)
    shutil.rmtree(tmp_path)
