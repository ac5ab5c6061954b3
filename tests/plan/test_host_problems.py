"""Files, directories and tools that a request lacks on this host are reported.

Without these tests, a wrong path can end in a traceback, or in an error after minutes of work.
"""

import os
from pathlib import Path

import pytest

from assembler.plan.host_problems import root_problems
from assembler.spec import RootSpec
from assembler.store.paths import StoreRoot
from tests.support.systems import store_path

SYSTEM, CHANNEL = store_path(1, "nixos-system"), store_path(2, "nixos-23.05")
LAST = (1 << 32) - 2
TREE = (
    f"channel {CHANNEL} is a Nix expression itself, as a nixpkgs tree is: it should be a "
    "directory that holds the tree as nixos/"
)
NEITHER = f"channel {CHANNEL} has neither nixos/default.nix nor nixpkgs/default.nix"


@pytest.fixture
def store(tmp_path: Path) -> StoreRoot:
    (tmp_path / SYSTEM[1:]).mkdir(parents=True)
    return StoreRoot(tmp_path)


def test_generations_that_cannot_be(store: StoreRoot) -> None:
    gone, tools = store_path(3, "gone"), "/home/me/system"
    spec = RootSpec(
        system=SYSTEM,
        store=store.root,
        generations=((0, SYSTEM), (LAST + 1, SYSTEM), (7, SYSTEM), (8, gone), (7, tools)),
    )
    assert root_problems(spec) == [
        f"generations 8={gone} does not exist",
        f"generations 7={tools} is not a store path: it does not exist",
        f"generations 0={SYSTEM}: the numbers are 1 to {LAST}",
        f"generations {LAST + 1}={SYSTEM}: the numbers are 1 to {LAST}",
        f"generations 7 is given twice: {SYSTEM} and {tools}",
    ]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["nixos/default.nix"], []),
        (["nixpkgs/default.nix"], []),
        (["nixos/default.nix", "nixos/nixos/default.nix", "manifest.nix"], []),
        (["default.nix", "nixos/default.nix", "pkgs/top-level/default.nix"], [TREE]),
        (["nixos/lib/default.nix"], [NEITHER]),
        ([], [NEITHER]),
    ],
)
def test_a_channel_holds_the_tree_as_nixos(
    store: StoreRoot, files: list[str], expected: list[str]
) -> None:
    store.host(CHANNEL).mkdir()
    for name in files:
        file = store.host(f"{CHANNEL}/{name}")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert root_problems(RootSpec(system=SYSTEM, store=store.root, channel=CHANNEL)) == expected


def test_a_channel_of_links_is_followed_in_its_own_store(store: StoreRoot) -> None:
    """As `nix-channel --update` makes it: each channel is a link to a store path."""
    tree = store_path(3, "nixexprs")
    store.host(tree).mkdir()
    (store.host(tree) / "default.nix").touch()
    store.host(CHANNEL).mkdir()
    store.host(f"{CHANNEL}/nixos").symlink_to(tree)
    assert root_problems(RootSpec(system=SYSTEM, store=store.root, channel=CHANNEL)) == []


def test_a_channel_that_does_not_exist_is_told_once(store: StoreRoot) -> None:
    spec = RootSpec(system=SYSTEM, store=store.root, channel=CHANNEL, additional_paths=(CHANNEL,))
    assert root_problems(spec) == [
        f"additional_paths {CHANNEL} does not exist",
        f"channel {CHANNEL} does not exist",
    ]


def test_a_configuration_that_cannot_be_read(store: StoreRoot, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "secret").touch(mode=0)
    (tmp_path / "dangling").symlink_to("nowhere")
    faults = {
        "directory": "is not a file",
        "secret": "may not be read",
        "dangling": "does not exist",
        "absent": "does not exist",
        "secret/below": "does not exist",
        "../../../../../../dev/null": "is not a file",
    }
    for name, fault in faults.items():
        spec = RootSpec(system=SYSTEM, store=store.root, configuration=tmp_path / name)
        assert root_problems(spec) == [f"configuration {tmp_path / name} {fault}"]


def test_nobody_waits_for_a_fifo(store: StoreRoot, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    [messages] = root_problems(RootSpec(system=SYSTEM, store=store.root, closures=(fifo,)))
    assert messages.startswith(f"closures {fifo} is a FIFO, not a regular file")


def test_a_configuration_may_be_a_link(store: StoreRoot, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    spec = RootSpec(system=SYSTEM, store=store.root, configuration=tmp_path / "link")
    assert root_problems(spec) == []


def test_a_system_that_is_no_store_path(store: StoreRoot) -> None:
    [line] = root_problems(RootSpec(system="/home/me/system", store=store.root))
    assert line.startswith("system /home/me/system is not a store path")


def test_a_system_that_does_not_exist(store: StoreRoot) -> None:
    gone = store_path(9, "gone")
    assert root_problems(RootSpec(system=gone, store=store.root)) == [
        f"system {gone} does not exist"
    ]


def test_every_bad_part_of_the_skeleton_is_named(store: StoreRoot) -> None:
    gone = store_path(9, "gone")
    store.host(CHANNEL).mkdir()
    spec = RootSpec(
        system=SYSTEM,
        store=store.root,
        generations=((0, "/home/me/system"), (3, gone)),
        channel=CHANNEL,
        configuration=Path("/nonexistent"),
    )
    assert root_problems(spec) == [
        "generations 0=/home/me/system is not a store path: it does not exist",
        f"generations 3={gone} does not exist",
        NEITHER,
        "configuration /nonexistent does not exist",
        f"generations 0=/home/me/system: the numbers are 1 to {LAST}",
    ]
