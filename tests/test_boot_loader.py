"""What a boot loader is made of is looked up, and all that is missing told at once."""

from pathlib import Path

import pytest

from assembler.boot import grub
from assembler.boot.grub import Platform
from assembler.boot.loader import Loader, Wanted, find_loader
from assembler.disk.layout import Table
from assembler.errors import RequestError
from assembler.store.paths import StoreRoot
from tests.systems import System, make_system, store_path

GRUBS = store_path(10, "grub-2.06"), store_path(11, "grub-2.12")


@pytest.fixture
def system(tmp_path: Path) -> System:
    return make_system(tmp_path / "root")


@pytest.fixture
def no_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that has a grub-mkimage, and no modules of GRUB's."""
    programs = tmp_path / "host/bin"
    programs.mkdir(parents=True)
    (programs / "grub-mkimage").write_text("#!/bin/sh\n")
    (programs / "grub-mkimage").chmod(0o755)
    monkeypatch.setattr(grub, "_HOST_PREFIX", tmp_path / "absent")
    monkeypatch.setattr("assembler.process.search_path", lambda: str(programs))


def add_grub(system: System, path: str, *platforms: Platform) -> None:
    for platform in platforms:
        modules = system.host(path) / "lib/grub" / platform
        modules.mkdir(parents=True)
        (modules / "moddep.lst").touch()


def find(
    system: System,
    table: Table = Table.HYBRID,
    loader: str = "grub",
    architecture: str = "x86_64-linux",
    generations: dict[int, str] | None = None,
) -> Loader:
    wanted = Wanted(
        loader=loader,
        table=table,
        system=system.toplevel,
        architecture=architecture,
        generations=[*(generations or {1: system.toplevel}).items()],
        epoch=1,
    )
    return find_loader(wanted, StoreRoot(system.root), [], [*GRUBS, *system.paths])


@pytest.mark.usefixtures("no_host")
@pytest.mark.parametrize(
    ("table", "platforms"),
    [
        (Table.LEGACY, {Platform.BIOS}),
        (Table.LEGACY_GPT, {Platform.BIOS}),
        (Table.EFI, {Platform.EFI}),
        (Table.EFIXBOOTLDR, {Platform.EFI}),
        (Table.HYBRID, {Platform.BIOS, Platform.EFI}),
    ],
)
def test_grub_is_found_for_the_firmware_of_a_table(
    system: System, table: Table, platforms: set[Platform]
) -> None:
    add_grub(system, GRUBS[0], Platform.BIOS, Platform.EFI)
    found = find(system, table)
    assert {*found.grubs} == platforms
    assert {one.store_path for one in found.grubs.values()} == {GRUBS[0]}


@pytest.mark.usefixtures("no_host")
def test_efi_programs_for_other_machines_come_with_the_closures(system: System) -> None:
    add_grub(system, GRUBS[0], Platform.EFI, Platform.EFI_ARM64)
    add_grub(system, GRUBS[1], Platform.EFI_IA32)
    assert {*find(system, Table.EFI).grubs} == {
        Platform.EFI,
        Platform.EFI_ARM64,
        Platform.EFI_IA32,
    }


def test_a_closures_grub_is_not_mixed_with_the_hosts(system: System) -> None:
    """What the host happens to have makes no other image of a closure that brings GRUB."""
    add_grub(system, GRUBS[0], Platform.EFI)
    assert {*find(system, Table.EFI).grubs} == {Platform.EFI}


def test_a_closure_without_grub_has_the_hosts(system: System) -> None:
    found = find(system, Table.EFI).grubs
    assert {Platform.EFI, Platform.EFI_IA32} <= {*found}
    assert {one.store_path for one in found.values()} == {None}


@pytest.mark.usefixtures("no_host")
def test_the_grub_of_another_machine_is_needed(system: System) -> None:
    add_grub(system, GRUBS[0], Platform.EFI_ARM64)
    assert {*find(system, Table.EFI, architecture="aarch64-linux").grubs} == {Platform.EFI_ARM64}


@pytest.mark.usefixtures("no_host")
def test_all_modules_that_are_missing_are_told(system: System) -> None:
    with pytest.raises(RequestError) as caught:
        find(system)
    bios, efi = caught.value.problems
    assert bios == (
        "GRUB's modules for i386-pc are neither in the closure nor on this host: they are in the "
        "package grub-pc-bin (Debian) or grub2 (nixpkgs)"
    )
    assert efi == (
        "GRUB's modules for x86_64-efi are neither in the closure nor on this host: they are in "
        "the package grub-efi-amd64-bin (Debian) or grub2_efi (nixpkgs)"
    )


@pytest.mark.usefixtures("no_host")
def test_what_the_bootspec_names_and_the_closure_lacks_is_told_with_it(system: System) -> None:
    kernel, initrd = f"{system.paths[0]}/bzImage", f"{system.paths[1]}/initrd"
    system.host(kernel).unlink()
    system.host(initrd).unlink()
    with pytest.raises(RequestError) as caught:
        find(system, Table.LEGACY)
    first, second, third = caught.value.problems
    assert kernel in first
    assert initrd in second
    assert "grub-pc-bin" in third


def test_a_system_that_nothing_boots_is_told(system: System) -> None:
    system.host(f"{system.toplevel}/boot.json").unlink()
    with pytest.raises(RequestError, match=r"cannot be booted: it has no boot\.json, nor kernel"):
        find(system)


def test_systemd_boot_is_found(system: System) -> None:
    found = find(system, Table.EFI, "systemd-boot")
    assert set(found.programs) == {"EFI/BOOT/BOOTX64.EFI", "EFI/systemd/systemd-bootx64.efi"}
    assert [one.number for one in found.generations] == [1]


def test_systemd_boot_for_an_unknown_machine(system: System) -> None:
    with pytest.raises(RequestError, match="there is no systemd-boot for riscv64-linux"):
        find(system, Table.EFI, "systemd-boot", "riscv64-linux")


@pytest.mark.usefixtures("no_host")
@pytest.mark.parametrize("loader", ["system", "none"])
def test_other_loaders_need_nothing(system: System, loader: str) -> None:
    system.host(f"{system.toplevel}/boot.json").unlink()
    assert not find(system, Table.EFI, loader).grubs
