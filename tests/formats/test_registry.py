"""The name of a file chooses the output format, and a format that is not made is refused."""

from pathlib import Path

import pytest

from assembler.formats.raw import RAW
from assembler.formats.registry import name_problems, output_format


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("disk.qcow2", "qcow2"),
        ("disk.VMDK", "vmdk"),
        ("disk.raw.gz", "gz"),
        (".vhd", "vhd"),
        ("nixos.iso", "iso"),
    ],
)
def test_a_name_that_promises_another_format(tmp_path: Path, name: str, format: str) -> None:
    printed = f": the format is raw, not {format}: name the file .raw or .img"
    assert name_problems(tmp_path / name) == [f"out {tmp_path / name}{printed}"]
    (tmp_path / "link").symlink_to(name)
    assert name_problems(tmp_path / "link") == [f"out {tmp_path / 'link'}{printed}"]


@pytest.mark.parametrize("name", ["disk.raw", "disk.img", "disk", "gz", "disk.qcow2.raw", "a.b-c"])
def test_a_name_that_promises_nothing_else(tmp_path: Path, name: str) -> None:
    assert name_problems(tmp_path / name) == []
    assert output_format(tmp_path / name) is RAW
