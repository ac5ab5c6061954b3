"""The guestfs writer makes, in real appliances, what the direct writer makes.

Without these tests, an XFS or a btrfs can lack files or attributes that the ext4 of the same system
has.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assembler.appliance.accelerator import Accelerator
from assembler.errors import HostError
from assembler.filesystems.demand import measure
from assembler.filesystems.ext4.kind import EXT4
from assembler.filesystems.guestfs.writer import GuestfsWriter
from assembler.filesystems.kind import RootKind
from assembler.filesystems.protocol import RootFileSystem, Subvolume
from assembler.filesystems.registry import ROOT_KINDS
from assembler.host.progress import Progress
from assembler.tree.tree import Directory, Tree, regular
from assembler.units import GIB, MIB
from tests.support import readback
from tests.support.places import AsRoot
from tests.support.trees import (
    OFFSET,
    SEED,
    every_kind,
    expected,
    host_file,
    parse,
    write_image,
)

pytestmark = pytest.mark.emulated

SUBVOLUMES = (("@", "/"), ("names", "/names"), ("owners", "/owners"))


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A TMPDIR of its own for each test; nothing but logs may be left in it."""
    directory = tmp_path / "tmp"
    directory.mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    yield directory
    assert [one.name for one in directory.iterdir() if one.suffix != ".log"] == []


def write(
    image: Path, tree: Tree, kind: RootKind, subvolumes: tuple[Subvolume, ...] = (), size: int = GIB
) -> None:
    """Write a tree to a bare file system of `size` bytes, without a partition table."""
    with image.open("wb") as file:
        file.truncate(size)
    demand = measure(tree)
    target = RootFileSystem(
        offset=0,
        size=size,
        inodes=demand.inodes + 100,
        label="test",
        uuid=SEED,
        hash_seed=SEED,
        epoch=1,
        data=demand.data,
        subvolumes=subvolumes,
    )
    with GuestfsWriter(kind, Accelerator.TCG).write(image, target, tree, Progress(quiet=True)):
        pass


def read(
    as_root: AsRoot, image: Path, mounts: list[tuple[str, str]]
) -> tuple[dict[str, Any], list[set[str]]]:
    """What this host's kernel shows in an image that is mounted by (place, options)."""
    top = image.with_suffix(".mount")
    top.mkdir()
    commands = [f"mount -o loop,ro,{options} {image} {top}{place}" for place, options in mounts]
    script = " && ".join([*commands, f"{sys.executable} {readback.__file__} {top}"])
    done = as_root("unshare", "--mount", "sh", "-c", script)  # unmounted when it ends
    found, groups = parse(done.stdout)
    found.pop(b"lost+found".hex(), None)
    return found, sorted(groups, key=min)


@pytest.fixture(scope="module", params=["ext4", "xfs", "btrfs"])
def written(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Tree, Path]:
    """A kind, a tree, and an image of that kind into which an appliance has written the tree."""
    kind, directory = request.param, tmp_path_factory.mktemp(request.param)
    tree = every_kind(directory)
    if kind == "xfs":  # XFS has no symlinks of 1024 bytes or more
        links = tree.get(b"/links")
        assert isinstance(links, Directory)
        del links.children[b"4095"]
    subvolumes = SUBVOLUMES if kind == "btrfs" else ()
    write(directory / "image", tree, ROOT_KINDS[kind], subvolumes)
    return kind, tree, directory / "image"


def test_both_writers_give_one_result(
    written: tuple[str, Tree, Path], tmp_path: Path, as_root: AsRoot
) -> None:
    kind, tree, image = written
    if not _has(as_root, kind):
        pytest.skip(f"this host's kernel has no {kind} to read the image with")
    write_image(tmp_path / "direct", tree)
    direct = read(as_root, tmp_path / "direct", [("/", f"noload,offset={OFFSET}")])
    mounts = [(place, f"subvol={name}") for name, place in SUBVOLUMES]
    options = {"ext4": "noload", "xfs": "norecovery"}.get(kind, "")
    found = read(as_root, image, mounts if kind == "btrfs" else [("/", options)])
    assert found == direct
    assert len(direct[0]) > 1500
    assert direct[0] == expected(tree)


def _has(as_root: AsRoot, kind: str) -> bool:
    as_root("modprobe", kind, check=False)
    return kind in Path("/proc/filesystems").read_text().split()


def test_label_and_uuid_are_those_asked_for(written: tuple[str, Tree, Path]) -> None:
    kind, _, image = written
    probed = subprocess.run(
        ["/sbin/blkid", "-p", "-o", "export", image], capture_output=True, text=True
    )
    facts = dict(line.split("=", 1) for line in probed.stdout.splitlines())
    assert (facts["TYPE"], facts["LABEL"], facts["UUID"]) == (kind, "test", str(SEED))


def test_a_file_system_that_the_appliance_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"the appliance has no f3fs; it has .*\bext4 .*\bxfs\b"):
        write(tmp_path / "image", Tree(), replace(EXT4, name="f3fs"))


def test_a_file_system_that_is_too_small_is_an_error(tmp_path: Path) -> None:
    big = tmp_path / "big"
    with big.open("wb") as file:
        for _ in range(24):
            file.write(bytes([1]) * MIB)
    tree = Tree()
    tree.root.children[b"holder"] = Directory(source=str(tmp_path))
    for number in range(6):
        tree.add(b"/holder/%d" % number, host_file(big))
    with pytest.raises(HostError) as failure:
        write(tmp_path / "image", tree, EXT4, size=100 * MIB)
    line = "the file system is full: give it more with size or additional_space; its log is "
    assert line in str(failure.value)


def test_an_xattr_that_cannot_be_set_is_an_error(tmp_path: Path) -> None:
    """GNU tar only warns of it."""
    tree = Tree()
    bad = (("security.capability", b"no capability"),)
    tree.add(b"/ping", regular(b"x")._replace(xattrs=bad))
    with pytest.raises(HostError, match=r"unpacking .*Cannot set 'security\.capability'"):
        write(tmp_path / "image", tree, EXT4)
