"""mke2fs makes the same empty ext4 each time, with the features that are asked for.

Without these tests, the clock or the host's mke2fs.conf can change the image.
"""

import subprocess
from pathlib import Path
from uuid import UUID

import pytest

from assembler.errors import HostError
from assembler.filesystems.ext4.mke2fs import make_ext4
from assembler.host.process import search_path
from assembler.units import MIB
from tests.support.clock import wait_for_tick

FS_UUID = UUID("6d3c1b0a-0f5e-4b7c-9f1d-2a3b4c5d6e7f")
HASH_SEED = UUID("7e4d2c1b-1a6f-4c8d-8a2e-3b4c5d6e7f80")
OFFSET, SIZE = 3 * MIB, 40 * MIB


def make(path: Path, *, epoch: int = 1) -> Path:
    with path.open("wb") as file:
        file.truncate(OFFSET + SIZE + MIB)
    make_ext4(
        path,
        offset=OFFSET,
        size=SIZE,
        inodes=2000,
        label="a label",
        uuid=FS_UUID,
        hash_seed=HASH_SEED,
        epoch=epoch,
    )
    return path


def tool(*argv: str | Path) -> str:
    done = subprocess.run(
        argv,
        env={"PATH": search_path(), "TZ": "UTC", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def header(image: Path) -> dict[str, str]:
    lines = tool("tune2fs", "-l", f"{image}?offset={OFFSET}").splitlines()
    return {
        name: value.strip()
        for name, found, value in (line.partition(":") for line in lines)
        if found
    }


def test_it_is_what_was_asked_for(tmp_path: Path) -> None:
    image = make(tmp_path / "disk.raw", epoch=86400)
    fields = header(image)
    assert fields["Filesystem features"].split() == [
        *("has_journal", "ext_attr", "resize_inode", "dir_index", "filetype", "extent", "64bit"),
        *("flex_bg", "sparse_super", "large_file", "huge_file", "dir_nlink", "extra_isize"),
        "metadata_csum",
    ]
    assert fields["Filesystem volume name"] == "a label"
    assert fields["Filesystem UUID"] == str(FS_UUID)
    assert fields["Directory Hash Seed"] == str(HASH_SEED)
    assert fields["Filesystem created"] == "Fri Jan  2 00:00:00 1970"
    assert fields["Reserved block count"] == "0"
    assert fields["Maximum mount count"] == "-1"
    assert fields["Default mount options"] == "user_xattr acl"
    assert int(fields["Free inodes"]) >= 2000
    tool("e2fsck", "-fn", f"{image}?offset={OFFSET}")


def test_nothing_is_written_outside(tmp_path: Path) -> None:
    with make(tmp_path / "disk.raw").open("rb") as file:
        assert not any(file.read(OFFSET))
        file.seek(OFFSET + SIZE)
        assert not any(file.read())


@pytest.mark.parametrize("epoch", [0, 1, 1_700_000_000])
def test_the_bytes_do_not_depend_on_the_clock_or_the_host(
    tmp_path: Path, epoch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make(tmp_path / "a", epoch=epoch).read_bytes()
    wait_for_tick()  # ext4's times are in whole seconds
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    config = tmp_path / "mke2fs.conf"
    config.write_text("[defaults]\n\tbase_features = sparse_super\n\tinode_size = 128\n")
    monkeypatch.setenv("MKE2FS_CONFIG", str(config))
    assert make(tmp_path / "b", epoch=epoch).read_bytes() == first


def test_a_failure_names_the_job(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="making an ext4 file system: mke2fs failed"):
        make_ext4(
            tmp_path / "absent" / "disk.raw",
            offset=0,
            size=SIZE,
            inodes=1,
            label="x",
            uuid=FS_UUID,
            hash_seed=HASH_SEED,
            epoch=1,
        )
