"""Configurations that GRUB's own parser refuses are faults.

Without these tests, an image whose menu has a syntax error can pass the check, and GRUB shows only
a prompt.
"""

import pytest

from assembler.check.grub_reader import GrubReader
from assembler.check.grub_syntax import syntax_fault
from assembler.check.menu import Location
from assembler.disk.tables import Table
from tests.support.boot_images import build, menu

GOOD = {
    "menu": menu(),
    "empty": "",
    "comment": "# nothing\n",
    "words": "set a='b'\\''c' # ü\nif [ -n \"${a}\" -a true ]; then\n  echo $a\nfi\n",
}
BAD = {
    "open": ("menuentry x {\n  linux /a\n", None),
    "if": ("set a=b\nif true; then\n  echo\n", None),
    "close": ("set a=b\n}\n", 2),
    "submenu": ("submenu 'all' { }\nmenuentry x {\n linux /k\n}\n", 1),
    "quote": ("set a='b\n\nmenuentry x {\n}\n", None),
    "brackets": ("[" * 15_000, None),
    "braces": ("menuentry x {" * 100_000, None),
    "word": ("x" * 2_000_000, None),
}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> GrubReader:
    directory = tmp_path_factory.mktemp("disk")
    files = {f"/{name}": text.encode() for name, text in GOOD.items()}
    files |= {f"/{name}": text.encode() for name, (text, _) in BAD.items()}
    build(directory / "disk", Table.EFI, files)
    return GrubReader(directory / "disk", directory)


@pytest.mark.parametrize("name", GOOD)
def test_good_ones(reader: GrubReader, name: str) -> None:
    assert syntax_fault(reader, Location(2, f"/{name}")) == ""


@pytest.mark.parametrize("name", BAD)
def test_bad_ones(reader: GrubReader, name: str) -> None:
    fault, line = syntax_fault(reader, Location(2, f"/{name}")), BAD[name][1]
    assert fault
    assert line is None or fault == f"syntax error in line {line}"
