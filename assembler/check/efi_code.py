"""Check that an EFI program is whole: its sections, its entry point, its signatures.

What a signature covers: Microsoft's "Windows Authenticode Portable Executable Signature Format",
"Calculating the PE Image Hash".
"""

import hashlib
import re
from dataclasses import dataclass

from assembler.binaries.pe import Pe, PeError, Section, read_pe
from assembler.units import SECTOR

_HASHES = ("sha256", "sha384", "sha512", "sha1")
_ZEROS = re.compile(rb"\0{%d,}" % SECTOR)


@dataclass(frozen=True, slots=True)
class Program:
    """An EFI program that is whole."""

    data: bytes
    pe: Pe
    signed: bool  # with a signature; the firmware decides whose it accepts


def check_program(program: bytes, *, loader: bool) -> Program:
    """Read a whole EFI program and check it; raises PeError.

    Firmware must be able to load it and to begin in its code. If it is signed, the signature must
    be for this program. In the code of a `loader` no sector may have nothing but zeros.
    """
    pe = read_pe(program)
    for section in pe.sections:
        if section.address + section.memory > pe.memory:
            raise PeError(f"its section {section.name} ends beyond its {pe.memory} bytes of memory")
    code = [section for section in pe.sections if section.executable]
    if not any(one.address <= pe.entry < one.address + one.size for one in code):
        raise PeError(f"its entry point, {pe.entry:#x}, is in no code")
    table = pe.certificates
    if table is not None:
        _check_signed(program, pe, *table)
    for section in code if loader else ():
        _check_no_hole(program, section)
    return Program(program, pe, table is not None)


def _check_signed(program: bytes, pe: Pe, offset: int, size: int) -> None:
    """Check that one of the signatures, which are at an offset, is for this very program."""
    if not offset or offset + size > len(program):
        raise PeError("its signatures are cut short")
    checksum, entry = pe.checksum_at, pe.certificates_at
    covered = (
        program[:checksum],
        program[checksum + 4 : entry],
        program[entry + 8 : offset],
        program[offset + size :],
    )
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
