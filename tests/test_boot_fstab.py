from pathlib import Path

import pytest

from assembler.boot.fstab import BootMounts, Mount, boot_mounts, read_mounts
from assembler.disk.layout import Table
from assembler.store.paths import StoreRoot

SYSTEM = "/nix/store/00000000000000000000000000000000-nixos-system-a"
ETC = "/nix/store/11111111111111111111111111111111-etc"

# As nixpkgs' nixos/modules/tasks/filesystems.nix writes it.
FSTAB = """\
# This is a generated file.  Do not edit!
#
# <file system> <mount point>   <type>  <options>       <dump>  <pass>

# Filesystems.
/dev/disk/by-label/nixos / ext4 x-initrd.mount 0 1
/dev/disk/by-label/ESP /boot vfat umask=0077 0 2
  # UUID=1 /elsewhere vfat
LABEL=a\\040b /mnt/with\\040space vfat defaults 0 2
UUID=1234-ABCD /efi vfat defaults

# Swap devices.
/dev/vda9 none swap defaults
tmpfs /short
"""
BOOT = Mount("/dev/disk/by-label/ESP", "/boot", "vfat")
EFI = Mount("UUID=1234-ABCD", "/efi", "vfat")
DATA = Mount("LABEL=a b", "/mnt/with space", "vfat")


def store_with(tmp_path: Path, fstab: str | None) -> StoreRoot:
    system, etc = (tmp_path / path.lstrip("/") for path in (SYSTEM, ETC))
    (etc / "etc").mkdir(parents=True)
    system.mkdir()
    (system / "etc").symlink_to(f"{ETC}/etc")
    if fstab is not None:
        (etc / "etc/fstab").write_text(fstab)
    return StoreRoot(tmp_path)


def test_fat_file_systems_are_found(tmp_path: Path) -> None:
    assert read_mounts(store_with(tmp_path, FSTAB), SYSTEM) == [BOOT, DATA, EFI]


def test_a_system_may_have_no_fstab(tmp_path: Path) -> None:
    assert read_mounts(store_with(tmp_path, None), SYSTEM) == []


@pytest.mark.parametrize(
    ("device", "label"),
    [
        ("/dev/disk/by-label/ESP", "ESP"),
        ("LABEL=boot", "boot"),
        ("/dev/disk/by-label/longer-than-11", None),
        ("/dev/disk/by-partlabel/ESP", None),
        ("/dev/vda1", None),
        ("LABEL=a b", None),
    ],
)
def test_the_label_is_what_a_device_is_named_by(device: str, label: str | None) -> None:
    assert Mount(device, "/boot", "vfat").label == label


@pytest.mark.parametrize(
    ("device", "volume_id"),
    [
        ("/dev/disk/by-uuid/12AB-cd34", 0x12ABCD34),
        ("UUID=0000-0001", 1),
        ("UUID=4d50152c-3180-8974-b3f0-0123456789ab", None),
        ("/dev/disk/by-label/ESP", None),
    ],
)
def test_the_serial_number_is_what_a_device_is_named_by(device: str, volume_id: int | None) -> None:
    assert Mount(device, "/boot", "vfat").volume_id == volume_id


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("/dev/disk/by-partlabel/disk-main-ESP", "disk-main-ESP"),
        ("PARTLABEL=EFI", "EFI"),
        ("PARTLABEL=" + 37 * "x", None),
        ("LABEL=EFI", None),
    ],
)
def test_the_partition_is_what_a_device_is_named_by(device: str, name: str | None) -> None:
    assert Mount(device, "/boot", "vfat").partition_name == name


@pytest.mark.parametrize(
    ("device", "foreign"),
    [
        ("/dev/vda1", False),
        ("/dev/mapper/esp", False),
        ("LABEL=ESP", False),
        ("UUID=1234-ABCD", False),
        ("PARTLABEL=ESP", False),
        ("LABEL=a b", True),
        ("/dev/disk/by-label/longer-than-11", True),
        ("/dev/disk/by-partuuid/c12a7328-f81f-11d2-ba4b-00a0c93ec93b", True),
        ("/dev/disk/by-uuid/c12a7328-f81f-11d2-ba4b-00a0c93ec93b", True),
    ],
)
def test_names_that_no_disk_of_ours_has(device: str, foreign: bool) -> None:
    assert Mount(device, "/boot", "vfat").is_foreign == foreign


@pytest.mark.parametrize(
    ("table", "mounts", "esp", "xbootldr"),
    [
        (Table.EFI, [BOOT, EFI], BOOT, None),
        (Table.HYBRID, [EFI, BOOT], BOOT, None),
        (Table.HYBRID, [EFI], EFI, None),
        (Table.EFI, [], None, None),
        (Table.EFIXBOOTLDR, [EFI, BOOT], EFI, BOOT),
        (Table.EFIXBOOTLDR, [BOOT], None, BOOT),
        (Table.EFIXBOOTLDR, [], None, None),
        (Table.LEGACY, [BOOT], None, None),
        (Table.LEGACY_BOOT, [EFI, BOOT], None, BOOT),
        (Table.LEGACY_GPT, [BOOT], None, None),
        (Table.NONE, [BOOT], None, None),
    ],
)
def test_which_mount_is_which_partition(
    table: Table, mounts: list[Mount], esp: Mount | None, xbootldr: Mount | None
) -> None:
    assert boot_mounts(table, mounts) == BootMounts(esp, xbootldr)


def test_boot_may_be_the_efi_system_partition() -> None:
    assert boot_mounts(Table.HYBRID, [BOOT]).boot_is_esp
    assert not boot_mounts(Table.HYBRID, [EFI]).boot_is_esp
    assert not boot_mounts(Table.EFIXBOOTLDR, [EFI, BOOT]).boot_is_esp
