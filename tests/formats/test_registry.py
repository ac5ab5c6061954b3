"""The name of a file chooses the output format, and a contradiction is refused.

Without these tests, a file could have another format than its name promises.
"""

from pathlib import Path

import pytest

from assembler.formats.registry import FORMATS, format_problems, output_format


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("disk.raw", "raw"),
        ("disk.img", "raw"),
        ("disk", "raw"),
        ("gz", "raw"),
        ("disk.qcow2.raw", "raw"),
        ("a.b-c", "raw"),
        ("disk.qcow2", "qcow2"),
        ("disk.VMDK", "vmdk"),
        (".vhd", "vhd"),
        ("nixos.raw.gz", "raw.gz"),
        ("nixos.img.xz", "raw.xz"),
        ("nixos.zst", "raw.zst"),
    ],
)
def test_the_name_chooses(tmp_path: Path, name: str, format: str) -> None:
    assert output_format(None, tmp_path / name) is FORMATS[format]
    assert format_problems(None, tmp_path / name) == []


@pytest.mark.parametrize(
    ("name", "format"),
    [("disk", "qcow2"), ("a.qcow2", "qcow2-compressed"), ("a.vmdk", "vmdk-stream"), ("a.b", "vdi")],
)
def test_an_option_chooses_among_what_the_name_allows(name: str, format: str) -> None:
    assert output_format(format, Path(name)) is FORMATS[format]
    assert format_problems(format, Path(name)) == []


@pytest.mark.parametrize(
    ("format", "name", "printed"),
    [
        ("raw", "a.qcow2", ": the format is raw: name the file .raw or .img, or take format qcow2"),
        ("qcow2", "a.raw", ": the format is QCOW2: name the file .qcow2, or take format raw"),
        (None, "nixos.iso", ": the format is raw, not iso: name the file .raw or .img"),
        ("vdi", "x.bz2", ": the format is VDI, not bz2: name the file .vdi"),
    ],
)
def test_a_name_that_promises_another_format(
    tmp_path: Path, format: str | None, name: str, printed: str
) -> None:
    """Also the name of what a link leads to."""
    assert format_problems(format, tmp_path / name) == [f"out {tmp_path / name}{printed}"]
    (tmp_path / "link").symlink_to(name)
    link = tmp_path / "link"
    assert format_problems(format, link) == [f"out {link}{printed}"]


def test_a_format_that_there_is_not() -> None:
    [line] = format_problems("qed", Path("disk"))
    assert line.startswith("format qed is none of raw, qcow2, ")
