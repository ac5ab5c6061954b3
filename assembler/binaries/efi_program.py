"""EFI programs of this host: the machine that each is for, and whether it is signed.

The format of signatures: Microsoft's PE specification, "The Attribute Certificate Table".
"""

import struct
from dataclasses import dataclass
from pathlib import Path

from assembler.binaries.pe import PeError, read_pe
from assembler.host.regular import read_file
from assembler.machines import Machine

_HEADERS = 64 << 10  # bytes; programs have them in the first 4 KiB
_CERTIFICATE = struct.Struct("<IHH")  # WIN_CERTIFICATE: length with this header, revision, type
_REVISION = 0x0200
_PKCS_SIGNED_DATA = 0x0002
_MAX_CERTIFICATES = 1 << 20  # bytes; real ones have some 10 KiB


@dataclass(frozen=True, slots=True)
class EfiProgram:
    """An EFI program on this host."""

    path: Path
    machine: Machine
    is_signed: bool  # whether it carries a signature; the firmware decides whose it accepts


def read_program(path: Path) -> EfiProgram:
    """Read the headers of an EFI program; raises as `parse_program`, and OSError."""
    return parse_program(path, read_file(path))


def parse_program(path: Path, data: bytes) -> EfiProgram:
    """Read the headers in the content of an EFI program.

    Raises PeError when it is another kind of file, is damaged, or is for an unknown machine.
    """
    pe = read_pe(data[:_HEADERS], len(data))
    place = pe.certificates
    return EfiProgram(path, pe.machine, place is not None and _is_sound(data, *place))


def _is_sound(data: bytes, offset: int, size: int) -> bool:
    """True when the table begins with a signature; raises PeError when it does not."""
    end = offset + size
    if not offset or end > len(data) or size > _MAX_CERTIFICATES:
        raise PeError(f"its signatures are cut short: they end at {end} of {len(data)} bytes")
    table = data[offset:end]
    if len(table) > _CERTIFICATE.size:
        length, revision, kind = _CERTIFICATE.unpack_from(table)
        # A PKCS #7 structure follows, which is a DER sequence.
        der = table[_CERTIFICATE.size] == 0x30
        if length <= size and (revision, kind, der) == (_REVISION, _PKCS_SIGNED_DATA, True):
            return True
    raise PeError("its signatures are damaged")
