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
        ("nixos.qcow2.img.gz", "raw.gz"),
        ("nixos.tar.gz", "gce"),
        ("nixos.raw.tgz", "gce"),
        ("nixos-26.05.x86_64", "raw"),
        ("nixos-26.05.xz", "raw.xz"),
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
        ("vdi", "x.bz2", ": the format is VDI, not bz2: name the file .vdi"),
        ("raw", "x.iso", ": the format is raw, not iso: name the file .raw or .img"),
        (
            "vma",
            "x.vma.zst",
            ": the format is Proxmox's VMA, not vma.zst: name the file .vma",
        ),
        (
            "raw.zst",
            "x.vma.zst",
            ": the format is raw, compressed with zstd, not vma.zst: name the file .zst or .zstd",
        ),
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


@pytest.mark.parametrize(
    ("name", "ending", "format"),
    [
        ("a.qcow2.tmp", "qcow2", "qcow2"),
        ("a.VHD.bak", "vhd", "vhd"),
        ("a.vmdk~", "vmdk", "vmdk"),
        ("a.tar.gz (1)", "tar.gz", "gce"),
        ("a.raw.zst-old", "zst", "raw.zst"),
    ],
)
def test_a_name_with_an_ending_elsewhere(
    tmp_path: Path, name: str, ending: str, format: str
) -> None:
    """Nobody takes that for a raw image; an option decides."""
    assert format_problems(None, tmp_path / name) == [
        f"out {tmp_path / name}: .{ending} is in the name, but not at its end: name the file "
        f".{ending}, or take format {format} or format raw"
    ]
    assert format_problems("raw", tmp_path / name) == []
    assert format_problems(format, tmp_path / name) == []


@pytest.mark.parametrize("name", ["a.img.bak", "a.raw.1", "a.qcow2x", "aqcow2.b", "a.qcow2.img.1"])
def test_a_name_that_may_be_a_raw_image(tmp_path: Path, name: str) -> None:
    assert format_problems(None, tmp_path / name) == []


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("x.vma.zst", "vma.zst"),
        ("x.tar.zst", "tar.zst"),
        ("x.tar.xz", "tar.xz"),
        ("x.qcow2.gz", "qcow2.gz"),
        ("x.ova.gz", "ova.gz"),
        ("x.vmdk.xz", "vmdk.xz"),
        ("x.VHD.XZ", "vhd.xz"),
        ("x.qcow2.tar.gz", "qcow2.tar.gz"),
        ("x.img.gz.xz", "gz.xz"),
        ("x.iso.zst", "iso.zst"),
        ("x.tbz2", "tbz2"),
        ("x.img.bz2", "bz2"),
        ("x.iso", "iso"),
        ("x.tar", "tar"),
    ],
)
def test_names_of_what_is_not_made_here(tmp_path: Path, name: str, ending: str) -> None:
    """No raw image gets a name that nobody would take for one; all endings are offered."""
    [line] = format_problems(None, tmp_path / name)
    assert line == (
        f"out {tmp_path / name}: {ending} is no output format: name the file .raw, .img, .qcow2, "
        ".vhd, .vpc, .vhdx, .vmdk, .vdi, .tar.gz, .tgz, .zst, .zstd, .gz, .xz, .ova or .vma"
    )
