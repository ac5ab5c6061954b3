"""EFI programs of the host: their machine and signature, as the tools that sign them see it.

Without these tests, an unsigned program can pass as a signed one, and Secure Boot refuses the disk.
"""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembler.binaries.efi_program import EfiProgram, read_program
from assembler.binaries.pe import PeError
from assembler.machines import Machine
from tests.support.efi_programs import (
    FALLBACK,
    GRUB,
    GRUB_IA32,
    MOK_MANAGER,
    SHIM,
    SIGNED_GRUB,
    SYSTEMD_BOOT,
    Signer,
    signatures,
    without_signatures,
)
from tests.support.helpers import directory

PROGRAMS = [
    SHIM,
    MOK_MANAGER,
    FALLBACK,
    SIGNED_GRUB,
    GRUB,
    GRUB_IA32,
    SYSTEMD_BOOT,
    Path("/usr/lib/shim/shimx64.efi"),
    Path("/usr/lib/shim/mmx64.efi"),
]


@pytest.mark.parametrize("path", PROGRAMS, ids=[path.name for path in PROGRAMS])
def test_sbverify_sees_the_same_programs_signed(path: Path) -> None:
    program = read_program(path)
    assert program.machine is (Machine.IA32 if path == GRUB_IA32 else Machine.X64)
    assert program.is_signed == signatures(path).startswith("signature 1\n")


@pytest.mark.parametrize("path", [GRUB, GRUB_IA32, SYSTEMD_BOOT], ids=["x64", "ia32", "systemd"])
def test_a_signature_more_is_seen(tmp_path: Path, path: Path) -> None:
    signed = Signer(tmp_path).sign(path, tmp_path / "signed.efi")
    assert "CN=assemble tests" in signatures(signed)
    machine = read_program(path).machine
    assert read_program(signed) == EfiProgram(signed, machine, is_signed=True)
    bare = without_signatures(signed, tmp_path / "bare.efi")
    assert read_program(bare) == EfiProgram(bare, machine, is_signed=False)


def test_a_program_that_lost_its_two_signatures_is_not_signed(tmp_path: Path) -> None:
    assert signatures(SHIM).count("signature issuers:") == 2
    bare = without_signatures(SHIM, tmp_path / "shim")
    assert read_program(bare) == EfiProgram(bare, Machine.X64, is_signed=False)


def header_of(program: bytes) -> int:
    """Where the PE header starts."""
    return int.from_bytes(program[0x3C:0x40], "little")


def patched(program: bytes, offset: int, value: bytes) -> bytes:
    """A program with other bytes somewhere behind the start of its PE header."""
    at = header_of(program) + offset
    return program[:at] + value + program[at + len(value) :]


# The optional header starts at 24; a program of 64 bits has its directories at 112 in there.
CERTIFICATES = 24 + 112 + 4 * 8


@pytest.mark.parametrize(
    ("offset", "value", "words"),
    [
        (0, b"NE\0\0", "it is not an EFI program (no PE header)"),
        (4, b"\x64\x50", "it is an EFI program for an unknown machine (0x5064)"),
        (4, b"\x4c\x01", "it is not an EFI program (no PE32 header)"),
        (24, b"\x0b\x01", "it is not an EFI program (no PE32+ header)"),
        (24, b"\x07\x01", "it is not an EFI program (no PE32+ header)"),
        (24 + 68, b"\x02\0", "it is not an EFI application, which is all that firmware starts"),
        (24 + 68, b"\x0b\0", "it is not an EFI application, which is all that firmware starts"),
        (
            CERTIFICATES,
            struct.pack("<II", 1 << 31, 8),
            "its signatures are cut short: they end at 2147483656 of {size} bytes",
        ),
        (
            CERTIFICATES,
            struct.pack("<II", 0, 8),
            "its signatures are cut short: they end at 8 of {size} bytes",
        ),
        (CERTIFICATES, struct.pack("<II", 64, 9), "its signatures are damaged"),
        (CERTIFICATES, struct.pack("<II", 64, 8), "its signatures are damaged"),
    ],
)
def test_a_damaged_header_is_told(tmp_path: Path, offset: int, value: bytes, words: str) -> None:
    program = SHIM.read_bytes()
    file = tmp_path / "shim.efi"
    file.write_bytes(patched(program, offset, value))
    with pytest.raises(PeError) as caught:
        read_program(file)
    assert str(caught.value) == words.format(size=len(program))


def test_few_directories_mean_no_signature(tmp_path: Path) -> None:
    file = tmp_path / "shim.efi"
    file.write_bytes(patched(SHIM.read_bytes(), 24 + 108, struct.pack("<I", 4)))
    assert not read_program(file).is_signed


@pytest.mark.parametrize("offset", [0, 4, 6, 8])
def test_a_damaged_signature_is_told(tmp_path: Path, offset: int) -> None:
    program = SHIM.read_bytes()
    at = header_of(program) + CERTIFICATES
    table = int.from_bytes(program[at : at + 4], "little") + offset
    file = tmp_path / "shim.efi"
    file.write_bytes(
        program[:table] + b"\xff\xff\xff\x7f"[: 4 if offset == 0 else 1] + program[table + 4 :]
    )
    with pytest.raises(PeError, match=r"^its signatures are "):
        read_program(file)


@given(st.integers(0, SHIM.stat().st_size - 1))
def test_a_cut_program_is_told(size: int) -> None:
    with directory() as scratch:
        file = scratch / "shim.efi"
        file.write_bytes(SHIM.read_bytes()[:size])
        with pytest.raises(PeError, match=r"^(it|its) "):
            read_program(file)


@given(st.binary(max_size=600), st.booleans())
def test_any_other_file_is_told(data: bytes, start: bool) -> None:
    with directory() as scratch:
        file = scratch / "file"
        file.write_bytes((b"MZ" if start else b"") + data)
        with pytest.raises(PeError):
            read_program(file)


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_flipped_byte_ends_in_an_answer(offset: int, value: int) -> None:
    with directory() as scratch:
        file = scratch / "shim.efi"
        file.write_bytes(patched(SHIM.read_bytes(), offset, bytes([value])))
        try:
            assert read_program(file).machine in Machine
        except PeError as error:
            assert str(error).startswith("it")


def test_a_file_that_is_absent_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_program(tmp_path / "absent")
