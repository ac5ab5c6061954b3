from pathlib import Path

import pytest

from assembler.boot.signed.role import Role, role_of
from tests.support.efi_programs import (
    FALLBACK,
    GRUB,
    GRUB_IA32,
    MOK_MANAGER,
    SHIM,
    SIGNED_GRUB,
    SYSTEMD_BOOT,
    other_program,
)


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("shimx64.efi.signed", Role.SHIM),
        ("SHIM.EFI", Role.SHIM),
        ("grubx64.efi", Role.GRUB),
        ("gcdx64.efi.signed", Role.GRUB),
        ("mmx64.efi", Role.MOK_MANAGER),
        ("MokManager.efi", Role.MOK_MANAGER),
        ("fbx64.efi", Role.FALLBACK),
        ("fallback.efi", Role.FALLBACK),
        ("BOOTX64.EFI", Role.OTHER),
        ("linux.efi", Role.OTHER),
    ],
)
def test_a_name_tells_the_part(name: str, role: Role) -> None:
    assert Role.of(name) is role


@pytest.mark.parametrize(
    ("program", "role"),
    [
        (SHIM, Role.SHIM),
        (MOK_MANAGER, Role.MOK_MANAGER),
        (FALLBACK, Role.FALLBACK),
        (SIGNED_GRUB, Role.GRUB),
        (GRUB, Role.GRUB),
        (GRUB_IA32, Role.GRUB),
        (SYSTEMD_BOOT, Role.SYSTEMD_BOOT),
    ],
)
def test_the_content_tells_more_than_the_name(tmp_path: Path, program: Path, role: Role) -> None:
    for name in ("any.efi", "shimx64.efi", "grubx64.efi", "mmx64.efi", "fbx64.efi"):
        renamed = tmp_path / name
        renamed.symlink_to(program)
        assert role_of(renamed) is role


def test_where_the_content_does_not_tell_the_name_does(tmp_path: Path) -> None:
    program = other_program(tmp_path / "other.efi")
    assert role_of(program) is Role.OTHER
    assert role_of(program.rename(tmp_path / "shim.efi")) is Role.SHIM


def test_a_grub_whose_modules_are_damaged_is_still_one(tmp_path: Path) -> None:
    program = tmp_path / "any.efi"
    program.write_bytes(GRUB.read_bytes().replace(b"mimg", b"MIMG"))
    assert role_of(program) is Role.GRUB
