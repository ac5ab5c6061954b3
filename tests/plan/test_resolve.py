"""The system decides what the user left open.

Without these tests, an image can get a boot loader or a partition table that its system is not
configured for.
"""

from pathlib import Path
from typing import Any

import pytest

from assembler.boot.installer import Installer
from assembler.disk.tables import Table
from assembler.plan.resolve import Resolution, loader_problems, other_loader, resolve
from assembler.spec import RootSpec, Spec
from assembler.store.paths import StoreRoot
from tests.support.builders import SCRIPT, add_builder, builder
from tests.support.systems import make_system, store_path

X86, ARM = "x86_64-linux", "aarch64-linux"
NAMES = {
    "systemd-boot": "systemd-boot-builder.py",
    "grub": "install-grub.sh",
    "none": "no-bootloader",
    "limine": "limine-install.sh",
}
XBOOTLDR = "boot.loader.systemd-boot.xbootldrMountPoint"


def look(tmp_path: Path, installer: str, architecture: str = X86, **options: Any) -> Resolution:
    program = store_path(5, NAMES[installer]) if installer else ""
    system = make_system(tmp_path, installer=program)
    root = RootSpec(system=system.toplevel)
    asked = Spec(root=root, out=Path("/tmp/disk.raw"), **options)
    return resolve(asked, StoreRoot(tmp_path), architecture)


@pytest.mark.parametrize(
    ("options", "installer", "table", "loader"),
    [
        ({}, "systemd-boot", Table.EFI, "systemd-boot"),
        ({}, "grub", Table.HYBRID, "grub"),
        ({}, "", Table.HYBRID, "grub"),
        ({}, "none", Table.HYBRID, "grub"),
        ({"partition_table": Table.NONE}, "systemd-boot", Table.NONE, "none"),
        ({"partition_table": Table.EFIXBOOTLDR}, "systemd-boot", Table.EFIXBOOTLDR, "systemd-boot"),
        ({"boot_loader": "grub"}, "systemd-boot", Table.HYBRID, "grub"),
        ({"boot_loader": "none"}, "systemd-boot", Table.HYBRID, "none"),
        ({"boot_loader": "system"}, "limine", Table.HYBRID, "system"),
    ],
)
def test_the_closure_decides_the_boot_loader(
    tmp_path: Path, options: dict[str, Any], installer: str, table: Table, loader: str
) -> None:
    found = look(tmp_path, installer, **options)
    assert (found.spec.table, found.spec.loader) == (table, loader)
    assert not found.problems()


def test_what_does_not_go_with_the_systems_boot_loader(tmp_path: Path) -> None:
    assert look(tmp_path / "a", "systemd-boot", partition_table=Table.HYBRID).problems() == [
        "partition_table hybrid is for BIOS, too, which does not start systemd-boot: take "
        "efi or efixbootldr, or boot_loader grub"
    ]
    refused = look(tmp_path / "b", "limine")
    assert refused.problems() == loader_problems(refused.installer) != []
    assert not look(tmp_path / "c", "limine", partition_table=Table.NONE).problems()
    assert not look(tmp_path / "d", "limine", boot_loader="grub").problems()


def test_a_machine_that_has_no_bios(tmp_path: Path) -> None:
    assert look(tmp_path / "a", "", ARM).spec.table is Table.EFI
    given = look(tmp_path / "b", "", ARM, partition_table=Table.HYBRID)
    assert given.problems() == [
        "partition_table hybrid is for BIOS, which no machine for aarch64-linux has: take efi or "
        "efixbootldr"
    ]


@pytest.mark.parametrize(
    ("boot", "table", "taken", "problem"),
    [
        ("/boot", None, Table.EFI, ""),
        ("/boot", Table.EFIXBOOTLDR, Table.EFIXBOOTLDR, f"efi, not efixbootldr, or set {XBOOTLDR}"),
        ("/xboot", None, Table.EFIXBOOTLDR, ""),
        ("/xboot", Table.EFI, Table.EFI, "take partition_table efixbootldr, not efi"),
    ],
)
def test_systemd_boot_has_the_partitions_that_its_installer_writes_to(
    tmp_path: Path, boot: str, table: Table | None, taken: Table, problem: str
) -> None:
    system = make_system(tmp_path, installer=SCRIPT)
    add_builder(system, builder(boot=boot))
    asked = Spec(root=RootSpec(system=system.toplevel), out=Path("/tmp/x"), partition_table=table)
    found = resolve(asked, StoreRoot(tmp_path), X86)
    assert found.spec.table is taken
    assert len(found.problems()) == bool(problem)
    assert problem in "".join(found.problems())


def test_what_is_not_made_here_is_refused_by_name() -> None:
    program = store_path(5, "limine-install.sh")
    [problem] = loader_problems(Installer("limine", program))
    assert problem == (
        "the system is configured with the boot loader limine, which is not made here: take "
        f"boot_loader system, which runs the system's own installer ({program}), or grub"
    )
    [problem] = loader_problems(Installer("init-script", program))
    assert problem.endswith("take boot_loader grub, or none if something else starts the disk")
    [problem] = loader_problems(Installer("lanzaboote"))
    assert problem.endswith("which is not made here: take boot_loader grub")
    for one in (Installer("grub"), Installer("none"), Installer()):
        assert not loader_problems(one)


@pytest.mark.parametrize(
    ("loader", "asked", "taken", "expected"),
    [
        ("grub", None, "grub", ""),
        ("grub", "systemd-boot", "systemd-boot", "boot_loader systemd-boot is taken, but"),
        ("limine", "grub", "grub", "is configured with limine, which its first rebuild installs"),
        ("limine", "system", "system", ""),
        ("limine", None, "grub", ""),
        ("systemd-boot", "none", "none", ""),
        (
            "systemd-boot",
            None,
            "none",
            "configured with systemd-boot: something else has to start it",
        ),
        ("grub", None, "none", "; boot_loader grub writes its menu"),
        ("none", None, "grub", "configured without a boot loader: it gets GRUB"),
        ("none", "grub", "grub", ""),
        ("", "systemd-boot", "systemd-boot", ""),
    ],
)
def test_another_boot_loader_is_obeyed_with_one_warning(
    loader: str,
    asked: str | None,
    taken: str,
    expected: str,
) -> None:
    table = Table.NONE if taken == "none" else Table.EFI
    warning = other_loader(Installer(loader), asked, taken, table)
    assert bool(warning) == bool(expected)
    assert expected in warning
