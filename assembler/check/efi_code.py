"""Whether an EFI program is whole, as far as the program itself tells.

The format: Microsoft's PE specification; what a signature covers: its "Windows Authenticode
Portable Executable Signature Format", "Calculating the PE Image Hash".
"""

import hashlib
import re
from dataclasses import dataclass

from assembler.binaries.efi_program import certificate_table
from assembler.binaries.pe import Pe, PeError, Section, read_pe
from assembler.units import SECTOR

_PE_OFFSET_AT = 0x3C
_OPTIONAL_HEADER = 24  # behind the start of the PE header
_CHECKSUM_AT = 64  # in the optional header, as the others
_IMAGE_SIZE_AT = 56
_DIRECTORIES_AT = {b"\x0b\x01": 96, b"\x0b\x02": 112}  # PE32, PE32+: behind their number
_CERTIFICATES = 4 * 8  # the fifth of the directories
_HASHES = ("sha256", "sha384", "sha512", "sha1")
_ZEROS = re.compile(rb"\0{%d,}" % SECTOR)


@dataclass(frozen=True, slots=True)
class Program:
    """An EFI program that is whole."""

    data: bytes
    pe: Pe
    signed: bool  # and its signatures are for it; whose they are is for the firmware to judge


def check_program(program: bytes, *, loader: bool) -> Program:
    """Read a whole EFI program and check it; raises PeError.

    Firmware must be able to load it and begin in its code, and it must be the program that was
    signed if it is signed at all. In the code of a `loader` no sector may have gone blank.
    """
    pe = read_pe(program)
    header = int.from_bytes(program[_PE_OFFSET_AT : _PE_OFFSET_AT + 4], "little") + _OPTIONAL_HEADER
    size = int.from_bytes(program[header + _IMAGE_SIZE_AT :][:4], "little")
    for section in pe.sections:
        if section.address + section.memory > size:
            raise PeError(f"its section {section.name} ends beyond its {size} bytes of memory")
    code = [section for section in pe.sections if section.executable]
    if not any(one.address <= pe.entry < one.address + one.size for one in code):
        raise PeError(f"its entry point, {pe.entry:#x}, is in no code")
    table = certificate_table(program[header:], pe.machine)
    if table is not None:
        _check_signed(program, header, *table)
    for section in code if loader else ():
        _check_no_hole(program, section)
    return Program(program, pe, table is not None)


def _check_signed(program: bytes, header: int, offset: int, size: int) -> None:
    """Check that the signatures, which are at an offset, are for this very program."""
    if not offset or offset + size > len(program):
        raise PeError("its signatures are cut short")
    entry = header + _DIRECTORIES_AT[program[header : header + 2]] + _CERTIFICATES
    checksum = header + _CHECKSUM_AT
    covered = (
        program[:checksum], program[checksum + 4 : entry], program[entry + 8 : offset],
        program[offset + size :],
    )  # fmt: skip
    signatures = program[offset : offset + size]
    for name in _HASHES:
        digest = hashlib.new(name, usedforsecurity=False)
        for part in covered:
            digest.update(part)
        if digest.digest() in signatures:
            return
    raise PeError("it is not the program that its signature is for")


def _check_no_hole(program: bytes, section: Section) -> None:
    code = program[section.offset : section.end].rstrip(b"\0")
    # The first byte of a sector that has nothing but zeros.
    for match in _ZEROS.finditer(code):
        first = -(-(section.offset + match.start()) // SECTOR) * SECTOR
        if first + SECTOR <= section.offset + match.end():
            raise PeError(f"its code has nothing but zeros from byte {first:#x} on")
