"""The files beside an image: a block map that leaves out nothing, check sums, Amazon's facts.

Without these tests, a stick written by the block map could have a damaged file system, since what
is left out keeps what the stick had before.
"""

import errno
import hashlib
import itertools
import json
import os
import subprocess
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembler import assemble, check_image
from assembler.disk.tables import Table
from assembler.errors import HostError
from assembler.filesystems.fat.fat import metadata_size
from assembler.formats.bmap import _joined
from assembler.plan.sidecars import used_bytes
from assembler.spec import RootSpec, Spec
from assembler.units import BLOCK, MIB
from tests.support.helpers import output
from tests.support.requests import refused
from tests.support.systems import System, make_system

SMALL: dict[str, Any] = {"additional_space": 64 * MIB, "boot_size": 40 * MIB}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(tmp_path_factory.mktemp("store"))


def made(system: System, out: Path, **options: Any) -> Path:
    root = RootSpec(system=system.toplevel, store=system.root, closures=(system.registration,))
    assemble(Spec(root=root, out=out, **{**SMALL, **options}))
    return out


@pytest.mark.parametrize("name", ["disk.raw", "disk.raw.zst", "disk.raw.gz"])
def test_bmaptool_copies_by_the_map(system: System, tmp_path: Path, name: str) -> None:
    out, disk = made(system, tmp_path / name, bmap=True), tmp_path / "stick"
    printed = subprocess.run(
        ["bmaptool", "copy", out, disk], capture_output=True, text=True, check=True
    ).stderr
    assert f"using bmap file '{name}.bmap'" in printed
    assert check_image(disk).faults == ()


def mapped(out: Path) -> list[range]:
    """The blocks in the map of an image."""
    lines = output("sed", "-n", r"s/.*<Range> \(.*\) <.*/\1/p", f"{out}.bmap").decode().split()
    pairs = [line.partition("-") for line in lines]
    return [range(int(first), int(last or first) + 1) for first, _, last in pairs]


@pytest.mark.parametrize("table", [Table.HYBRID, Table.EFIXBOOTLDR, Table.NONE])
def test_a_disk_full_of_garbage_becomes_sound(system: System, tmp_path: Path, table: Table) -> None:
    """Holes that a file system takes for zeros are copied, and what it does not use is not."""
    root = RootSpec(system=system.toplevel, store=system.root, closures=(system.registration,))
    out, disk = tmp_path / "a.raw", tmp_path / "b"
    plan, _ = assemble(Spec(root=root, out=out, partition_table=table, **SMALL))
    # Holes wherever they can be: other file systems of the host have other ones.
    ranges = [(0, MIB), (plan.root.offset, plan.root.size), (plan.layout.size - MIB, MIB)]
    for start, length in [*ranges, *((fat.offset, metadata_size(fat)) for fat in plan.fats)]:
        output("fallocate", "--dig-holes", "-o", str(start), "-l", str(length), out)
    used = [*_joined(used_bytes(out, plan))]
    size = out.stat().st_size
    with disk.open("wb") as file:
        for _ in range(size // MIB):
            file.write(b"\xff" * MIB)
    with disk.open("r+b") as target, out.open("rb") as source:
        for first, last in used:
            source.seek(first * BLOCK)
            target.seek(first * BLOCK)
            target.write(source.read((last + 1 - first) * BLOCK))
    assert check_image(disk, boots=table is not Table.NONE).faults == ()
    assert sum(last + 1 - first for first, last in used) * BLOCK < size // 2


def test_all_data_is_in_the_map(system: System, tmp_path: Path) -> None:
    out = made(system, tmp_path / "disk.raw", bmap=True)
    blocks = {block for one in mapped(out) for block in one}
    content = out.read_bytes()
    used = {at // BLOCK for at in range(0, len(content), BLOCK) if any(content[at : at + BLOCK])}
    assert used <= blocks
    assert f"<MappedBlocksCount> {len(blocks)} <" in Path(f"{out}.bmap").read_text()


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(1, 30))))
def test_ranges_are_joined(pairs: list[tuple[int, int]]) -> None:
    ranges = [range(start, start + length) for start, length in pairs]
    joined = [*_joined(range(one.start * BLOCK + 1, one.stop * BLOCK) for one in ranges)]
    found = [block for first, last in joined for block in range(first, last + 1)]
    assert found == sorted({block for one in ranges for block in one})
    assert all(after[0] > before[1] + 1 for before, after in itertools.pairwise(joined))


@pytest.mark.parametrize("name", ["a.raw", "b.raw.zst", "c.vhd"])
def test_sha256sum_takes_the_sums(system: System, tmp_path: Path, name: str) -> None:
    """Those of other files stay, an old one of this file does not."""
    (tmp_path / "other").write_text("content")
    other = hashlib.sha256(b"content").hexdigest()
    (tmp_path / "SHA256SUMS").write_text(f"{other}  other\n{'0' * 64}  {name}\n")
    made(system, tmp_path / name, checksum=True)
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path, capture_output=True)
    assert done.stdout.decode().splitlines() == ["other: OK", f"{name}: OK"]


def test_the_block_map_has_a_sum_too(system: System, tmp_path: Path) -> None:
    made(system, tmp_path / "disk.raw", checksum=True, bmap=True)
    lines = (tmp_path / "SHA256SUMS").read_text().splitlines()
    assert [line[66:] for line in lines] == ["disk.raw", "disk.raw.bmap"]


def contents(place: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in place.iterdir()}


def test_another_image_does_not_keep_what_describes_the_old_one(
    system: System, tmp_path: Path
) -> None:
    """bmaptool would take the map by itself, and copy a part of the new image without a complaint.

    In a run that fails when the new image gets its name, all that is there stays with the old one.
    """
    target: dict[str, Any] = {"target": "amazon", "format": "raw", "size": 512 * MIB}
    out = made(system, tmp_path / "disk.raw", checksum=True, bmap=True, **target)
    before = contents(tmp_path)
    assert {*before} == {"SHA256SUMS", "disk.raw", "disk.raw.bmap", "image-info.json"}

    def fail(_: Path) -> NoReturn:
        raise OSError(errno.EIO, "Input/output error")

    with pytest.MonkeyPatch.context() as patch:
        rename = Path.rename
        patch.setattr(Path, "rename", lambda a, b: fail(b) if b == out else rename(a, b))
        with pytest.raises(HostError, match=r"disk.raw: Input/output error"):
            made(system, out, size=512 * MIB, boot_size=80 * MIB, checksum=True, bmap=True)
    assert contents(tmp_path) == before
    made(system, out, size=512 * MIB, boot_size=80 * MIB)
    assert [file.name for file in tmp_path.iterdir()] == ["disk.raw"]


def test_a_run_that_fails_leaves_the_files_beside_the_old_image(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = made(system, tmp_path / "disk.raw", checksum=True, bmap=True)
    before = contents(tmp_path)

    def full(*_: object) -> None:
        raise HostError("no room")

    monkeypatch.setattr("assembler.pipeline._check", full)
    with pytest.raises(HostError, match="no room"):
        made(system, out, boot_size=80 * MIB)
    assert contents(tmp_path) == before


def test_what_was_not_asked_for_does_not_end_a_run(
    system: System, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The longest name, beside a FIFO called SHA256SUMS; and a SHA256SUMS that cannot be read."""
    os.mkfifo(tmp_path / "SHA256SUMS")
    out = made(system, tmp_path / ("x" * 255))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["SHA256SUMS", out.name]
    (tmp_path / "SHA256SUMS").unlink()
    (tmp_path / "SHA256SUMS").touch(mode=0)
    made(system, out)
    [line] = caplog.messages
    sums = tmp_path / "SHA256SUMS"
    assert line == f"{sums} may keep a sum of the old image: {sums}: Permission denied"


def test_amazons_facts(system: System, tmp_path: Path) -> None:
    """The fields that nixpkgs' amazon-image.nix writes, and its upload-ami reads."""
    out = made(system, tmp_path / "disk.vhd", target="amazon")
    facts = json.loads((tmp_path / "image-info.json").read_text())
    size = str(out.stat().st_size - 512)
    assert facts == {
        "label": "NixOS tiny",
        "boot_mode": "uefi-preferred",
        "system": "x86_64-linux",
        "format": "VHD",
        "logical_bytes": size,
        "file": str(out),
        "disks": {"root": {"logical_bytes": size, "file": str(out)}},
    }


def test_amazon_gets_no_facts_of_a_format_that_it_does_not_import(
    system: System, tmp_path: Path
) -> None:
    made(system, tmp_path / "disk.qcow2", target="amazon", format="qcow2")
    assert [file.name for file in tmp_path.iterdir()] == ["disk.qcow2"]


def test_the_facts_of_another_image_are_not_lost_silently(
    system: System, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "other").touch()
    (tmp_path / "image-info.json").write_text('{"file": "/moved/other"}')
    made(system, tmp_path / "disk.raw")
    assert (tmp_path / "image-info.json").read_text() == '{"file": "/moved/other"}'
    made(system, tmp_path / "disk.vhd", target="amazon")
    info = tmp_path / "image-info.json"
    assert f"{info} described other until now: a directory has one such file" in caplog.messages


def test_what_has_no_place_is_refused(system: System, tmp_path: Path) -> None:
    [line] = refused(system, tmp_path, bmap=True, format="vdi")
    assert line == "bmap is for the formats raw, raw.zst, raw.gz, raw.xz, not format vdi"
