"""A FAT has the files that it is given, as mtools and fsck.fat read it, with equal bytes always.

Without these tests, the firmware can fail to read the ESP, or the same input gives other bytes.
"""

import os
import re
import struct
import subprocess
import tempfile
from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.errors import HostError, RequestError
from assembler.filesystems.fat.fat import Fat, fat_problems, write_fat
from assembler.host.process import search_path
from assembler.units import MIB, SECTOR
from tests.support.clock import wait_for_tick

OFFSET, SIZE = 8 * MIB, 40 * MIB
FILES: dict[str, bytes] = {
    "EFI/BOOT/BOOTX64.EFI": os.urandom(700_001),
    "EFI/BOOT/grub.cfg": b"search --set=root\n",
    "EFI/nixos/kernel with a long name.efi": bytes(4096),
    "README": b"",
}


def fat(
    size: int = SIZE,
    files: Mapping[str, bytes | Path] = FILES,
    epoch: int = 1_700_000_000,
    sector_size: int = SECTOR,
) -> Fat:
    return Fat(
        offset=OFFSET,
        size=size,
        files=files,
        volume_id=0x1234ABCD,
        label="ESP",
        epoch=epoch,
        sector_size=sector_size,
    )


def make(image: Path, target: Fat | None = None) -> Path:
    target = target or fat()
    with image.open("wb") as file:
        file.truncate(OFFSET + target.size + MIB)
    write_fat(image, target)
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
    """Check a copy of the partition, since fsck.fat takes no offset."""
    with image.open("rb") as source, tempfile.NamedTemporaryFile() as target:
        os.copy_file_range(source.fileno(), target.fileno(), size, offset_src=OFFSET)
        return tool("fsck.fat", "-n", "-v", target.name)


@pytest.mark.parametrize("size", [5, 32, 33, 261])
def test_files_read_back_and_the_checker_is_content(tmp_path: Path, size: int) -> None:
    image = make(tmp_path / "disk.raw", fat(size * MIB))
    check(image, size * MIB)
    assert (b"FAT32" if size >= 33 else b"FAT16") in boot_sector(image)
    for path, content in FILES.items():
        assert tool("mtype", "-i", f"{image}@@{OFFSET}", f"::/{path}") == content


@pytest.mark.parametrize("size", [5, 6, 17, 32, 33, 100, 260, 261, 400])
def test_the_room_is_what_the_checker_counts(tmp_path: Path, size: int) -> None:
    image = make(tmp_path / "disk.raw", fat(size * MIB, {}))
    match = re.search(rb"(\d+) data clusters \((\d+) bytes\)", check(image, size * MIB))
    assert match is not None
    clusters, room = int(match[1]), int(match[2])
    if size >= 33:  # the root directory is a cluster of the data
        room -= room // clusters
    assert not fat_problems(fat(size * MIB, {"F": bytes(room)}))
    assert fat_problems(fat(size * MIB, {"F": bytes(room + 1)}))


def test_names_times_and_identity(tmp_path: Path) -> None:
    image = make(tmp_path / "disk.raw")
    listing = tool("mdir", "-/", "-i", f"{image}@@{OFFSET}", "::/").decode()
    assert "Volume in drive : is ESP" in listing
    assert "Volume Serial Number is 1234-ABCD" in listing
    assert listing.count("2023-11-14  22:13") == len(FILES) + 3 + 3 * 2  # and `.`, `..`
    assert "kernel with a long name.efi" in listing
    (hidden,) = struct.unpack_from("<I", boot_sector(image), 28)
    assert hidden == OFFSET // SECTOR


@pytest.mark.parametrize(
    ("epoch", "shown"),
    [
        (1, "1980-01-01"),
        (2**31, "2038-01-19"),
        (4354819199, "2107-12-31  23:59"),
        (4354819200, "2107-12-31  23:59"),
        (2**34, "2107-12-31  23:59"),
    ],
)
def test_times_that_fat_cannot_hold(tmp_path: Path, epoch: int, shown: str) -> None:
    image = make(tmp_path / "disk.raw", fat(epoch=epoch))
    assert shown in tool("mdir", "-i", f"{image}@@{OFFSET}", "::/").decode()


def test_nothing_is_written_outside(tmp_path: Path) -> None:
    with make(tmp_path / "disk.raw").open("rb") as file:
        assert not any(file.read(OFFSET))
        file.seek(OFFSET + SIZE)
        assert not any(file.read())


def test_the_bytes_do_not_depend_on_clock_zone_or_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make(tmp_path / "a").read_bytes()
    wait_for_tick(step=2)  # FAT's times are in steps of two seconds
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    (tmp_path / ".mtoolsrc").write_text("MTOOLS_NO_VFAT=1\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert make(tmp_path / "b", fat(files=dict(reversed(FILES.items())))).read_bytes() == first


def test_an_empty_partition_is_fine(tmp_path: Path) -> None:
    check(make(tmp_path / "disk.raw", fat(files={})), SIZE)


@pytest.mark.parametrize("mib", [5, 34])
def test_a_file_that_just_fits_does_and_a_byte_more_is_told(tmp_path: Path, mib: int) -> None:
    most = bisect_left(
        range(mib * MIB),
        1,
        key=lambda size: len(fat_problems(fat(mib * MIB, {"a/F": bytes(size)}))),
    )
    content = bytes(most - 1)
    image = make(tmp_path / "disk.raw", fat(mib * MIB, {"a/F": content}))
    assert b" 0 bytes free" in tool("mdir", "-i", f"{image}@@{OFFSET}", "::/")
    with pytest.raises(
        RequestError, match=r"too small for its files by (512 B|1.0 KiB): take a larger"
    ):
        make(tmp_path / "full.raw", fat(mib * MIB, {"a/F": content + b"x"}))


@settings(max_examples=25, deadline=None)
@given(names=st.sets(st.from_regex(r"[a-zA-Z0-9]{1,40}\.[a-z]{3}", fullmatch=True), max_size=200))
def test_what_is_said_to_fit_fits_however_many_names(names: set[str]) -> None:
    folded = {name.lower(): name for name in names}
    files = {f"d/{name}": b"x" for name in folded.values()}
    fill = 5 * MIB
    while fat_problems(fat(5 * MIB, {**files, "FILL": bytes(fill)})):
        fill -= 1024
    with tempfile.TemporaryDirectory() as directory:
        make(Path(directory) / "disk.raw", fat(5 * MIB, {**files, "FILL": bytes(fill)}))


def test_a_partition_too_small_for_fat_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"the smallest is 5\.0 MiB"):
        make(tmp_path / "disk.raw", fat(4 * MIB))


@pytest.mark.parametrize("mib", [17, 92, 255, 256, 257, 260, 261, 600])
def test_sectors_of_4096_bytes(tmp_path: Path, mib: int) -> None:
    size = mib * MIB
    image = make(tmp_path / "disk.raw", fat(size, sector_size=4096))
    match = re.search(rb"(\d+) data clusters \((\d+) bytes\)", check(image, size))
    assert match is not None
    clusters, room = int(match[1]), int(match[2])
    # Readers find the kind by the number of clusters alone (fatgen103, 3.5).
    assert (clusters >= 65525) == (b"FAT32" in boot_sector(image)) == (mib >= 261)
    assert clusters >= 4085
    assert boot_sector(image)[11:13] == (4096).to_bytes(2, "little")
    for path, content in FILES.items():
        assert tool("mtype", "-i", f"{image}@@{OFFSET}", f"::/{path}") == content
    if mib >= 261:
        room -= room // clusters
    assert not fat_problems(fat(size, {"F": bytes(room)}, sector_size=4096))
    assert fat_problems(fat(size, {"F": bytes(room + 1)}, sector_size=4096))


@pytest.mark.parametrize("mib", [4, 16])
def test_too_few_sectors_of_4096_bytes_are_refused(mib: int) -> None:
    assert fat_problems(fat(mib * MIB, sector_size=4096)) == [
        f"the EFI system partition of {mib}.0 MiB is too small: the smallest is 17.0 MiB"
    ]


def test_host_files_are_copied_under_their_new_names(tmp_path: Path) -> None:
    source = tmp_path / "bzImage"
    source.write_bytes(os.urandom(100_000))
    files = {"EFI/nixos/0123-linux-6.1-bzImage.efi": source, "EFI/nixos/small": b"text"}
    image = make(tmp_path / "disk.raw", fat(files=files))
    check(image, SIZE)
    read = tool("mtype", "-i", f"{image}@@{OFFSET}", "::/EFI/nixos/0123-linux-6.1-bzImage.efi")
    assert read == source.read_bytes()
    listing = tool("mdir", "-i", f"{image}@@{OFFSET}", "::/EFI/nixos").decode()
    assert listing.count("2023-11-14  22:13") == 4


def test_a_host_file_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"cannot read .*/gone: No such file"):
        make(tmp_path / "disk.raw", fat(files={"kernel": tmp_path / "gone"}))


def test_the_uuid_is_what_blkid_says(tmp_path: Path) -> None:
    image = make(tmp_path / "disk.raw")
    uuid = tool("blkid", "--probe", "--offset", str(OFFSET), "-o", "value", "-s", "UUID", image)
    assert uuid.decode().strip() == fat().uuid == "1234-ABCD"
