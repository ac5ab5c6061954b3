"""What a user left open, the system decides."""

from pathlib import Path
from typing import Any

import pytest

from assembler.boot.installer import Installer
from assembler.disk.layout import Table
from assembler.resolve import resolution_problems, resolve
from assembler.spec import RootSpec, Spec
from tests.systems import store_path

X86, ARM = "x86_64-linux", "aarch64-linux"


def disk(**options: Any) -> Spec:
    root = RootSpec(system=store_path(4, "nixos-system"))
    return Spec(root=root, out=Path("/tmp/disk.raw"), **options)


@pytest.mark.parametrize(
    ("options", "installer", "table", "loader"),
    [
        ({}, "systemd-boot", Table.EFI, "systemd-boot"),
        ({}, "grub", Table.HYBRID, "grub"),
        ({}, "", Table.HYBRID, "grub"),
        ({}, "none", Table.HYBRID, "grub"),
        ({"table": Table.NONE}, "systemd-boot", Table.NONE, "none"),
        ({"table": Table.EFIXBOOTLDR}, "systemd-boot", Table.EFIXBOOTLDR, "systemd-boot"),
        ({"boot_loader": "grub"}, "systemd-boot", Table.HYBRID, "grub"),
        ({"boot_loader": "none"}, "systemd-boot", Table.HYBRID, "none"),
        ({"boot_loader": "system"}, "limine", Table.HYBRID, "system"),
    ],
)
def test_the_closure_decides_the_boot_loader(
    options: dict[str, Any], installer: str, table: Table, loader: str
) -> None:
    asked = disk(**options)
    spec = resolve(asked, X86, Installer(installer))
    assert (spec.partition_table, spec.loader) == (table, loader)
    assert not resolution_problems(asked, spec, X86, Installer(installer))


def test_what_does_not_go_with_the_systems_boot_loader() -> None:
    asked, installer = disk(table=Table.HYBRID), Installer("systemd-boot")
    assert resolution_problems(asked, resolve(asked, X86, installer), X86, installer) == [
        "--partition-table hybrid is for BIOS, too, which does not start systemd-boot: take "
        "efi or efixbootldr, or --boot-loader grub"
    ]
    installer = Installer("limine", "/nix/store/x")
    assert resolution_problems(asked, asked, X86, installer) == installer.problems
    bare = disk(table=Table.NONE)
    assert not resolution_problems(bare, bare, X86, installer)


def test_a_machine_that_has_no_bios() -> None:
    installer = Installer()
    assert resolve(disk(), ARM, installer).partition_table is Table.EFI
    assert resolve(disk(), X86, installer).partition_table is Table.HYBRID
    given = resolve(disk(table=Table.HYBRID), ARM, installer)
    assert resolution_problems(given, given, ARM, installer) == [
        "--partition-table hybrid is for BIOS, which no machine for aarch64-linux has: take efi or "
        "efixbootldr"
    ]
    assert not resolution_problems(given, given, X86, installer)
