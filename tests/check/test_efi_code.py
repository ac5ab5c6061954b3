"""Damage to EFI programs is found, in signed ones and in others.

Without these tests, an EFI program with a changed byte can pass the check.
"""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from assembler.binaries.pe import PeError
from assembler.check.efi_code import check_program
from tests.support.efi_programs import (
    FALLBACK,
    GRUB,
    GRUB_IA32,
    MOK_MANAGER,
    SHIM,
    SIGNED_GRUB,
    SYSTEMD_BOOT,
    Signer,
    without_signatures,
)

SIGNED = [SHIM, MOK_MANAGER, FALLBACK, SIGNED_GRUB]
OTHERS = [GRUB, GRUB_IA32, SYSTEMD_BOOT]


@pytest.mark.parametrize("program", [*SIGNED, *OTHERS], ids=lambda path: path.name)
def test_programs_of_distributions(program: Path) -> None:
    found = check_program(program.read_bytes(), loader=True)
    assert found.signed == (program in SIGNED)


def test_a_kernel(demo_system: str) -> None:
    assert check_program((Path(demo_system) / "kernel").read_bytes(), loader=False).signed


@pytest.mark.parametrize("program", SIGNED, ids=lambda path: path.name)
def test_any_flipped_bit_of_a_signed_program_is_found(program: Path) -> None:
    data = bytearray(program.read_bytes())
    for at in range(0x40, len(data) - 20_000, len(data) // 20):
        data[at] ^= 4
        with pytest.raises(PeError):
            check_program(bytes(data), loader=True)
        data[at] ^= 4


def test_signatures_of_ones_own(tmp_path: Path) -> None:
    bare = without_signatures(SHIM, tmp_path / "bare")
    signed = Signer(tmp_path).sign(SYSTEMD_BOOT, tmp_path / "signed")
    assert not check_program(bare.read_bytes(), loader=True).signed
    assert check_program(signed.read_bytes(), loader=True).signed
    data = bytearray(signed.read_bytes())
    data[0x2000] ^= 1
    with pytest.raises(PeError, match="it is not the program that its signature is for"):
        check_program(bytes(data), loader=True)


def optional(field: int, form: str, value: int) -> Callable[[bytearray], None]:
    """Set a field of the optional header."""

    def change(data: bytearray) -> None:
        start = struct.unpack_from("<I", data, 0x3C)[0] + 24
        struct.pack_into(form, data, start + field, value)

    return change


def hole(data: bytearray) -> None:
    data[0x3000:0x3200] = bytes(512)


@pytest.mark.parametrize("program", OTHERS, ids=lambda path: path.name)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (optional(16, "<I", 0), "its entry point, 0x0, is in no code"),
        (optional(16, "<I", 0xFFFFFFFF), "its entry point, 0xffffffff, is in no code"),
        (optional(56, "<I", 0x2000), "ends beyond its 8192 bytes of memory"),
        (optional(0, "<H", 0x107), "it is not an EFI program"),
        (optional(68, "<H", 3), "it is not an EFI application"),
        (hole, "its code has nothing but zeros from byte 0x3000 on"),
    ],
)
def test_headers_and_code(program: Path, change: Callable[[bytearray], None], words: str) -> None:
    data = bytearray(program.read_bytes())
    change(data)
    with pytest.raises(PeError, match=words):
        check_program(bytes(data), loader=True)
