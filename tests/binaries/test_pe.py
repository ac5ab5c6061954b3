"""The headers of EFI programs, as binutils reads them.

Without these tests, a damaged EFI program can end check-image in a traceback, or pass its check.
"""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembler.binaries.pe import Pe, PeError, read_pe
from assembler.machines import Machine
from tests.support.helpers import output

PROGRAMS = [
    "/usr/lib/shim/shimx64.efi.signed",
    "/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
    "/usr/lib/grub/i386-efi/monolithic/grubia32.efi",
    "/usr/lib/systemd/boot/efi/systemd-bootx64.efi",
]
FORMATS = {"pei-x86-64": Machine.X64, "pei-i386": Machine.IA32}
SECTION = re.compile(r" *\d+ (\S+) +\S+ +\S+ +\S+ +([0-9a-f]+)  2\*\*")


@pytest.mark.parametrize("path", PROGRAMS)
def test_programs(path: str) -> None:
    printed = output("objdump", "-h", path).decode()
    found = read_pe(Path(path).read_bytes())
    assert found.machine is FORMATS[re.findall(r"file format (\S+)", printed)[0]]
    # A name of more than eight bytes is in a table of strings, which no EFI program needs.
    assert [(one.name, one.offset) for one in found.sections if one.name[0] != "/"] == [
        (name, int(offset, 16)) for name, offset in SECTION.findall(printed) if len(name) <= 8
    ]


def test_sections() -> None:
    found = read_pe(Path(PROGRAMS[3]).read_bytes())
    magic = found.section(".sdmagic")
    assert magic is not None
    data = Path(PROGRAMS[3]).read_bytes()[magic.offset : magic.end]
    assert data.startswith(b"#### LoaderInfo: systemd-boot ")
    assert found.section(".absent") is None


def test_a_kernel_by_its_beginning(demo_system: str) -> None:
    kernel = Path(demo_system) / "kernel"
    size = kernel.stat().st_size
    with kernel.open("rb") as file:
        header = file.read(4096)
    assert read_pe(header, size).machine is Machine.X64
    with pytest.raises(PeError, match=r"^it is cut short: 4096 bytes, but section "):
        read_pe(header)


@given(data=st.data())
def test_any_damage_gives_an_error_or_headers(data: st.DataObject) -> None:
    program = bytearray(Path(PROGRAMS[3]).read_bytes()[:2048])
    for _ in range(data.draw(st.integers(0, 4))):
        program[data.draw(st.integers(0, 0x300))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, 2048))
    try:
        assert isinstance(read_pe(bytes(program[:cut]), 1 << 20), Pe)
    except PeError as error:
        assert "\n" not in str(error)
