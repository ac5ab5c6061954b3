"""Damage to file systems is found, also where their own checkers exit with status 0.

Without these tests, a damaged file system can pass the check, and the machine finds the damage.
"""

import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from assembler.check.ext4_part import check_ext4
from assembler.check.fat_part import check_fat
from assembler.check.part import Part
from assembler.errors import HostError
from assembler.units import MIB
from tests.support.helpers import output

SYSTEM = "/usr/bin:/bin:/usr/sbin:/sbin"
START, SIZE = MIB, 40 * MIB
PART = Part(1, "one", "83", START, SIZE)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """An ext4 and a FAT with some files, each as bytes of the whole image."""
    directory = tmp_path_factory.mktemp("made")
    (directory / "tree").mkdir()
    for name in ("one", "two"):
        (directory / "tree" / name).write_bytes(name.encode() * 10_000)
    for name in ("ext4", "fat"):
        with (directory / name).open("wb") as file:
            file.truncate(START + SIZE)
    options = ["-q", "-t", "ext4", "-E", f"offset={START}", "-d", directory / "tree"]
    output("/sbin/mke2fs", *options, directory / "ext4", f"{SIZE // 1024}k")
    fat = directory / "only-fat"
    output("/sbin/mkfs.fat", "-F", "32", "-s", "1", "-C", fat, str(SIZE // 1024))
    output("mmd", "-i", fat, "::/EFI")
    output("mcopy", "-i", fat, directory / "tree" / "one", directory / "tree" / "two", "::/EFI")
    images = {"ext4": (directory / "ext4").read_bytes()}
    return images | {"fat": bytes(START) + fat.read_bytes()}


@pytest.fixture
def image(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "image"


def ext4_fault(image: Path, data: bytes) -> str:
    image.write_bytes(data)
    return check_ext4(image, PART).fault


def fat_fault(image: Path, data: bytes, directory: Path) -> str:
    image.write_bytes(data)
    return check_fat(image, PART, directory, "FAT").fault


def flipped(data: bytes, at: int, mask: int = 0x10) -> bytes:
    place = START + at
    return data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]


def test_good_ones(image: Path, tmp_path: Path, made: dict[str, bytes]) -> None:
    assert ext4_fault(image, made["ext4"]) == ""
    assert fat_fault(image, made["fat"], tmp_path) == ""


def test_a_group_descriptor_whose_checksum_is_wrong(image: Path, made: dict[str, bytes]) -> None:
    """e2fsck prints it and exits with 0; Linux mounts it read-only, if at all."""
    data = made["ext4"]
    block = 1024 << struct.unpack_from("<I", data, START + 1024 + 0x18)[0]
    descriptors = max(block, 2048)
    printed = ext4_fault(image, flipped(data, descriptors + 30))
    assert printed.startswith("e2fsck: ")
    assert "checksum" in printed or "invalid" in printed


def test_a_journal_that_nothing_speaks_of(image: Path, made: dict[str, bytes]) -> None:
    """The journal has data (s_start, journal.rst in Linux), and the superblock denies it."""
    data = made["ext4"]
    journal = data.index(bytes.fromhex("c03b399800000004"), START)
    changed = data[: journal + 28] + b"\0\0\0\2" + data[journal + 32 :]
    assert ext4_fault(image, changed).startswith("e2fsck: ")


def test_counts_that_are_wrong(image: Path, made: dict[str, bytes]) -> None:
    image.write_bytes(made["ext4"])
    script = f"open -w {image}?offset={START}\nssv free_inodes_count 7\nclose\n"
    output("/sbin/debugfs", "-f", "-", stdin=script.encode())
    assert check_ext4(image, PART).fault.startswith("e2fsck: ")


@pytest.mark.parametrize("clock", [2**31, 2**32 - 2])
def test_an_ext4_from_the_future(image: Path, made: dict[str, bytes], clock: int) -> None:
    image.write_bytes(made["ext4"])
    names = ("wtime", "mtime", "lastcheck")
    requests = "".join(f"ssv {name} @{clock}\n" for name in names)
    script = f"open -w {image}?offset={START}\n{requests}close\n"
    output("/sbin/debugfs", "-f", "-", stdin=script.encode())
    assert check_ext4(image, PART).fault == ""


@pytest.mark.parametrize(
    ("at", "new", "words"),
    [
        (510, b"\0\0", "the FAT's boot sector has no signature 55 aa"),
        (0, b"\x6b", "the FAT's boot sector does not begin with a jump, but with 0x6b"),
        (21, b"\x00", "the FAT's boot sector names a kind of medium that there is not, 0x00"),
        (13, b"\x03", "fsck.fat: "),
        (11, b"\x03\x02", "fsck.fat: "),
        (32, b"\xff\xff\xff\x0f", "fsck.fat: "),
        (14, b"\0\0", "fsck.fat: "),
    ],
)
def test_a_boot_sector_of_a_fat(
    image: Path, made: dict[str, bytes], at: int, new: bytes, words: str
) -> None:
    data = bytearray(made["fat"])
    for start in (START, START + 6 * 512):  # it has a copy in sector 6
        data[start + at : start + at + len(new)] = new
    found = fat_fault(image, bytes(data), image.parent)
    assert found.startswith((words, "fsck.fat: ")) if at else found == words


def test_a_fat_whose_boot_sectors_differ(
    image: Path, tmp_path: Path, made: dict[str, bytes]
) -> None:
    assert fat_fault(image, flipped(made["fat"], 3), tmp_path).startswith("fsck.fat: ")


def test_a_fat_that_never_ends_is_stopped(
    image: Path, tmp_path: Path, made: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "fsck.fat"
    tool.write_text("#!/bin/sh\nexec sleep 60\n")
    tool.chmod(0o755)
    monkeypatch.setattr(
        "assembler.host.programs.search_path", lambda: f"{tmp_path}:/usr/bin:/bin:/usr/sbin:/sbin"
    )
    monkeypatch.setattr("assembler.check.fat_part._SECONDS", 0.2)
    words = "checking a FAT: fsck.fat did not end within 0 seconds and was stopped: "
    assert fat_fault(image, made["fat"], tmp_path).startswith(words)


@pytest.mark.parametrize("name", ["e2fsck", "fsck.fat"])
def test_a_tool_that_cannot_start_is_no_fault_of_the_image(
    image: Path,
    tmp_path: Path,
    made: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """127 is what the dynamic linker exits with when a library is missing."""
    tool = tmp_path / name
    tool.write_text("#!/bin/sh\necho 'error while loading shared libraries' >&2\nexit 127\n")
    tool.chmod(0o755)
    monkeypatch.setattr(
        "assembler.host.programs.search_path", lambda: f"{tmp_path}:/usr/bin:/bin:/usr/sbin:/sbin"
    )
    with pytest.raises(HostError, match="loading shared libraries"):
        (ext4_fault(image, made["ext4"]), fat_fault(image, made["fat"], tmp_path))


def test_a_program_is_killed_by_what_it_reads(
    image: Path, made: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "e2fsck"
    tool.write_text("#!/bin/sh\nkill -SEGV $$\n")
    tool.chmod(0o755)
    assert subprocess.run([tool]).returncode == -11
    monkeypatch.setattr(
        "assembler.host.programs.search_path", lambda: f"{tmp_path}:/usr/bin:/bin:/usr/sbin:/sbin"
    )
    assert ext4_fault(image, made["ext4"]) == "e2fsck: it was killed by signal 11"


def test_a_file_that_is_taken_for_a_directory(
    image: Path, tmp_path: Path, made: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """fsck.fat may take hours over it: it is not run."""
    monkeypatch.setattr("assembler.host.process.run", lambda *_, **__: pytest.fail("it was run"))
    at = made["fat"].index(b"ONE        ", START) + 11 - START
    found = fat_fault(image, flipped(made["fat"], at), tmp_path)
    assert found == "the FAT is damaged: EFI/one/ is no directory, though its entry is of one"
