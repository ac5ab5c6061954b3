"""EFI programs: the machine that each is for, and whether it is signed.

The format is Microsoft's PE (its specification, 3 and 4).
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from assembler.binaries.machine import BOOTED, Machine
from assembler.binaries.pe import PeError, read_pe
from assembler.host.regular import open_file

_HEADERS = 64 << 10  # bytes; programs have them in the first 4 KiB
_PE_OFFSET_AT = 0x3C
_OPTIONAL_HEADER = 24  # behind the start of the PE header
_MAGICS = {0x10B: "PE32", 0x20B: "PE32+"}
_SUBSYSTEM_AT = 68  # in the optional header
_EFI_APPLICATION = 10
_DIRECTORIES_AT = {"PE32": 92, "PE32+": 108}  # their number, and behind it the directories
_CERTIFICATE_TABLE = 4
_DIRECTORY = struct.Struct("<II")  # offset in the file, size
_CERTIFICATE = struct.Struct("<IHH")  # WIN_CERTIFICATE: length with this header, revision, type
_REVISION = 0x0200
_PKCS_SIGNED_DATA = 0x0002
_MAX_CERTIFICATES = 1 << 20  # bytes; real ones have some 10 KiB


_MACHINES = {machine.names.words: machine for machine in BOOTED}


@dataclass(frozen=True, slots=True)
class EfiProgram:
    """An EFI program on this host."""

    path: Path
    machine: Machine
    is_signed: bool  # whether it carries a signature; by whom is for the firmware to judge


def read_program(path: Path) -> EfiProgram:
    """Read the headers of an EFI program.

    Raises PeError when it is another kind of file, is damaged, or is for another machine, and
    OSError.
    """
    with open_file(path) as file:
        head = file.read(_HEADERS)
        size = file.seek(0, 2)
        found = read_pe(head, size).machine
        if found not in _MACHINES:
            raise PeError(f"it is for a machine that we do not know ({found})")
        machine = _MACHINES[found]
        start = int.from_bytes(head[_PE_OFFSET_AT : _PE_OFFSET_AT + 4], "little")
        place = certificate_table(head[start + _OPTIONAL_HEADER :], found)
        return EfiProgram(path, machine, place is not None and _is_sound(file, size, *place))


def certificate_table(header: bytes, machine: str) -> tuple[int, int] | None:
    """Where a program's signatures are, by its optional header: offset and size, or None.

    `machine` is as `Pe` has it. Raises PeError for what is no EFI application.
    """
    kind = _MAGICS.get(int.from_bytes(header[:2], "little"))
    expected = "PE32" if machine == Machine.IA32.names.words else "PE32+"
    if kind != expected:
        raise PeError(f"it is not an EFI program (no {expected} header)")
    if int.from_bytes(header[_SUBSYSTEM_AT : _SUBSYSTEM_AT + 2], "little") != _EFI_APPLICATION:
        raise PeError("it is not an EFI application, which is all that firmware starts")
    at = _DIRECTORIES_AT[kind]
    if int.from_bytes(header[at : at + 4], "little") <= _CERTIFICATE_TABLE:
        return None
    at += 4 + _CERTIFICATE_TABLE * _DIRECTORY.size
    if len(header) < at + _DIRECTORY.size:
        raise PeError("its header is cut short")
    offset, size = _DIRECTORY.unpack_from(header, at)
    return (offset, size) if size else None


def _is_sound(file: BinaryIO, total: int, offset: int, size: int) -> bool:
    """True when the table begins with a signature; raises PeError when it does not."""
    if not offset or offset + size > total or size > _MAX_CERTIFICATES:
        raise PeError(f"its signatures are cut short: they end at {offset + size} of {total} bytes")
    file.seek(offset)
    table = file.read(size)
    if len(table) > _CERTIFICATE.size:
        length, revision, kind = _CERTIFICATE.unpack_from(table)
        # Then comes a PKCS #7 structure, which is a DER sequence.
        der = table[_CERTIFICATE.size] == 0x30
        if length <= size and (revision, kind, der) == (_REVISION, _PKCS_SIGNED_DATA, True):
            return True
    raise PeError("its signatures are damaged")
