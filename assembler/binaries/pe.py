"""Read the headers of an EFI program: Microsoft's PE format (its specification, 2 to 4)."""

import struct
from dataclasses import dataclass

from assembler.machines import Machine, machine_of_pe

_DOS_MAGIC = b"MZ"
_PE_OFFSET_AT = 0x3C
_PE_MAGIC = b"PE\0\0"
_COFF = struct.Struct("<HHIIIHH")  # machine, sections, time, symbols, symbols, optional, flags
# Name, size and address in memory, size and offset in the file, flags.
_SECTION = struct.Struct("<8sIIII12xI")
_EXECUTABLE = 0x20000000  # IMAGE_SCN_MEM_EXECUTE
_MAX_SECTIONS = 96  # what Windows loads; no EFI program comes near

# In the optional header, in bytes from its start.
_ENTRY_AT = 16
_IMAGE_SIZE_AT = 56
_CHECKSUM_AT = 64
_SUBSYSTEM_AT = 68
_EFI_APPLICATION = 10
_PE32, _PE32_PLUS = 0x10B, 0x20B  # how it begins
_DIRECTORIES_AT = {_PE32: 92, _PE32_PLUS: 108}  # their number, and behind it the directories
_DIRECTORY = struct.Struct("<II")  # offset in the file, size
_CERTIFICATES = 4  # the index of the directory that has the signatures
_LONGEST_OPTIONAL = 160  # bytes, up to behind that directory


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
    """The headers of a program; all places are bytes from the start of the file."""

    machine: Machine
    sections: tuple[Section, ...]
    optional_at: int  # where the optional header is
    optional: bytes  # its start, shorter where the file is cut

    def section(self, name: str) -> Section | None:
        """The first section of a name."""
        return next((section for section in self.sections if section.name == name), None)

    @property
    def entry(self) -> int:
        """The address in memory where the program begins to run."""
        return self._number(_ENTRY_AT, 4)

    @property
    def memory(self) -> int:
        """The bytes that the program takes in memory."""
        return self._number(_IMAGE_SIZE_AT, 4)

    @property
    def checksum_at(self) -> int:
        """Where the checksum is, of 4 bytes."""
        return self.optional_at + _CHECKSUM_AT

    @property
    def certificates_at(self) -> int:
        """Where the entry for the signatures is, of 8 bytes, if there is one."""
        directories = _DIRECTORIES_AT.get(self._number(0, 2), _DIRECTORIES_AT[_PE32_PLUS])
        return self.optional_at + directories + 4 + _CERTIFICATES * _DIRECTORY.size

    @property
    def certificates(self) -> tuple[int, int] | None:
        """The place and the size of the signatures, None without any.

        Raises PeError for a program that is no EFI application.
        """
        kind, name = (_PE32, "PE32") if self.machine.facts.is_narrow else (_PE32_PLUS, "PE32+")
        if self._number(0, 2) != kind:
            raise PeError(f"it is not an EFI program (no {name} header)")
        if self._number(_SUBSYSTEM_AT, 2) != _EFI_APPLICATION:
            raise PeError("it is not an EFI application, which is all that firmware starts")
        if self._number(_DIRECTORIES_AT[kind], 4) <= _CERTIFICATES:
            return None
        at = self.certificates_at - self.optional_at
        if len(self.optional) < at + _DIRECTORY.size:
            raise PeError("its header is cut short")
        offset, size = _DIRECTORY.unpack_from(self.optional, at)
        return (offset, size) if size else None

    def _number(self, at: int, size: int) -> int:
        return int.from_bytes(self.optional[at : at + size], "little")


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
    optional_at = start + 4 + _COFF.size
    table = optional_at + optional
    machine = machine_of_pe(number)
    if machine is None:
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
    header = data[optional_at : optional_at + _LONGEST_OPTIONAL]
    return Pe(machine, tuple(sections), optional_at, header)
