"""Each kind of file system has a row in one table: what its own tools accept and refuse.

Without these tests, a label or a size can be accepted that mkfs refuses later, or shortens.
"""

import subprocess
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import pytest

from assembler.filesystems.demand import Demand
from assembler.filesystems.guestfs.writer import mkfs_check
from assembler.filesystems.kind import Kind, RootKind
from assembler.filesystems.protocol import RootFileSystem
from assembler.filesystems.registry import DEFAULT, KINDS, ROOT_KINDS, root_kind_problems
from assembler.units import BLOCK, GIB, MIB
from tests.support.helpers import output
from tests.support.trees import SEED


@dataclass(frozen=True)
class KindRow:
    """What a kind accepts and refuses."""

    good_labels: tuple[str, ...]
    bad_labels: tuple[str, ...]
    package: str = ""  # of Debian, with which an appliance can make it
    tools_cut: bool = False  # whether its mkfs only warns when it cuts a long label


ROWS = {
    "ext4": KindRow(
        ("a", "x" * 16, "a $b'\"c", "ü" * 8), ("x" * 17, "ü" * 9), "e2fsprogs", tools_cut=True
    ),
    "btrfs": KindRow(
        ("a", "x" * 254, "a $b'\"c", "ü" * 127), ("x" * 256, "ü" * 128), "btrfs-progs"
    ),
    "xfs": KindRow(("a", "x" * 12, "a $b'\"c", "ü" * 6), ("x" * 13, "ü" * 7), "libguestfs-xfs"),
    "f2fs": KindRow(("a", "x" * 255, "a $b'\"c", "ü" * 127), ("x" * 513,), "f2fs-tools"),
    "vfat": KindRow(("a", "x" * 11, "a $b'_c"), ("x" * 12, "ü", "a.b", "a/b", "", "NO NAME", "a ")),
}
ROOTS = [*ROOT_KINDS.values()]


def target(label: str) -> RootFileSystem:
    """A file system of 1 GiB, to be made in a file of that size."""
    return RootFileSystem(
        offset=0, size=GIB, inodes=100, label=label, uuid=SEED, hash_seed=SEED, epoch=1
    )


def make(kind: RootKind, image: Path, label: str) -> subprocess.CompletedProcess[bytes]:
    """Run the appliance's command here, on a file."""
    image.unlink(missing_ok=True)
    with image.open("wb") as file:
        file.truncate(GIB)
    script = "\n".join(["PATH=/usr/sbin:/sbin:$PATH", *kind.make(target(label), str(image))])
    return subprocess.run(["sh", "-ec", script], capture_output=True)


def test_each_kind_has_a_row() -> None:
    """Without it, a new kind would go untested."""
    assert {kind.name for kind in KINDS} == {*ROWS}
    assert DEFAULT in KINDS


@pytest.mark.parametrize("kind", KINDS, ids=attrgetter("name"))
def test_labels(kind: Kind) -> None:
    row = ROWS[kind.name]
    assert [kind.label_fault(label) for label in row.good_labels] == [""] * len(row.good_labels)
    for label in row.bad_labels:
        assert kind.label_fault(label).startswith(f"a label of {kind.title} has at most "), label


@pytest.mark.parametrize("kind", ROOTS, ids=attrgetter("name"))
def test_the_tools_write_the_labels_and_the_magic(kind: RootKind, tmp_path: Path) -> None:
    """mkfs agrees on good and bad labels, and blkid finds what it wrote."""
    image, row = tmp_path / "image", ROWS[kind.name]
    for label in row.good_labels:
        done = make(kind, image, label)
        assert done.returncode == 0, done.stderr
        with image.open("rb") as file:
            for at, magic in kind.magics:
                file.seek(at)
                assert file.read(len(magic)) == magic
        for tag, name in (("LABEL", label), ("UUID", str(SEED)), ("TYPE", kind.name)):
            found = output("/sbin/blkid", "--probe", "-o", "value", "-s", tag, image)
            assert found.decode().rstrip("\n") == name
    for label in row.bad_labels:
        done = make(kind, image, label)
        assert done.returncode != 0 or (row.tools_cut and b"too long" in done.stderr), label


@pytest.mark.parametrize("kind", ROOTS, ids=attrgetter("name"))
def test_its_checker_reads_it_and_finds_a_fault(kind: RootKind, tmp_path: Path) -> None:
    """Runs the command for the appliance on a whole file, and on one that starts with zeros."""
    image = tmp_path / "image"
    assert make(kind, image, "x").returncode == 0
    check = f"PATH=/usr/sbin:/sbin:$PATH; {kind.check} {image}"
    assert subprocess.run(["sh", "-c", check], capture_output=True).returncode == 0
    image.write_bytes(bytes(MIB))
    assert subprocess.run(["sh", "-c", check], capture_output=True).returncode != 0


@pytest.mark.parametrize("kind", ROOTS, ids=attrgetter("name"))
@pytest.mark.parametrize("demand", [Demand(1, 1, 0), Demand(10**6, 10**5, 4 * 10**9)])
def test_sizes(kind: RootKind, demand: Demand) -> None:
    sizes = kind.sizes
    least, roomy = sizes.least(demand), sizes.with_free(demand, GIB)
    assert least % MIB == roomy.bytes % MIB == 0
    assert demand.blocks * BLOCK < least
    assert max(least, GIB + demand.blocks * BLOCK) < roomy.bytes
    assert roomy.inodes >= demand.inodes
    for room in (least, least + 3 * MIB, 3 * least):
        size = sizes.within(demand, room)
        assert least <= size.bytes <= room
        assert size.inodes >= demand.inodes


@pytest.mark.parametrize("kind", ROOTS, ids=attrgetter("name"))
def test_an_appliance_without_its_mkfs_is_told_what_to_install(
    kind: RootKind, tmp_path: Path
) -> None:
    def run(path: str) -> subprocess.CompletedProcess[str]:
        argv = ["/bin/sh", "-ec", mkfs_check(kind)]
        return subprocess.run(argv, env={"PATH": path}, capture_output=True, text=True)

    assert run("/usr/sbin:/sbin").returncode == 0
    missing = run(str(tmp_path))
    words = f"the appliance has no mkfs.{kind.name}: install {ROWS[kind.name].package} (Debian)\n"
    assert (missing.returncode, missing.stderr) == (1, words)


@pytest.mark.parametrize("name", ["", "vfat", "ext3", "EXT4"])
def test_an_unknown_kind_is_refused(name: str) -> None:
    """An unknown kind must never be made as another one."""
    [line] = root_kind_problems(name)
    assert f"{name} cannot be made: there are ext4, and with writer" in line
