"""Read the headers of an EFI program: Microsoft's PE format (its specification, 2 to 4)."""

import struct
from dataclasses import dataclass

from assembler.binaries.machine import Machine

_DOS_MAGIC = b"MZ"
_PE_OFFSET_AT = 0x3C
_PE_MAGIC = b"PE\0\0"
_COFF = struct.Struct("<HHIIIHH")  # machine, sections, time, symbols, symbols, optional, flags
# Name, size and address in memory, size and offset in the file, flags.
_SECTION = struct.Struct("<8sIIII12xI")
_ENTRY_AT = 16  # in the optional header
_EXECUTABLE = 0x20000000  # IMAGE_SCN_MEM_EXECUTE
_MAX_SECTIONS = 96  # what Windows loads; no EFI program comes near

MACHINES = {machine.names.pe: machine.names.words for machine in Machine}


class PeError(ValueError):
    """It is no EFI program, or a damaged one: in a few words, without its name."""


@dataclass(frozen=True, slots=True)
class Section:
    """A section's place in the file and in memory, in bytes."""

    name: str
    offset: int
    size: int
    address: int
    memory: int  # its size there
    executable: bool

    @property
    def end(self) -> int:
        """The first byte after the section."""
        return self.offset + self.size


@dataclass(frozen=True, slots=True)
class Pe:
    """The machine that a program is for, by a name of `MACHINES`, and its sections.

    `entry` is the address in memory where it begins to run.
    """

    machine: str
    sections: tuple[Section, ...]
    entry: int

    def section(self, name: str) -> Section | None:
        """The first section of a name."""
        return next((section for section in self.sections if section.name == name), None)


def read_pe(data: bytes, size: int | None = None) -> Pe:
    """Read the headers in `data`, which begins the program; the whole has `size` bytes.

    Raises PeError when it is not a PE program, or when a section reaches beyond its end.
    """
    size = len(data) if size is None else size
    if data[:2] != _DOS_MAGIC or len(data) < _PE_OFFSET_AT + 4:
        raise PeError("it is not an EFI program (no MZ header)")
    start = int.from_bytes(data[_PE_OFFSET_AT : _PE_OFFSET_AT + 4], "little")
    if data[start : start + 4] != _PE_MAGIC or len(data) < start + 4 + _COFF.size:
        raise PeError("it is not an EFI program (no PE header)")
    number, count, *_, optional, _flags = _COFF.unpack_from(data, start + 4)
    table = start + 4 + _COFF.size + optional
    if number not in MACHINES:
        raise PeError(f"it is an EFI program for an unknown machine ({number:#06x})")
    if count > _MAX_SECTIONS or len(data) < table + count * _SECTION.size:
        raise PeError("its table of sections is cut short")
    sections = []
    for index in range(count):
        name, memory, address, raw, offset, flags = _SECTION.unpack_from(
            data, table + index * _SECTION.size
        )
        text = name.rstrip(b"\0").decode("ascii", errors="replace")
        if raw and offset + raw > size:
            raise PeError(f"it is cut short: {size} bytes, but section {text} needs {offset + raw}")
        executable = bool(flags & _EXECUTABLE)
        sections.append(Section(text, offset, raw, address, memory, executable))
    entry = data[start + 4 + _COFF.size + _ENTRY_AT :][:4]
    return Pe(MACHINES[number], tuple(sections), int.from_bytes(entry, "little"))
