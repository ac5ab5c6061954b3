"""Places where no file can be beside an image are refused before the image is made.

Without these tests, a run of many minutes can lose its image in the end, for want of a block map.
"""

import os
from pathlib import Path

import pytest

from assembler.plan.beside import beside_problems
from assembler.spec import RootSpec, Spec
from tests.support.places import AsRoot


def problems(out: Path, **options: bool | str) -> list[str]:
    root = RootSpec(system="/nix/store/x", store=Path("/"), closures=())
    return [str(line) for line in beside_problems(Spec(root=root, out=out, **options))]  # type: ignore[arg-type]


@pytest.mark.parametrize("length", [250, 251, 255])
def test_a_name_too_long_for_a_block_map(tmp_path: Path, length: int) -> None:
    out = tmp_path / ("x" * length)
    assert problems(out, checksum=True) == []
    why = ": its name is longer than 255 bytes: take a shorter one"
    lines = [f"bmap: {out}.bmap{why}"] if length > 250 else []
    assert problems(out, bmap=True, checksum=True) == lines


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("directory", " is a directory"),
        ("fifo", " is not a regular file: remove it, or take another name"),
        ("locked", ": Permission denied: the lines of other files would be lost"),
        ("file", ""),
        ("link", ""),
    ],
)
def test_what_is_in_the_place_of_the_check_sums(tmp_path: Path, kind: str, fault: str) -> None:
    sums, out = tmp_path / "SHA256SUMS", tmp_path / "disk.raw"
    match kind:
        case "directory":
            sums.mkdir()
        case "fifo":
            os.mkfifo(sums)
        case "link":
            sums.symlink_to("elsewhere")
        case _:
            sums.touch(mode=0 if kind == "locked" else 0o644)
    assert problems(out, checksum=True) == ([f"checksum: {sums}{fault}"] if fault else [])
    assert problems(out, bmap=True) == []


def test_an_image_in_the_place_of_a_file_beside_it(tmp_path: Path) -> None:
    sums, info = tmp_path / "SHA256SUMS", tmp_path / "image-info.json"
    assert problems(sums) == []
    why = "which is out: take another name"
    assert problems(sums, checksum=True) == [f"checksum makes {sums}, {why}"]
    amazon = {"target": "amazon", "format": "raw"}
    assert problems(info, **amazon) == [f"target amazon makes {info}, {why}"]


def test_files_that_a_sticky_directory_protects(tmp_path: Path, as_root: AsRoot) -> None:
    """An old block map is refused in any case: it could be taken for that of the new image."""
    shared = tmp_path / "shared"
    as_root("install", "-d", "-m", "1777", shared)
    names = ["disk.raw.bmap", "SHA256SUMS"]
    try:
        as_root("install", "-m", "644", "/dev/null", *(shared / "disk.raw.bmap",))
        as_root("install", "-m", "644", "/dev/null", *(shared / "SHA256SUMS",))
        one, two = problems(shared / "disk.raw", bmap=True, checksum=True)
        assert [one.partition(" belongs")[0], two.partition(" belongs")[0]] == [
            f"bmap: {shared / names[0]}",
            f"checksum: {shared / names[1]}",
        ]
        [line] = problems(shared / "disk.raw")
        assert line == (
            f"out {shared}/disk.raw: {shared}/disk.raw.bmap would describe the new image wrongly, "
            "and is another user's: take another name"
        )
    finally:
        as_root("rm", "-r", shared)
