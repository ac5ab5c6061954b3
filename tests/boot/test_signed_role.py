"""The role of an EFI program is read from its content, and from its name only if that fails.

Without these tests, a shim can be installed in the place of a GRUB, and Secure Boot stops.
"""

from pathlib import Path

import pytest

from assembler.boot.signed.role import ProgramRole, role_of
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
        ("shimx64.efi.signed", ProgramRole.SHIM),
        ("SHIM.EFI", ProgramRole.SHIM),
        ("grubx64.efi", ProgramRole.GRUB),
        ("gcdx64.efi.signed", ProgramRole.GRUB),
        ("mmx64.efi", ProgramRole.MOK_MANAGER),
        ("MokManager.efi", ProgramRole.MOK_MANAGER),
        ("fbx64.efi", ProgramRole.FALLBACK),
        ("fallback.efi", ProgramRole.FALLBACK),
        ("BOOTX64.EFI", ProgramRole.OTHER),
        ("linux.efi", ProgramRole.OTHER),
    ],
)
def test_a_name_tells_the_part(name: str, role: ProgramRole) -> None:
    assert ProgramRole.of(name) is role


@pytest.mark.parametrize(
    ("program", "role"),
    [
        (SHIM, ProgramRole.SHIM),
        (MOK_MANAGER, ProgramRole.MOK_MANAGER),
        (FALLBACK, ProgramRole.FALLBACK),
        (SIGNED_GRUB, ProgramRole.GRUB),
        (GRUB, ProgramRole.GRUB),
        (GRUB_IA32, ProgramRole.GRUB),
        (SYSTEMD_BOOT, ProgramRole.SYSTEMD_BOOT),
    ],
)
def test_the_content_tells_more_than_the_name(program: Path, role: ProgramRole) -> None:
    for name in ("any.efi", "shimx64.efi", "grubx64.efi", "mmx64.efi", "fbx64.efi"):
        assert role_of(name, program.read_bytes()) is role


def test_where_the_content_does_not_tell_the_name_does(tmp_path: Path) -> None:
    data = other_program(tmp_path / "other.efi").read_bytes()
    assert role_of("other.efi", data) is ProgramRole.OTHER
    assert role_of("shim.efi", data) is ProgramRole.SHIM


def test_a_grub_whose_modules_are_damaged_is_still_one() -> None:
    data = GRUB.read_bytes().replace(b"mimg", b"MIMG")
    assert role_of("any.efi", data) is ProgramRole.GRUB
