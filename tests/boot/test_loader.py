"""Looking up a boot loader reports everything that is missing at once.

Without these tests, users learn of one missing file a run, or of none before the machine fails to
boot.
"""

import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from assembler.binaries.pe import read_pe
from assembler.boot.grub.files import InstalledGrub
from assembler.boot.grub.grub import BIOS, Platform, make_core_image
from assembler.boot.grub.loader import GrubLoader
from assembler.boot.installer import Installer
from assembler.boot.loaders import LOADERS
from assembler.boot.mounts.boot_mounts import boot_mounts
from assembler.boot.mounts.fstab import read_mounts
from assembler.boot.places import Places
from assembler.boot.protocol import BootData, BootLoader, BootTarget
from assembler.boot.systemd_boot.loader import SystemdBoot
from assembler.boot.volumes import Role, Volume
from assembler.disk.layout import shape
from assembler.disk.tables import Table
from assembler.errors import RequestError
from assembler.filesystems.ext4.kind import EXT4
from assembler.machines import Machine
from assembler.store.paths import StoreRoot
from assembler.store.registration import PathInfo
from assembler.tree.closure_files import ClosureFiles
from tests.support.boots import add_settings
from tests.support.builders import SCRIPT, add_builder, builder
from tests.support.efi_programs import GRUB_IA32, SHIM, SIGNED_GRUB, grub_version
from tests.support.systems import System, made_up_kernel, make_system, store_path

HOST = Path("/usr/lib/grub")
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
    monkeypatch.setattr("assembler.boot.grub.find._HOST_PREFIX", tmp_path / "absent")
    monkeypatch.setattr("assembler.host.programs.search_path", lambda: str(programs))


def add_grub(system: System, path: str, *platforms: Platform) -> None:
    for platform in platforms:
        source = HOST / ("i386-pc" if platform is BIOS else "x86_64-efi")
        target = system.host(path) / "lib/grub" / str(platform)
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("monolithic"))


def target(
    system: System,
    table: Table = Table.HYBRID,
    architecture: str = "x86_64-linux",
    *,
    efi_binaries: Sequence[Path] = (),
    installer: Installer | None = None,
) -> BootTarget:
    store = StoreRoot(system.root)
    return BootTarget(
        store=store,
        infos=[],
        programs=[*GRUBS, *system.paths],
        system=system.toplevel,
        architecture=architecture,
        number=1,
        generations=[(1, system.toplevel)],
        epoch=1,
        table=table,
        mounts=boot_mounts(shape(table), read_mounts(store, system.toplevel)),
        installer=installer or Installer(),
        efi_binaries=efi_binaries,
    )


def find(
    system: System,
    table: Table = Table.HYBRID,
    architecture: str = "x86_64-linux",
    *,
    efi_binaries: Sequence[Path] = (),
) -> GrubLoader:
    return GrubLoader.find(target(system, table, architecture, efi_binaries=efi_binaries))


def test_a_grub_that_the_settings_name_and_the_closure_lacks(
    system: System, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = add_settings(StoreRoot(system.root), tmp_path, grub=GRUBS[0], grubEfi=GRUBS[1])
    add_grub(system, GRUBS[0], BIOS)
    add_grub(system, GRUBS[1], Platform(Machine.X64))
    files = ClosureFiles(StoreRoot(system.root), tmp_path)
    files.closure = {system.toplevel, *system.paths, settings, GRUBS[1]}
    infos = [PathInfo(system.toplevel, None, None, (settings,))]
    programs = [GRUBS[1], *system.paths]
    found = GrubLoader.find(replace(target(system), store=files, infos=infos, programs=programs))
    places = {platform: one.store_path for platform, one in found.grubs.items()}
    assert (places[BIOS], places[Platform(Machine.X64)]) == (None, GRUBS[1])
    assert caplog.messages == [
        f"{GRUBS[0]} is not in the closure: the first rebuild installs that GRUB"
    ]


@pytest.mark.usefixtures("no_host")
@pytest.mark.parametrize(
    ("table", "platforms"),
    [
        (Table.LEGACY, {BIOS}),
        (Table.LEGACY_GPT, {BIOS}),
        (Table.EFI, {Platform(Machine.X64)}),
        (Table.EFIXBOOTLDR, {Platform(Machine.X64)}),
        (Table.HYBRID, {BIOS, Platform(Machine.X64)}),
    ],
)
def test_grub_is_found_for_the_firmware_of_a_table(
    system: System, table: Table, platforms: set[Platform]
) -> None:
    add_grub(system, GRUBS[0], BIOS, Platform(Machine.X64))
    found = find(system, table)
    assert {*found.grubs} == platforms
    assert {one.store_path for one in found.grubs.values()} == {GRUBS[0]}


@pytest.mark.usefixtures("no_host")
def test_efi_programs_for_other_machines_come_with_the_closures(system: System) -> None:
    add_grub(system, GRUBS[0], Platform(Machine.X64), Platform(Machine.AA64))
    add_grub(system, GRUBS[1], Platform(Machine.IA32))
    assert {*find(system, Table.EFI).grubs} == {
        Platform(Machine.X64),
        Platform(Machine.AA64),
        Platform(Machine.IA32),
    }


def test_a_closures_grub_is_not_mixed_with_the_hosts(system: System) -> None:
    """What the host happens to have makes no other image of a closure that brings GRUB."""
    add_grub(system, GRUBS[0], Platform(Machine.X64))
    assert {*find(system, Table.EFI).grubs} == {Platform(Machine.X64)}


def test_a_closure_without_grub_has_the_hosts(system: System) -> None:
    found = find(system, Table.EFI).grubs
    assert {Platform(Machine.X64), Platform(Machine.IA32)} <= {*found}
    assert {one.store_path for one in found.values()} == {None}


def test_programs_for_32_bit_firmware_come_out_of_real_modules(system: System) -> None:
    for platform in (Platform(Machine.X64), Platform(Machine.IA32)):
        shutil.copytree(HOST / str(platform), system.host(GRUBS[1]) / "lib/grub" / str(platform))
    found = find(system, Table.EFI).grubs
    assert {one.store_path for one in found.values()} == {GRUBS[1]}
    cores = {
        platform: read_pe(make_core_image(grub, "ABCD-1234", "ext2", "/grub")).machine
        for platform, grub in found.items()
    }
    assert cores == {Platform(machine): machine for machine in (Machine.X64, Machine.IA32)}


@pytest.mark.usefixtures("no_host")
def test_signed_programs_do_without_grubs_modules(system: System, tmp_path: Path) -> None:
    version = grub_version(SIGNED_GRUB, tmp_path)
    found = find(system, Table.EFI, efi_binaries=[SHIM, SIGNED_GRUB])
    assert found.grubs == {}
    assert found.installed == InstalledGrub("grub", version, bios=None, efi="")
    with pytest.raises(RequestError) as caught:
        find(system, Table.HYBRID, efi_binaries=[SHIM, SIGNED_GRUB])
    [problem] = caught.value.problems
    assert problem.startswith("GRUB's modules for i386-pc are neither")
    add_grub(system, GRUBS[0], BIOS)
    found = find(system, Table.HYBRID, efi_binaries=[SHIM, SIGNED_GRUB])
    assert {*found.grubs} == {BIOS}
    assert found.installed == InstalledGrub("grub", version, bios=GRUBS[0], efi="")


@pytest.mark.usefixtures("no_host")
def test_signed_programs_for_other_firmware_do_not(system: System) -> None:
    with pytest.raises(RequestError, match="GRUB's modules for x86_64-efi are neither"):
        find(system, Table.EFI, efi_binaries=[GRUB_IA32])


@pytest.mark.usefixtures("no_host")
def test_bad_programs_make_no_noise_about_modules(system: System, tmp_path: Path) -> None:
    with pytest.raises(RequestError) as caught:
        find(system, Table.EFI, efi_binaries=[tmp_path / "absent"])
    [problem] = caught.value.problems
    assert problem == f"efi_binaries {tmp_path / 'absent'}: No such file or directory"


def test_beside_signed_programs_modules_are_still_taken(system: System) -> None:
    """A menu may load one where Secure Boot is off."""
    found = find(system, Table.EFI, efi_binaries=[SHIM, SIGNED_GRUB]).grubs
    assert {one.modules for one in found.values()} == {HOST / "x86_64-efi", HOST / "i386-efi"}
    add_grub(system, GRUBS[0], Platform(Machine.X64))
    found = find(system, Table.EFI, efi_binaries=[SHIM, SIGNED_GRUB]).grubs
    assert [one.store_path for one in found.values()] == [GRUBS[0]]


@pytest.mark.usefixtures("no_host")
def test_incomplete_modules_are_told_with_the_rest(system: System) -> None:
    add_grub(system, GRUBS[0], BIOS)
    modules = system.host(GRUBS[0]) / "lib/grub/i386-pc"
    (modules / "biosdisk.mod").unlink()
    with pytest.raises(RequestError) as caught:
        find(system)
    assert caught.value.problems == (
        f"GRUB for i386-pc in {modules} lacks biosdisk.mod: they are in the package grub-pc-bin "
        "(Debian) or grub2 (nixpkgs)",
        "GRUB's modules for x86_64-efi are neither in the closure nor on this host: they are in "
        "the package grub-efi-amd64-bin (Debian) or grub2_efi (nixpkgs)",
    )
    add_grub(system, GRUBS[1], BIOS, Platform(Machine.X64))
    assert {one.store_path for one in find(system).grubs.values()} == {GRUBS[1]}


@pytest.mark.usefixtures("no_host")
def test_the_grub_of_another_machine_is_needed(system: System) -> None:
    arm64 = made_up_kernel(2048)[:0x38] + b"ARM\x64"
    boot_json = system.host(f"{system.toplevel}/boot.json")
    boot_json.chmod(0o644)
    boot_json.write_text(boot_json.read_text().replace("x86_64-linux", "aarch64-linux"))
    kernel = system.host(f"{system.paths[0]}/bzImage")
    kernel.chmod(0o644)
    kernel.write_bytes(arm64)
    add_grub(system, GRUBS[0], Platform(Machine.AA64))
    assert {*find(system, Table.EFI, architecture="aarch64-linux").grubs} == {
        Platform(Machine.AA64)
    }


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
    with pytest.raises(RequestError, match=r"it has neither a boot\.json of a known version nor"):
        find(system)


def test_systemd_boot_is_found(system: System) -> None:
    found = SystemdBoot.find(target(system, Table.EFI))
    paths = {file.path for file in found.programs}
    assert paths == {"EFI/BOOT/BOOTX64.EFI", "EFI/systemd/systemd-bootx64.efi"}
    assert [one.number for one in found.generations] == [1]


def test_systemd_boot_needs_a_kernel_that_is_an_efi_program(system: System) -> None:
    kernel = system.host(f"{system.paths[0]}/bzImage")
    content = kernel.read_bytes()
    kernel.chmod(0o644)
    kernel.write_bytes(b"\xea" + content[1:])
    with pytest.raises(RequestError, match="generation 1: systemd-boot cannot start the kernel"):
        SystemdBoot.find(target(system, Table.EFI))
    assert find(system, Table.EFI).generations


@pytest.mark.parametrize("architecture", ["riscv64-linux", "i686-linux", "armv7l-linux"])
@pytest.mark.parametrize("loader", [GrubLoader, SystemdBoot])
def test_an_unknown_machine_is_told(
    system: System, loader: type[BootLoader], architecture: str
) -> None:
    with pytest.raises(RequestError) as caught:
        loader.find(target(system, Table.EFI, architecture))
    assert str(caught.value) == (
        f"{system.toplevel} is for {architecture}; only x86_64-linux and aarch64-linux can be "
        "booted"
    )


@pytest.mark.parametrize(
    ("loader", "expected"),
    [(GrubLoader, ["generation 1 is not in GRUB's menu: no nixos-version"]), (SystemdBoot, [])],
)
def test_a_system_without_a_version_is_not_in_grubs_menu(
    system: System,
    loader: type[GrubLoader | SystemdBoot],
    expected: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    system.host(f"{system.toplevel}/nixos-version").unlink()
    with caplog.at_level(logging.WARNING):
        assert len(loader.find(target(system, Table.EFI)).generations) == 1
    assert caplog.messages == expected


@pytest.mark.usefixtures("no_host")
@pytest.mark.parametrize("loader", ["system", "none"])
def test_other_loaders_need_nothing(system: System, loader: str) -> None:
    system.host(f"{system.toplevel}/boot.json").unlink()
    found = LOADERS[loader].find(target(system, Table.EFI))
    root = Volume(Role.ROOT, "u", "nixos")
    places = Places(root, "/boot", root, str, separate=False, boot_kind=EXT4)
    assert found.make(places) == BootData()


def test_parameters_that_grub_changes_are_told_once(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    file = system.host(f"{system.toplevel}/boot.json")
    document = json.loads(file.read_text())
    document["org.nixos.bootspec.v1"]["kernelParams"] = ["a=f'", "b", 'c=5"']
    file.unlink()
    file.write_text(json.dumps(document))
    with caplog.at_level(logging.WARNING):
        find(system, Table.EFI)
    [message] = caplog.messages
    assert message.startswith("the kernel parameter a=f' (and 1 more) reaches the kernel")
    caplog.clear()
    SystemdBoot.find(target(system, Table.EFI))
    assert caplog.messages == []


def test_what_grub_does_not_load_is_told(system: System, caplog: pytest.LogCaptureFixture) -> None:
    file = system.host(f"{system.toplevel}/boot.json")
    document = json.loads(file.read_text())
    document["org.nixos.extra-initrd.v1"] = {"paths": ["more.cpio"]}
    file.unlink()
    file.write_text(json.dumps(document))
    with caplog.at_level(logging.WARNING):
        find(system, Table.EFI)
    assert caplog.messages == [
        "generation 1: NixOS's GRUB does not load more.cpio, nor is it loaded here"
    ]


@pytest.fixture
def built(tmp_path: Path) -> Callable[..., System]:
    """Makes a system whose installer of systemd-boot has settings."""

    def make(mounts: str = "", **settings: str) -> System:
        system = make_system(tmp_path / "built", mounts, installer=SCRIPT)
        add_builder(system, builder(**settings))
        return system

    return make


def test_systemd_boot_lists_as_many_generations_as_its_settings_say(
    built: Callable[..., System],
) -> None:
    system = built(limit="1")
    other = store_path(12, "nixos-system-old")
    shutil.copytree(system.host(system.toplevel), system.host(other), symlinks=True)
    boot_json = system.host(f"{other}/boot.json")
    boot_json.chmod(0o644)
    boot_json.write_text(boot_json.read_text().replace(system.toplevel, other))
    generations = [(1, other), (2, system.toplevel), (3, other), (4, other)]
    own = target(system, Table.EFI, installer=Installer("systemd-boot", SCRIPT))
    found = SystemdBoot.find(replace(own, generations=generations))
    # The newest, and the one that is booted.
    assert [one.number for one in found.generations] == [2, 4]


@pytest.mark.parametrize("place", ["/boot", "/efi"])
def test_systemd_boots_installer_writes_where_its_partition_is_mounted(
    built: Callable[..., System], place: str
) -> None:
    system = built(f"/dev/disk/by-label/ESP {place} vfat x\n", esp="/boot", boot="/boot")
    own = target(system, Table.EFI, installer=Installer("systemd-boot", SCRIPT))
    if place == "/boot":
        assert SystemdBoot.find(own).programs
        return
    with pytest.raises(RequestError) as caught:
        SystemdBoot.find(own)
    assert caught.value.problems == (
        "systemd-boot's installer writes to /boot, but the system mounts the EFI system partition "
        "at /efi: make boot.loader and fileSystems agree",
    )


def test_other_commands_of_grubs_installer_are_told(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    program = store_path(5, "install-grub.sh")
    line = f"perl {store_path(6, 'install-grub.pl')} {store_path(7, 'grub-config.xml')} $@"
    system.host(program).write_text(f"#!/bin/sh\nset -e\n{line}\nsync -f /boot\n")
    with caplog.at_level(logging.WARNING):
        GrubLoader.find(target(system, Table.EFI, installer=Installer("grub", program)))
    assert caplog.messages == [
        f"{program} installs grub, and does what is not done until the first rebuild: sync -f /boot"
    ]
