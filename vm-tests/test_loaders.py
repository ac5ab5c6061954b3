"""GRUB starts on every firmware and table, and reads its menu; nothing else is on these disks.

Without these tests, a firmware can fail to start GRUB, or start an unsigned one in spite of Secure
Boot.
"""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from uuid import NAMESPACE_DNS, uuid5

import pytest

from assembler import machines
from assembler.boot.grub.bios import BiosCode
from assembler.boot.grub.find import find_grub
from assembler.boot.grub.grub import BIOS, Platform, make_core_image
from assembler.boot.signed.chain import read_efi_programs
from assembler.disk.layout import Layout, make_layout
from assembler.disk.table_writer import write_table
from assembler.disk.tables import Table
from assembler.filesystems.fat.fat import Fat, write_fat
from assembler.store.paths import StoreRoot
from assembler.units import KIB, MIB
from qemu import Machine

BOOT_SECONDS = 180
UEFI = Platform(machines.Machine.X64)
ROOT_UUID = "6d3c1b0a-0f5e-4b7c-9f1d-2a3b4c5d6e7f"
PREFIX = "/boot/grub"
# On a PC without a screen, GRUB for BIOS needs a configured console; for UEFI the firmware has it.
MENU = """
if [ "$grub_platform" = pc ]; then serial; terminal_output serial; fi
echo "menu: $grub_cpu-$grub_platform"
halt
"""
SIGNED = [
    Path("/usr/lib/shim/shimx64.efi.signed"),
    Path("/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"),
    Path("/usr/lib/shim/mmx64.efi.signed"),
]
FALLBACK = Path("/usr/lib/shim/fbx64.efi.signed")


def new_disk(image: Path, table: Table, esp: Mapping[str, bytes] | None = None) -> Layout:
    """A disk with GRUB's menu in an ext4, and files on its ESP."""
    layout = make_layout(
        table,
        root_size=16 * MIB,
        boot_size=64 * MIB,
        seed=lambda name: uuid5(NAMESPACE_DNS, name),
    )
    with image.open("wb") as file:
        file.truncate(layout.size)
    write_table(image, layout)
    root = image.parent / "root"
    (root / PREFIX.lstrip("/")).mkdir(parents=True)
    (root / PREFIX.lstrip("/") / "grub.cfg").write_text(MENU)
    place: list[str | Path] = ["-E", f"offset={layout.root.start}", image]
    place.append(f"{layout.root.size // KIB}k")
    options: list[str | Path] = ["-q", "-F", "-t", "ext4", "-O", "^metadata_csum_seed"]
    options += ["-U", ROOT_UUID, "-d", root]
    subprocess.run(["/sbin/mke2fs", *options, *place], check=True)
    if layout.esp is not None:
        fat = Fat(
            offset=layout.esp.start,
            size=layout.esp.size,
            files=esp or {},
            volume_id=0xABCD1234,
            label="ESP",
            epoch=1,
        )
        write_fat(image, fat)
    return layout


def core_image(platform: Platform) -> tuple[bytes, bytes]:
    """GRUB's boot sector, where it has one, and its core image."""
    grub = find_grub(platform, StoreRoot(), [])
    core = make_core_image(grub, ROOT_UUID, "ext2", PREFIX)
    return b"" if platform.is_efi else grub.boot_img, core


@pytest.mark.parametrize("table", [Table.LEGACY, Table.LEGACY_GPT, Table.HYBRID])
def test_bios_starts_grub(tmp_path: Path, table: Table) -> None:
    image = tmp_path / "disk.raw"
    layout = new_disk(image, table)
    BiosCode(*core_image(BIOS)).install(image, layout)
    with Machine(image, firmware="bios") as machine:
        machine.wait_for("^menu: i386-pc$", timeout=BOOT_SECONDS)


def test_uefi_starts_grub(tmp_path: Path) -> None:
    image = tmp_path / "disk.raw"
    new_disk(image, Table.EFI, {"EFI/BOOT/BOOTX64.EFI": core_image(UEFI)[1]})
    with Machine(image, firmware="efi") as machine:
        machine.wait_for("^menu: x86_64-efi$", timeout=BOOT_SECONDS)


def signed_files(*more: Path) -> dict[str, bytes]:
    """The files of Debian's signed programs on an ESP."""
    files = read_efi_programs([*SIGNED, *more]).files(ROOT_UUID, PREFIX)
    return {
        file.path: file.source.read_bytes() if isinstance(file.source, Path) else file.source
        for file in files
    }


def test_secure_boot_starts_a_signed_grub(tmp_path: Path) -> None:
    image = tmp_path / "disk.raw"
    new_disk(image, Table.EFI, signed_files())
    with Machine(image, firmware="efi", secure_boot=True) as machine:
        machine.wait_for("^menu: x86_64-efi$", timeout=BOOT_SECONDS)


def test_secure_boot_refuses_what_nobody_signed(tmp_path: Path) -> None:
    image = tmp_path / "disk.raw"
    new_disk(image, Table.EFI, {"EFI/BOOT/BOOTX64.EFI": core_image(UEFI)[1]})
    with Machine(image, firmware="efi", secure_boot=True) as machine:
        machine.wait_for("Access Denied", timeout=BOOT_SECONDS)


def test_shims_fallback_starts_a_signed_grub(tmp_path: Path) -> None:
    image, files = tmp_path / "disk.raw", signed_files(FALLBACK)
    assert "EFI/BOOT/grubx64.efi" not in files  # which shim would start without its fallback
    new_disk(image, Table.EFI, files)
    with Machine(image, firmware="efi", secure_boot=True) as machine:
        machine.wait_for("^menu: x86_64-efi$", timeout=BOOT_SECONDS)
