import os
import re
import struct
import subprocess
import tempfile
import time
from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.errors import RequestError
from assembler.process import search_path
from assembler.units import MIB, SECTOR
from assembler.writers.fat import esp_problems, write_esp

OFFSET, SIZE = 8 * MIB, 40 * MIB
FILES = {
    "EFI/BOOT/BOOTX64.EFI": os.urandom(700_001),
    "EFI/BOOT/grub.cfg": b"search --set=root\n",
    "EFI/nixos/kernel with a long name.efi": bytes(4096),
    "README": b"",
}


def make(
    image: Path,
    *,
    size: int = SIZE,
    files: Mapping[str, bytes] = FILES,
    epoch: int = 1_700_000_000,
) -> Path:
    with image.open("wb") as file:
        file.truncate(OFFSET + size + MIB)
    write_esp(
        image,
        offset=OFFSET,
        size=size,
        files=files,
        volume_id=0x1234ABCD,
        label="ESP",
        epoch=epoch,
    )
    return image


def tool(*argv: str | Path, cwd: Path | None = None) -> bytes:
    done = subprocess.run(
        argv,
        cwd=cwd,
        env={"PATH": search_path(), "TZ": "UTC", "HOME": "/nonexistent"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def boot_sector(image: Path) -> bytes:
    with image.open("rb") as file:
        file.seek(OFFSET)
        return file.read(SECTOR)


def check(image: Path, size: int) -> bytes:
    """Cut the partition out of the image, as fsck.fat knows no offset, and check it."""
    with image.open("rb") as source, tempfile.NamedTemporaryFile() as target:
        os.copy_file_range(source.fileno(), target.fileno(), size, offset_src=OFFSET)
        return tool("fsck.fat", "-n", "-v", target.name)


@pytest.mark.parametrize("size", [5, 32, 33, 261])
def test_files_read_back_and_the_checker_is_content(tmp_path: Path, size: int) -> None:
    image = make(tmp_path / "disk.raw", size=size * MIB)
    check(image, size * MIB)
    assert (b"FAT32" if size >= 33 else b"FAT16") in boot_sector(image)
    for path, content in FILES.items():
        assert tool("mtype", "-i", f"{image}@@{OFFSET}", f"::/{path}") == content


@pytest.mark.parametrize("size", [5, 6, 17, 32, 33, 100, 260, 261, 400])
def test_the_room_is_what_the_checker_counts(tmp_path: Path, size: int) -> None:
    image = make(tmp_path / "disk.raw", size=size * MIB, files={})
    match = re.search(rb"(\d+) data clusters \((\d+) bytes\)", check(image, size * MIB))
    assert match is not None
    clusters, room = int(match[1]), int(match[2])
    if size >= 33:  # the root directory is a cluster of the data
        room -= room // clusters
    assert not esp_problems(size * MIB, {"F": bytes(room)})
    assert esp_problems(size * MIB, {"F": bytes(room + 1)})


def test_names_times_and_identity(tmp_path: Path) -> None:
    image = make(tmp_path / "disk.raw")
    listing = tool("mdir", "-/", "-i", f"{image}@@{OFFSET}", "::/").decode()
    assert "Volume in drive : is ESP" in listing
    assert "Volume Serial Number is 1234-ABCD" in listing
    assert listing.count("2023-11-14  22:13") == len(FILES) + 3 + 3 * 2  # and `.`, `..`
    assert "kernel with a long name.efi" in listing
    (hidden,) = struct.unpack_from("<I", boot_sector(image), 28)
    assert hidden == OFFSET // SECTOR


def test_a_time_that_fat_cannot_hold_becomes_1980(tmp_path: Path) -> None:
    image = make(tmp_path / "disk.raw", epoch=1)
    assert "1980-01-01" in tool("mdir", "-i", f"{image}@@{OFFSET}", "::/").decode()


def test_nothing_is_written_outside(tmp_path: Path) -> None:
    with make(tmp_path / "disk.raw").open("rb") as file:
        assert not any(file.read(OFFSET))
        file.seek(OFFSET + SIZE)
        assert not any(file.read())


def test_the_bytes_do_not_depend_on_clock_zone_or_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make(tmp_path / "a").read_bytes()
    time.sleep(2.1)  # FAT's times are in steps of two seconds
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    (tmp_path / ".mtoolsrc").write_text("MTOOLS_NO_VFAT=1\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert make(tmp_path / "b", files=dict(reversed(FILES.items()))).read_bytes() == first


def test_an_empty_partition_is_fine(tmp_path: Path) -> None:
    check(make(tmp_path / "disk.raw", files={}), SIZE)


@pytest.mark.parametrize("mib", [5, 34])
def test_a_file_that_just_fits_does_and_a_byte_more_is_told(tmp_path: Path, mib: int) -> None:
    most = bisect_left(
        range(mib * MIB), 1, key=lambda size: len(esp_problems(mib * MIB, {"a/F": bytes(size)}))
    )
    content = bytes(most - 1)
    image = make(tmp_path / "disk.raw", size=mib * MIB, files={"a/F": content})
    assert b" 0 bytes free" in tool("mdir", "-i", f"{image}@@{OFFSET}", "::/")
    with pytest.raises(RequestError, match=r"too small for its files by (512 B|1.0 KiB)$"):
        make(tmp_path / "full.raw", size=mib * MIB, files={"a/F": content + b"x"})


@settings(max_examples=25, deadline=None)
@given(names=st.sets(st.from_regex(r"[a-zA-Z0-9]{1,40}\.[a-z]{3}", fullmatch=True), max_size=200))
def test_what_is_said_to_fit_fits_however_many_names(names: set[str]) -> None:
    folded = {name.lower(): name for name in names}
    files = {f"d/{name}": b"x" for name in folded.values()}
    fill = 5 * MIB
    while esp_problems(5 * MIB, {**files, "FILL": bytes(fill)}):
        fill -= 1024
    with tempfile.TemporaryDirectory() as directory:
        make(Path(directory) / "disk.raw", size=5 * MIB, files={**files, "FILL": bytes(fill)})


def test_a_partition_too_small_for_fat_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"the smallest is 5\.0 MiB"):
        make(tmp_path / "disk.raw", size=4 * MIB)
