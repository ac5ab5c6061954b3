"""For each kind of image the boot chain is followed, and the first broken link is named.

Without these tests, check-image can call an image good that does not boot, or name another cause.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from assembler.check.image import Report, check_image
from assembler.cli.check_report import chain_lines, describe, facts, verdict
from assembler.disk.tables import Table
from tests.support.boot_images import (
    EARLY,
    FAT_UUID,
    GRUB,
    HASH,
    INIT,
    INITRD,
    KERNEL,
    LABEL,
    ROOT_UUID,
    build,
    core_image,
    debugfs,
    esp_of,
    menu,
    poke,
    root_files,
    start,
    write,
)
from tests.support.helpers import output
from tests.support.systems import made_up_kernel

BIN = Path(sys.executable).parent
BOOTX64 = "/EFI/BOOT/BOOTX64.EFI"
SHIM = Path("/usr/lib/shim/shimx64.efi.signed")
SIGNED_GRUB = GRUB / "x86_64-efi-signed" / "grubx64.efi.signed"
SYSTEMD_BOOT = Path("/usr/lib/systemd/boot/efi/systemd-bootx64.efi")
ENTRY = '  "NixOS - Default": /nix/store/…/bzImage (97.7 KiB), initrd (48.9 KiB), init'
ON_FAT = "partition 1 (FAT)"


def walked(image: Path) -> list[str]:
    """The chains of an image without a fault, and its faults."""
    report = check_image(image)
    return [*report.faults, *(line for chain in report.chains for line in chain_lines(chain))]


def fault(image: Path) -> str:
    report: Report = check_image(image)
    [only] = report.faults
    return only


def core_words(core: bytes, lba: int) -> str:
    return f"core image, {-(-len(core) // 512)} sectors from LBA {lba}"


# One image of each kind.


@pytest.mark.parametrize(
    ("table", "lba", "number"), [(Table.LEGACY, 1, 1), (Table.LEGACY_GPT, 2048, 2)]
)
def test_an_image_for_bios(tmp_path: Path, table: Table, lba: int, number: int) -> None:
    core = core_image(tmp_path, "i386-pc")
    build(tmp_path / "disk", table, root_files(menu()), core=core)
    assert walked(tmp_path / "disk") == [
        f"BIOS: boot sector -> {core_words(core, lba)} -> "
        f"partition {number} (ext4), /boot/grub/grub.cfg -> 1 entry",
        ENTRY,
    ]


def test_an_image_for_both(hybrid: Path, tmp_path: Path) -> None:
    core = core_image(tmp_path, "i386-pc")
    assert walked(hybrid) == [
        f"BIOS: boot sector -> {core_words(core, 2048)} -> "
        "partition 3 (ext4), /boot/grub/grub.cfg -> 1 entry",
        ENTRY,
        f"UEFI: partition 1 (ESP), {BOOTX64} (GRUB) -> "
        "partition 3 (ext4), /boot/grub/grub.cfg -> 1 entry",
        ENTRY,
    ]


@pytest.mark.parametrize("kind", ["ext4", "btrfs", "xfs"])
def test_an_image_for_uefi_of_each_machine(tmp_path: Path, kind: str) -> None:
    esp = {
        BOOTX64: core_image(tmp_path, "x86_64-efi"),
        "/EFI/BOOT/BOOTIA32.EFI": core_image(tmp_path, "i386-efi"),
    }
    build(tmp_path / "disk", Table.EFI, root_files(menu()), esp=esp, kind=kind)
    where = f"partition 2 ({kind}), /boot/grub/grub.cfg -> 1 entry"
    assert walked(tmp_path / "disk") == [
        f"UEFI: partition 1 (ESP), {BOOTX64} (GRUB) -> {where}",
        ENTRY,
        f"UEFI (i386): partition 1 (ESP), /EFI/BOOT/BOOTIA32.EFI (GRUB) -> {where}",
        ENTRY,
    ]


def test_kernels_on_the_esp(tmp_path: Path) -> None:
    """The ESP is /boot: NixOS copies kernels there, and GRUB's prefix is /grub."""
    early = f"search.fs_uuid {FAT_UUID} root\nset prefix=($root)/grub\n"
    files = root_files()
    grub_cfg = menu("/kernels/linux", "/kernels/initrd", f"--fs-uuid {FAT_UUID}")
    esp = {
        BOOTX64: core_image(tmp_path, "x86_64-efi", early),
        "/grub/grub.cfg": grub_cfg.encode(),
        "/kernels/linux": files.pop(KERNEL),
        "/kernels/initrd": files.pop(INITRD),
    }
    build(tmp_path / "disk", Table.EFI, files, esp=esp)
    assert walked(tmp_path / "disk") == [
        f"UEFI: partition 1 (ESP), {BOOTX64} (GRUB) -> {ON_FAT}, /grub/grub.cfg -> 1 entry",
        '  "NixOS - Default": /kernels/linux (97.7 KiB), initrd (48.9 KiB), init',
    ]


def test_grub_behind_shim(tmp_path: Path) -> None:
    """Debian's signed GRUB reads a stub beside its prefix, which leads to the root."""
    stub = f"search.fs_uuid {ROOT_UUID} root\nset prefix=($root)'/boot/grub'\n"
    esp = {
        BOOTX64: SHIM.read_bytes(),
        "/EFI/BOOT/grubx64.efi": SIGNED_GRUB.read_bytes(),
        "/EFI/debian/grub.cfg": (stub + "configfile $prefix/grub.cfg\n").encode(),
    }
    build(tmp_path / "disk", Table.EFI, root_files(menu()), esp=esp)
    assert walked(tmp_path / "disk") == [
        f"UEFI: partition 1 (ESP), {BOOTX64} (shim) -> partition 1 (ESP), "
        f"/EFI/BOOT/grubx64.efi (GRUB) -> {ON_FAT}, /EFI/debian/grub.cfg -> "
        "partition 2 (ext4), /boot/grub/grub.cfg -> 1 entry",
        ENTRY,
    ]
    esp.pop("/EFI/BOOT/grubx64.efi")
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    build(tmp_path / "disk", Table.EFI, root_files(menu()), esp=esp)
    assert fault(tmp_path / "disk") == (
        "UEFI: partition 1 (ESP), /EFI/BOOT/grubx64.efi: file `/EFI/BOOT/grubx64.efi' not found"
    )


@pytest.mark.parametrize("sector_size", [512, 4096])
@pytest.mark.parametrize("table", [Table.EFI, Table.EFIXBOOTLDR])
def test_systemd_boot(tmp_path: Path, demo_system: str, table: Table, sector_size: int) -> None:
    kernel = (Path(demo_system) / "kernel").read_bytes()
    files = root_files()
    boot = {
        "/EFI/nixos/linux.efi": kernel,
        "/EFI/nixos/initrd.efi": files[INITRD],
    }
    for number in (9, 10):
        boot[f"/loader/entries/nixos-generation-{number}.conf"] = (
            f"title NixOS {number}\nlinux /EFI/nixos/linux.efi\ninitrd /EFI/nixos/initrd.efi\n"
            f"options init={INIT} loglevel=4\n"
        ).encode()
    esp = {BOOTX64: SYSTEMD_BOOT.read_bytes(), "/loader/loader.conf": b"default nixos-*\n"}
    if table is Table.EFI:
        esp |= boot
    build(tmp_path / "disk", table, files, esp=esp, xbootldr=boot, sector_size=sector_size)
    size = f"{len(kernel) / 2**20:.1f} MiB"
    if table is Table.EFIXBOOTLDR and sector_size != 512:
        assert fault(tmp_path / "disk") == (
            "UEFI: there are no entries in loader/entries in partition 1 (ESP); systemd-boot does "
            "not find those in partition 2 (BOOT) on sectors of 4096 bytes"
        )
        return
    assert walked(tmp_path / "disk") == [
        f"UEFI: partition 1 (ESP), {BOOTX64} (systemd-boot) -> 2 entries in loader/entries",
        f'  "NixOS 10": /EFI/nixos/linux.efi ({size}), initrd (48.9 KiB), init',
        "  1 more entry: the files are there, their beginnings read",
    ]


def test_grub_on_a_disk_with_large_sectors(tmp_path: Path) -> None:
    esp = {BOOTX64: core_image(tmp_path, "x86_64-efi")}
    build(tmp_path / "disk", Table.EFI, root_files(menu()), esp=esp, sector_size=4096)
    assert walked(tmp_path / "disk")[1] == ENTRY


def test_a_bare_file_system(tmp_path: Path) -> None:
    build(tmp_path / "disk", Table.NONE, root_files())
    lines = output(BIN / "check-image", tmp_path / "disk").decode().splitlines()
    assert lines[0] == (
        "8.0 MiB, a file system without a partition table: nothing boots it by itself"
    )
    assert "ext4, " in lines[1]


def test_a_menu_for_a_grub_from_outside(tmp_path: Path) -> None:
    """As on a disk without a partition table, which another disk's GRUB starts."""
    files = root_files(menu())
    build(tmp_path / "disk", Table.NONE, files)
    where = "GRUB from outside: the ext4, /boot/grub/grub.cfg"
    assert walked(tmp_path / "disk") == [f"{where} -> 1 entry", ENTRY]
    files[KERNEL] = files[KERNEL][:-100]
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    build(tmp_path / "disk", Table.NONE, files)
    found = fault(tmp_path / "disk")
    assert found.startswith("GRUB from outside: entry 'NixOS - Default': the ext4, ")
    assert "bzImage: it is cut short" in found


def test_fallback_between_shim_and_grub(tmp_path: Path) -> None:
    """A shim that finds fallback beside itself starts nothing else (fallback.c)."""
    stub = f"search.fs_uuid {ROOT_UUID} root\nconfigfile ($root)/boot/grub/grub.cfg\n"
    home = "/EFI/debian"
    esp = {
        BOOTX64: SHIM.read_bytes(),
        "/EFI/BOOT/fbx64.efi": (SHIM.parent / "fbx64.efi.signed").read_bytes(),
        f"{home}/shimx64.efi": SHIM.read_bytes(),
        f"{home}/grubx64.efi": SIGNED_GRUB.read_bytes(),
        f"{home}/grub.cfg": stub.encode(),
        f"{home}/BOOTX64.CSV": "shimx64.efi,Debian,,A boot entry\n".encode("utf-16-le"),
    }
    build(tmp_path / "disk", Table.EFI, root_files(menu()), esp=esp)
    assert walked(tmp_path / "disk") == [
        f"UEFI: partition 1 (ESP), {BOOTX64} (shim) -> /EFI/BOOT/fbx64.efi (fallback) -> "
        f"{home}/shimx64.efi (shim) -> partition 1 (ESP), {home}/grubx64.efi (GRUB) -> "
        f"{ON_FAT}, {home}/grub.cfg -> partition 2 (ext4), /boot/grub/grub.cfg -> 1 entry",
        ENTRY,
    ]
    output("mdel", "-i", esp_of(tmp_path / "disk"), f"::{home}/BOOTX64.CSV")
    assert fault(tmp_path / "disk") == (
        "UEFI: partition 1 (ESP): fallback finds no BOOTX64.CSV in any directory of /EFI"
    )


# Menus.


def test_generations_in_a_submenu(tmp_path: Path) -> None:
    """Of all generations the files must be there, wherever the menu has them."""
    inner = menu(search=f"--label {LABEL}").split("\n", 2)[2]
    grub_cfg = f'{menu()}submenu "NixOS - All configurations" {{\n{inner}\n{inner}}}\n'
    core = core_image(tmp_path, "i386-pc")
    build(tmp_path / "disk", Table.LEGACY, root_files(grub_cfg), core=core)
    messages = walked(tmp_path / "disk")
    assert messages[0].endswith(" -> 3 entries")
    assert messages[1:] == [ENTRY, "  2 more entries: the files are there, their beginnings read"]
    grub_cfg = grub_cfg.replace("bzImage", "bzImage-gone").replace("bzImage-gone", "bzImage", 2)
    write(tmp_path / "disk", 1, "/boot/grub/grub.cfg", grub_cfg.encode())
    assert fault(tmp_path / "disk") == (
        "BIOS: entry 'NixOS - All configurations > NixOS - Default': partition 1 (ext4), "
        f"{KERNEL}-gone: file `{KERNEL}-gone' not found"
    )


def test_a_prefix_that_grub_install_left(tmp_path: Path) -> None:
    """A partition of the disk that it was started from, and modules beside the configuration."""
    config, core = tmp_path / "empty", tmp_path / "core"
    config.write_text("")
    modules = ["biosdisk", "part_msdos", "ext2"]
    prefix = ["-p", "(,msdos1)/boot/grub"]
    output("grub-mkimage", "-O", "i386-pc", *prefix, "-o", core, *modules)
    files = root_files(menu())
    image = tmp_path / "disk"
    build(image, Table.LEGACY, files, core=core.read_bytes())
    assert fault(image) == (
        "BIOS: partition 1 (ext4), /boot/grub/i386-pc/normal.mod: "
        "the module is neither there nor in GRUB's core image"
    )
    files["/boot/grub/i386-pc/normal.mod"] = (GRUB / "i386-pc" / "normal.mod").read_bytes()
    build(image, Table.LEGACY, files, core=core.read_bytes())
    assert walked(image)[1] == ENTRY


def test_a_core_image_that_cannot_read_its_prefix(tmp_path: Path) -> None:
    core = tmp_path / "core"
    prefix = ["-p", "(hd0,msdos1)/boot/grub"]
    output("grub-mkimage", "-O", "i386-pc", *prefix, "-o", core, "biosdisk", "part_msdos", "normal")
    build(tmp_path / "disk", Table.LEGACY, root_files(menu()), core=core.read_bytes())
    assert fault(tmp_path / "disk") == (
        "BIOS: GRUB's core image lacks the module ext2, to read partition 1 (ext4)"
    )


def test_subvolumes_of_a_btrfs(tmp_path: Path) -> None:
    """GRUB reads them from the top level; init's path is that in the mounted root."""
    early = EARLY.replace("/boot", "/@/boot")
    files = {
        f"/@{name}": data for name, data in root_files(menu(f"/@{KERNEL}", f"/@{INITRD}")).items()
    }
    esp = {BOOTX64: core_image(tmp_path, "x86_64-efi", early)}
    build(tmp_path / "disk", Table.EFI, files, esp=esp, kind="btrfs")
    assert walked(tmp_path / "disk") == [
        f"UEFI: partition 1 (ESP), {BOOTX64} (GRUB) -> "
        "partition 2 (btrfs), /@/boot/grub/grub.cfg -> 1 entry",
        ENTRY.replace("/nix/store/…", "/@/nix/store/…"),
    ]


# Broken on purpose, at each link.


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("hybrid")
    core = core_image(directory, "i386-pc")
    esp = {BOOTX64: core_image(directory, "x86_64-efi")}
    build(directory / "disk", Table.HYBRID, root_files(menu()), esp=esp, core=core)
    return directory / "disk"


@pytest.fixture
def image(hybrid: Path, tmp_path: Path) -> Path:
    """A copy of it, to be broken."""
    copy = tmp_path / "disk"
    output("cp", "--sparse=always", hybrid, copy)
    return copy


def cut(image: Path, path: str, size: int) -> None:
    """Make a file in the root shorter, as a copy that was interrupted is."""
    command = ["/sbin/debugfs", "-R", f"cat {path}", f"{image}?offset={start(image, 3)}"]
    data = output(*command)
    write(image, 3, path, data[:size])


def in_both(image: Path, link: str) -> bool:
    """Whether both chains are broken at one link."""
    return check_image(image).faults == (f"BIOS: {link}", f"UEFI: {link}")


def test_no_signature(image: Path) -> None:
    poke(image, 510, b"\0\0")
    assert fault(image) == (
        "boot sector: it has no signature 55 aa, without which there is no partition table"
    )


def test_other_boot_code(image: Path) -> None:
    poke(image, 0x180, b"NTLDR")
    assert fault(image) == "BIOS: boot sector: its boot code is not GRUB's"


def test_a_wrong_lba(image: Path) -> None:
    poke(image, 0x5C, (4711).to_bytes(8, "little"))
    assert fault(image) == "BIOS: boot sector: it loads LBA 4711, not the BIOS boot partition"


def test_a_wrong_lba_in_the_gap(tmp_path: Path) -> None:
    core = core_image(tmp_path, "i386-pc")
    build(tmp_path / "disk", Table.LEGACY, root_files(menu()), core=core)
    poke(tmp_path / "disk", 0x5C, (2048).to_bytes(8, "little"))
    assert fault(tmp_path / "disk") == (
        "BIOS: boot sector: it loads LBA 2048, not the gap before the first partition"
    )


def test_no_core_image(image: Path) -> None:
    poke(image, start(image, 2), bytes(512))
    assert fault(image) == "BIOS: partition 2 (no-fs): it holds no GRUB core image"


def test_a_list_that_begins_elsewhere(image: Path) -> None:
    poke(image, start(image, 2) + 0x1F4, (2).to_bytes(8, "little"))
    assert fault(image) == "BIOS: core image: its first sector, LBA 2048, goes on at LBA 2"


def test_a_wrong_segment(image: Path) -> None:
    poke(image, start(image, 2) + 0x1FE, b"\0\x10")
    assert fault(image) == "BIOS: core image: it is loaded to segment 0x1000"


@pytest.mark.parametrize("change", [-3, 3])
def test_a_wrong_count(image: Path, tmp_path: Path, change: int) -> None:
    sectors = -(-len(core_image(tmp_path, "i386-pc")) // 512)
    poke(image, start(image, 2) + 0x1FC, (sectors - 1 + change).to_bytes(2, "little"))
    assert fault(image) == (
        f"BIOS: core image at LBA 2048: its list names {sectors + change} sectors, "
        f"but it has {sectors}"
    )


def test_a_count_beyond_the_partition(image: Path) -> None:
    poke(image, start(image, 2) + 0x1FC, (65535).to_bytes(2, "little"))
    assert fault(image) == (
        "BIOS: core image: its list of 65536 sectors goes 25.0 MiB beyond partition 2 (no-fs)"
    )


def test_a_damaged_core_image(image: Path) -> None:
    poke(image, start(image, 2) + 30_000, b"damage")
    assert fault(image) == (
        "BIOS: core image at LBA 2048: it does not decompress: it is damaged, or was written over"
    )


def test_a_lost_prefix_partition(image: Path) -> None:
    output("/sbin/tune2fs", "-f", "-U", "clear", f"{image}?offset={start(image, 3)}", stdin=b"y\n")
    link = f"GRUB's prefix /boot/grub: no file system has the UUID {ROOT_UUID}"
    assert in_both(image, link)


def test_no_configuration(image: Path) -> None:
    debugfs(image, 3, "rm /boot/grub/grub.cfg")
    assert in_both(
        image, "partition 3 (ext4), /boot/grub/grub.cfg: file `/boot/grub/grub.cfg' not found"
    )


def test_an_empty_configuration(image: Path) -> None:
    write(image, 3, "/boot/grub/grub.cfg", b"# nothing\n")
    assert in_both(image, "partition 3 (ext4), /boot/grub/grub.cfg: its menu has no entries")


def test_a_configuration_that_searches_in_vain(image: Path) -> None:
    write(image, 3, "/boot/grub/grub.cfg", menu(search="--label home").encode())
    link = f"entry 'NixOS - Default': {KERNEL}: no file system has the label home"
    assert in_both(image, link)


def test_a_configuration_that_reads_an_absent_one(image: Path) -> None:
    """GRUB prints an error and goes on, so only a menu without entries is at fault."""
    write(image, 3, "/boot/grub/grub.cfg", f"source /absent\n{menu()}".encode())
    assert check_image(image).faults == ()
    write(image, 3, "/boot/grub/grub.cfg", b"source /absent\n")
    assert in_both(image, "partition 3 (ext4), /absent: file `/absent' not found")


def test_an_entry_without_a_kernel(image: Path) -> None:
    write(image, 3, "/boot/grub/grub.cfg", b"menuentry x {\n echo y\n}\n")
    assert in_both(image, "entry 'x': it loads no kernel")


def of_entry(path: str, words: str) -> str:
    return f"entry 'NixOS - Default': partition 3 (ext4), {path}: {words}"


def test_no_kernel(image: Path) -> None:
    debugfs(image, 3, f"rm {KERNEL}")
    assert in_both(image, of_entry(KERNEL, f"file `{KERNEL}' not found"))


def test_a_kernel_that_is_none(image: Path) -> None:
    write(image, 3, KERNEL, b"#!/bin/sh\n" * 200)
    assert in_both(image, of_entry(KERNEL, "it is not a Linux kernel"))


def test_a_kernel_cut_short(image: Path) -> None:
    cut(image, KERNEL, 60_000)
    # boot.rst: the length is in units of 16 bytes, the last of which may not be full.
    assert in_both(image, of_entry(KERNEL, "it is cut short: 60000 bytes of 99984"))


def test_no_initrd(image: Path) -> None:
    debugfs(image, 3, f"rm {INITRD}")
    assert in_both(image, of_entry(INITRD, f"file `{INITRD}' not found"))


def test_an_initrd_cut_short(image: Path) -> None:
    cut(image, INITRD, 30_000)
    assert in_both(image, of_entry(INITRD, "it is cut short: 30000 bytes, and an archive goes on"))


def test_no_init(image: Path) -> None:
    debugfs(image, 3, f"rm {INIT}")
    link = f"entry 'NixOS - Default': init {INIT}: it is not in partition 3 (ext4)"
    assert in_both(image, link)


def test_init_behind_links(image: Path) -> None:
    """Absolute links lead from the root of the image, not from that of the host."""
    debugfs(image, 3, f"rm {INIT}", "symlink /init-link real-init", "mkdir /etc")
    link = f"/nix/store/{HASH}-system/init"
    debugfs(image, 3, f"symlink {link} /init-link")
    words = f"init {INIT}: it is not in partition 3 (ext4)"
    assert in_both(image, f"entry 'NixOS - Default': {words}")
    (image.parent / "data").write_bytes(b"#!/bin/sh\n")
    debugfs(image, 3, f"write {image.parent / 'data'} /real-init")
    assert check_image(image).faults == ()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"#!/bin/sh\n", "it is not an EFI program (no MZ header)"),
        (b"", "it is not an EFI program (no MZ header)"),
        (b"MZ" + bytes(2000), "it is not an EFI program (no PE header)"),
    ],
)
def test_an_efi_program_that_is_none(image: Path, data: bytes, words: str) -> None:
    replace_program(image, lambda _: data)
    assert fault(image) == f"UEFI: partition 1 (ESP), {BOOTX64}: {words}"


def test_an_efi_program_cut_short(image: Path) -> None:
    replace_program(image, lambda data: data[:100_000])
    words = "it is cut short: 100000 bytes, but section .data needs"
    assert fault(image).startswith(f"UEFI: partition 1 (ESP), {BOOTX64}: {words}")


def test_an_efi_program_for_another_machine(image: Path, tmp_path: Path) -> None:
    replace_program(image, lambda _: core_image(tmp_path, "i386-efi"))
    assert fault(image) == f"UEFI: partition 1 (ESP), {BOOTX64}: it is for i386, not for x86-64"


def replace_program(image: Path, change: Callable[[bytes], bytes]) -> None:
    program = image.parent / "program"
    program.write_bytes(change(output("mtype", "-i", esp_of(image), f"::{BOOTX64}")))
    output("mcopy", "-o", "-i", esp_of(image), program, f"::{BOOTX64}")


def test_a_lost_esp(tmp_path: Path) -> None:
    image = tmp_path / "disk"
    esp_files = {BOOTX64: core_image(tmp_path, "x86_64-efi")}
    build(image, Table.EFI, root_files(menu()), esp=esp_files)
    basic_data = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"
    output("/sbin/sfdisk", "--part-type", image, "1", basic_data)
    assert fault(image) == (
        "nothing boots this disk: the boot sector has no code, "
        "and the EFI system partition is not there"
    )
    assert check_image(image, efi=True).faults == ("UEFI: there is no EFI system partition",)


def test_systemd_boot_without_entries(tmp_path: Path) -> None:
    esp_files = {BOOTX64: SYSTEMD_BOOT.read_bytes()}
    build(tmp_path / "disk", Table.EFIXBOOTLDR, root_files(), esp=esp_files)
    assert fault(tmp_path / "disk") == (
        "UEFI: there are no entries in loader/entries in partition 1 (ESP) or partition 2 (BOOT)"
    )


def test_a_kernel_that_is_no_efi_program(tmp_path: Path) -> None:
    esp_files = {
        BOOTX64: SYSTEMD_BOOT.read_bytes(),
        "/loader/entries/nixos.conf": b"title NixOS\nlinux /linux\n",
        "/linux": bytes(2) + made_up_kernel(10_000)[2:],
    }
    build(tmp_path / "disk", Table.EFI, root_files(), esp=esp_files)
    assert fault(tmp_path / "disk").startswith(
        f"UEFI: entry 'NixOS': {ON_FAT}, /linux: it is not an EFI program"
    )


def test_the_command_names_the_link(image: Path) -> None:
    debugfs(image, 3, f"rm {KERNEL}")
    done = subprocess.run([BIN / "check-image", image], capture_output=True, text=True)
    assert done.returncode == 1
    link = of_entry(KERNEL, f"file `{KERNEL}' not found")
    assert done.stdout.splitlines()[-1] == f"unsound: BIOS: {link}; UEFI: {link}"
    assert "1 entry -> broken" in done.stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            menu().replace("bzImage", "bz\0Image"),
            "it has a NUL byte, where GRUB stops to read the line",
        ),
        (menu() + "menuentry x {\n  linux /k\n", "syntax error in line "),
        (menu().replace("init=", "jnit="), "its kernel has no parameter init="),
        (menu() + "submenu all { }\n", "syntax error in line "),
        (menu() + "submenu all {\n  set a=b\n}\n", "its submenu 'all' has no entries"),
        (
            menu() + "source /boot/grub/grub.cfg\n" * 3,
            "configurations read one another without end",
        ),
        (
            "".join(f"if [ -f /x{at} ]; then true; fi\n" for at in range(5000)) + menu(),
            "it asks for more work than any menu needs",
        ),
    ],
)
def test_menus_that_are_wrong(tmp_path: Path, text: str, words: str) -> None:
    core = core_image(tmp_path, "i386-pc")
    build(tmp_path / "disk", Table.LEGACY, root_files(text), core=core)
    assert words in fault(tmp_path / "disk")


@pytest.mark.parametrize("kernel", [KERNEL, "/gone"])
@pytest.mark.parametrize("part", ["while true; do true; done\n", "exit\n", "halt\n"])
def test_a_menu_that_is_not_followed_as_a_whole(tmp_path: Path, part: str, kernel: str) -> None:
    """It is no fault, nor is the image called sound without a reserve."""
    core = core_image(tmp_path, "i386-pc")
    build(tmp_path / "disk", Table.LEGACY, root_files(part + menu(kernel)), core=core)
    report = check_image(tmp_path / "disk")
    [chain] = report.chains
    assert report.faults == ()
    assert verdict(report) == "sound as far as it was followed"
    first, *more = chain.remarks
    assert first == f"not followed: its command `{part.split(maxsplit=1)[0]}`"
    if kernel == KERNEL:
        assert chain_lines(chain)[1:] == [ENTRY, f"  {first}"]
    else:
        [words] = more
        assert words.startswith("perhaps broken: entry 'NixOS - Default': ")
    [found] = facts(report)["chains"]
    assert (found["followed"], found["fault"]) == (False, None)
    assert report.sound


def test_what_an_image_says_controls_no_terminal(tmp_path: Path) -> None:
    text = menu().replace("NixOS - Default", "Nix\x1b[31mOS\x1b]0;pwn\x07\x9b")
    core = core_image(tmp_path, "i386-pc")
    build(tmp_path / "disk", Table.LEGACY, root_files(text), core=core)
    report = check_image(tmp_path / "disk")
    assert report.sound
    lines = [*describe(report), verdict(report)]
    assert all(line.isprintable() for line in lines)
    assert any(r"Nix\x1b[31mOS\x1b]0;pwn\x07" in line for line in lines)
    write(tmp_path / "disk", 1, KERNEL, b"\x1b[31m")
    messages = verdict(check_image(tmp_path / "disk"))
    assert messages.startswith("unsound: BIOS: ")
    assert messages.isprintable()


def test_facts_are_json(tmp_path: Path) -> None:
    core = core_image(tmp_path, "i386-pc")
    build(tmp_path / "disk", Table.LEGACY, root_files(menu()), core=core)
    found = json.loads(json.dumps(facts(check_image(tmp_path / "disk"))))
    assert (found["path"], found["sound"], found["faults"]) == (str(tmp_path / "disk"), True, [])
    [part] = found["partitions"]
    assert (part["number"], part["content"]["kind"], part["content"]["checked"]) == (
        1,
        "ext4",
        True,
    )
    assert part["size"] > part["content"]["free"] > part["content"]["inodes"] > 0
    [chain] = found["chains"]
    sizes = [len(root_files()[path]) for path in (KERNEL, INITRD)]
    assert (chain["firmware"], chain["remarks"]) == ("BIOS", [])
    assert chain["entries"] == [
        {
            "title": "NixOS - Default",
            "default": True,
            "followed": True,
            "kernel": {"partition": 1, "path": KERNEL, "size": sizes[0]},
            "initrds": [{"partition": 1, "path": INITRD, "size": sizes[1]}],
            "init": INIT,
        }
    ]


def test_facts_of_entries_that_are_broken_or_not_followed(tmp_path: Path) -> None:
    other = 'menuentry "Off" {\n  halt\n}\n'
    core = core_image(tmp_path, "i386-pc")
    build(tmp_path / "disk", Table.LEGACY, root_files(menu("/gone") + other), core=core)
    [chain] = facts(check_image(tmp_path / "disk"))["chains"]
    assert [one["kernel"] for one in chain["entries"]] == [
        {"partition": 1, "path": "/gone", "size": None},
        None,
    ]
    assert [one["followed"] for one in chain["entries"]] == [True, False]
    assert chain["fault"]


@pytest.mark.parametrize("damaged", ["kernel", "initrd", "neither"])
def test_copies_of_the_stores_files_are_compared_with_them(tmp_path: Path, damaged: str) -> None:
    """NixOS's GRUB and systemd-boot read kernels that lie outside the store."""
    files = root_files()
    copies = {"kernel": KERNEL, "initrd": INITRD}
    names = {one: f"/EFI/nixos/{'-'.join(path.split('/')[3:])}.efi" for one, path in copies.items()}
    text = menu(names["kernel"], names["initrd"], f"--fs-uuid {FAT_UUID}")
    esp = {names[one]: files[path] for one, path in copies.items()}
    esp[BOOTX64] = core_image(tmp_path, "x86_64-efi")
    files["/boot/grub/grub.cfg"] = text.encode()
    if damaged != "neither":  # the copy in the store counts as well: one of both is wrong
        data = files[copies[damaged]]
        files[copies[damaged]] = made_up_kernel(len(data)) if damaged == "kernel" else data[::-1]
    build(tmp_path / "disk", Table.EFI, files, esp=esp)
    found = check_image(tmp_path / "disk").faults
    if damaged == "neither":
        assert found == ()
    else:
        words = f"it differs from {copies[damaged]} in partition 2 (ext4)"
        assert len(found) == 1
        assert found[0].endswith(f"{ON_FAT}, {names[damaged]}: {words}")
