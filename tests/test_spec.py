"""What a request for a root may not be, before anything is looked up."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembler.disk.layout import Table
from assembler.spec import RootSpec, Spec
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
        store=store,
        generations=((0, SYSTEM), (LAST + 1, SYSTEM), (7, SYSTEM), (8, gone), (7, tools)),
    )
    assert spec.problems() == [
        f"generations 8={gone} does not exist",
        f"generations 7={tools} is not a store path: it does not exist",
        f"generations 0={SYSTEM}: the numbers are 1 to {LAST}",
        f"generations {LAST + 1}={SYSTEM}: the numbers are 1 to {LAST}",
        f"generations 7 is given twice: {SYSTEM} and {tools}",
    ]


@given(st.lists(st.integers(1, LAST)))
def test_only_numbers_that_are_given_twice_are_refused(numbers: list[int]) -> None:
    spec = RootSpec(system="/x", generations=tuple((number, SYSTEM) for number in numbers))
    told = [line.split()[1] for line in spec.problems() if "is given twice" in line]
    assert told == [str(n) for n in sorted(set(numbers)) if numbers.count(n) > 1]


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
    assert RootSpec(system=SYSTEM, store=store, channel=CHANNEL).problems() == expected


def test_a_channel_of_links_is_followed_in_its_own_store(store: StoreRoot) -> None:
    """As `nix-channel --update` makes it: each channel is a link to a store path."""
    tree = store_path(3, "nixexprs")
    store.host(tree).mkdir()
    (store.host(tree) / "default.nix").touch()
    store.host(CHANNEL).mkdir()
    store.host(f"{CHANNEL}/nixos").symlink_to(tree)
    assert RootSpec(system=SYSTEM, store=store, channel=CHANNEL).problems() == []


def test_a_channel_that_does_not_exist_is_told_once(store: StoreRoot) -> None:
    spec = RootSpec(system=SYSTEM, store=store, channel=CHANNEL, additional_paths=(CHANNEL,))
    assert spec.problems() == [
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
        spec = RootSpec(system=SYSTEM, store=store, configuration=tmp_path / name)
        assert spec.problems() == [f"configuration {tmp_path / name} {fault}"]


def test_nobody_waits_for_a_fifo(store: StoreRoot, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    [told] = RootSpec(system=SYSTEM, store=store, closures=(fifo,)).problems()
    assert told.startswith(f"closures {fifo} is a FIFO, not a regular file")


def test_a_configuration_may_be_a_link(store: StoreRoot, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    spec = RootSpec(system=SYSTEM, store=store, configuration=tmp_path / "link")
    assert spec.problems() == []


def disk(**options: Any) -> Spec:
    return Spec(root=RootSpec(system=SYSTEM), out=Path("/tmp/disk.raw"), **options)


@pytest.mark.parametrize(
    ("options", "table", "loader"),
    [
        ({}, Table.HYBRID, "grub"),
        ({"boot_loader": "systemd-boot"}, Table.EFI, "systemd-boot"),
        ({"sector_size": 4096}, Table.EFI, "grub"),
        ({"table": Table.NONE}, Table.NONE, "none"),
        ({"table": Table.LEGACY}, Table.LEGACY, "grub"),
        ({"boot_loader": "none"}, Table.HYBRID, "none"),
        ({"table": Table.EFIXBOOTLDR, "boot_loader": "systemd-boot"}, Table.EFIXBOOTLDR, None),
    ],
)
def test_table_and_boot_loader_suit_each_other(
    options: dict[str, Any], table: Table, loader: str | None
) -> None:
    spec = disk(**options)
    assert spec.partition_table is table
    assert spec.loader == (loader or options["boot_loader"])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {"table": Table.HYBRID, "boot_loader": "systemd-boot"},
            "partition_table hybrid is for BIOS, too, which does not start systemd-boot: take "
            "efi or efixbootldr, or boot_loader grub",
        ),
        (
            {"table": Table.NONE, "boot_loader": "systemd-boot"},
            "partition_table none cannot hold a boot loader: take boot_loader none, not "
            "systemd-boot, or another table; with grub it has a menu for a GRUB from outside",
        ),
        (
            {"table": Table.LEGACY, "sector_size": 4096},
            "partition_table legacy is for BIOS, which starts no disk with sector_size 4096: "
            "take efi or efixbootldr",
        ),
        (
            {"table": Table.EFIXBOOTLDR, "boot_loader": "systemd-boot", "sector_size": 4096},
            "sector_size 4096: systemd-boot finds no kernels in an XBOOTLDR partition of such a "
            "disk: take partition_table efi, or boot_loader grub",
        ),
        (
            {"table": Table.LEGACY, "efi_binaries": (Path("/shim.efi"),)},
            "efi_binaries is for boot_loader grub and a partition table with an EFI system "
            "partition: efi, efixbootldr or hybrid",
        ),
    ],
)
def test_what_does_not_go_with_a_boot_loader(options: dict[str, Any], problem: str) -> None:
    assert problem in disk(**options).problems()
