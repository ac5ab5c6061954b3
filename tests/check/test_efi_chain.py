"""Of several EFI programs, those that fit the system must boot; others are excused.

Without these tests, a good image can be refused because of a program that its machine never starts.
"""

import struct
from collections.abc import Mapping
from pathlib import Path

import pytest

from assembler.check.image import check_image
from assembler.cli.check_report import chain_lines
from assembler.disk.tables import Table
from tests.support.boot_images import (
    INIT,
    INITRD,
    ROOT_UUID,
    build,
    core_image,
    menu,
    poke,
    root_files,
)
from tests.support.efi_programs import SHIM, SIGNED_GRUB, SYSTEMD_BOOT
from tests.support.systems import made_up_kernel

BOOTX64 = "/EFI/BOOT/BOOTX64.EFI"
BOOTIA32 = "/EFI/BOOT/BOOTIA32.EFI"
BOOTAA64 = "/EFI/BOOT/BOOTAA64.EFI"
ENTRY = '  "NixOS - Default": /nix/store/…/bzImage (97.7 KiB), initrd (48.9 KiB), init'
MENU = "partition 3 (ext4), /boot/grub/grub.cfg -> 1 entry"
NO_PROGRAM = (
    "UEFI: partition 1 (ESP): it has no EFI/BOOT/BOOTX64.EFI, nor a program for another machine"
)
REMARK = "  it needs a boot entry in the firmware"

# Microsoft's PE format, "Machine Types".
ARM64, I386 = 0xAA64, 0x014C


def for_machine(program: bytes, machine: int) -> bytes:
    """A program whose header has another machine."""
    at = struct.unpack_from("<I", program, 0x3C)[0] + 4
    magic = struct.pack("<H", 0x10B if machine == I386 else 0x20B)  # PE32, PE32+
    return (
        program[:at]
        + struct.pack("<H", machine)
        + program[at + 2 : at + 20]
        + magic
        + program[at + 22 :]
    )


def messages(image: Path) -> list[str]:
    """The lines of all chains for UEFI."""
    chains = [one for one in check_image(image).chains if one.firmware.startswith("UEFI")]
    return [line for chain in chains for line in chain_lines(chain)]


def make(directory: Path, esp: Mapping[str, bytes], *, bios: bool = False) -> Path:
    core = core_image(directory, "i386-pc") if bios else None
    build(directory / "disk", Table.HYBRID, root_files(menu()), esp=esp, core=core)
    return directory / "disk"


@pytest.fixture
def grub(tmp_path: Path) -> bytes:
    return core_image(tmp_path, "x86_64-efi")


def test_a_grub_for_another_machine(tmp_path: Path, grub: bytes) -> None:
    image = make(tmp_path, {BOOTX64: grub, BOOTAA64: for_machine(grub, ARM64)})
    assert check_image(image, efi=True).faults == ()
    assert messages(image) == [
        f"UEFI: partition 1 (ESP), {BOOTX64} (GRUB) -> {MENU}",
        ENTRY,
        f"UEFI (arm64): partition 1 (ESP), {BOOTAA64} (GRUB) -> {MENU}",
        "  GRUB for arm64: the kernel is for x86",
    ]


def test_a_damaged_program_for_another_machine(tmp_path: Path, grub: bytes) -> None:
    image = make(tmp_path, {BOOTX64: grub, BOOTAA64: b"damage"})
    assert check_image(image, efi=True).faults == ()
    assert messages(image)[-1] == (
        f"  not for this system: UEFI (arm64): partition 1 (ESP), {BOOTAA64}: "
        "it is not an EFI program (no MZ header)"
    )


def test_a_damaged_program_for_the_same_kernels(tmp_path: Path, grub: bytes) -> None:
    image = make(tmp_path, {BOOTX64: grub, BOOTIA32: b"damage"})
    assert check_image(image).faults == (
        f"UEFI (i386): partition 1 (ESP), {BOOTIA32}: it is not an EFI program (no MZ header)",
    )


def test_no_program_that_fits(tmp_path: Path, grub: bytes) -> None:
    image = make(tmp_path, {BOOTAA64: for_machine(grub, ARM64)})
    [fault] = check_image(image).faults
    assert fault.startswith("UEFI (arm64): entry 'NixOS - Default': partition 3 (ext4), /nix/store")
    assert fault.endswith("bzImage: it is a kernel for x86, not for arm64")


def test_a_systemd_boot_for_another_machine(tmp_path: Path, demo_system: str) -> None:
    program = SYSTEMD_BOOT.read_bytes()
    files = root_files()
    entry = f"title NixOS\nlinux /EFI/nixos/k.efi\ninitrd /EFI/nixos/i.efi\noptions init={INIT}\n"
    esp = {
        BOOTX64: program,
        BOOTIA32: for_machine(program, I386),
        "/EFI/nixos/k.efi": (Path(demo_system) / "kernel").read_bytes(),
        "/EFI/nixos/i.efi": files[INITRD],
        "/loader/entries/nixos-generation-1.conf": entry.encode(),
    }
    build(tmp_path / "disk", Table.EFI, files, esp=esp)
    assert check_image(tmp_path / "disk", efi=True).faults == ()
    assert messages(tmp_path / "disk")[-1] == ("  systemd-boot for i386: the kernel is for x86-64")


def test_other_entries_of_systemd_boot(tmp_path: Path, demo_system: str) -> None:
    """Only those of the system itself must be whole."""
    own = f"title NixOS\nlinux /EFI/nixos/k.efi\noptions init={INIT}\n"
    esp = {
        BOOTX64: SYSTEMD_BOOT.read_bytes(),
        "/EFI/nixos/k.efi": (Path(demo_system) / "kernel").read_bytes(),
        "/loader/entries/z.conf": own.encode(),
        "/loader/entries/memtest.conf": b"title Memtest\nefi /efi/memtest86/gone.efi\n",
    }
    build(tmp_path / "disk", Table.EFI, root_files(), esp=esp)
    assert check_image(tmp_path / "disk").faults == ()
    assert messages(tmp_path / "disk")[-1] == "  1 more entry: not followed"
    esp["/loader/entries/a.conf"] = own.replace("k.efi", "gone.efi").encode()
    again = tmp_path / "again"
    again.mkdir()
    build(again / "disk", Table.EFI, root_files(), esp=esp)
    assert check_image(again / "disk").faults == (
        "UEFI: entry 'NixOS': partition 1 (FAT), /EFI/nixos/gone.efi: "
        "file `/EFI/nixos/gone.efi' not found",
    )


def test_data_on_the_esp_is_no_boot_loader(tmp_path: Path) -> None:
    image = make(tmp_path, {"/firmware.bin": b"x"}, bios=True)
    assert check_image(image).faults == ()
    assert check_image(image, bios=True).faults == ()
    assert check_image(image, efi=True).faults == (NO_PROGRAM,)
    poke(image, 0, bytes(440))
    assert check_image(image).faults == ("BIOS: boot sector: it has no boot code",)


def test_data_on_the_esp_of_a_disk_that_nothing_boots(tmp_path: Path) -> None:
    image = make(tmp_path, {"/firmware.bin": b"x"})
    assert check_image(image).faults == (NO_PROGRAM,)
    assert check_image(image, boots=False).faults == ()


def test_a_grub_that_the_firmware_must_know(tmp_path: Path, grub: bytes) -> None:
    image = make(tmp_path, {"/EFI/NixOS-boot/grubx64.efi": grub})
    assert check_image(image).faults == ()
    assert messages(image) == [
        f"UEFI: partition 1 (ESP), /EFI/NixOS-boot/grubx64.efi (GRUB) -> {MENU}",
        ENTRY,
        REMARK,
    ]
    assert check_image(image, efi=True).faults == (NO_PROGRAM,)


def test_a_shim_that_the_firmware_must_know(tmp_path: Path) -> None:
    stub = f"search.fs_uuid {ROOT_UUID} root\nconfigfile ($root)/boot/grub/grub.cfg\n"
    home = "/EFI/debian"
    esp = {
        f"{home}/shimx64.efi": SHIM.read_bytes(),
        f"{home}/grubx64.efi": SIGNED_GRUB.read_bytes(),
        f"{home}/grub.cfg": stub.encode(),
    }
    image = make(tmp_path, esp)
    assert check_image(image).faults == ()
    assert messages(image) == [
        f"UEFI: partition 1 (ESP), {home}/shimx64.efi (shim) -> partition 1 (ESP), "
        f"{home}/grubx64.efi (GRUB) -> partition 1 (FAT), {home}/grub.cfg -> {MENU}",
        ENTRY,
        REMARK,
    ]


def test_a_systemd_boot_that_the_firmware_must_know(tmp_path: Path) -> None:
    path = "/EFI/systemd/systemd-bootx64.efi"
    esp = {path: SYSTEMD_BOOT.read_bytes(), "/linux": made_up_kernel(5000)}
    core = core_image(tmp_path, "i386-pc")
    image = make(tmp_path, esp)
    broken = "there are no entries in loader/entries in partition 1 (ESP)"
    assert check_image(image).faults == (f"UEFI: {broken}",)
    assert check_image(image, boots=False).faults == ()
    build(image, Table.HYBRID, root_files(menu()), esp=esp, core=core)
    assert check_image(image).faults == ()
    assert messages(image) == [
        f"UEFI: partition 1 (ESP), {path} (systemd-boot)",
        REMARK,
        f"  broken: UEFI: {broken}",
    ]
