"""Files are read as GRUB reads them, by its own drivers.

Without these tests, a damaged image can keep check-image busy for hours, or fill the disk with
copies.
"""

import os
import struct
from pathlib import Path

import pytest

from assembler.check.grub_reader import GrubFileSystem, GrubReader, UnreadableError
from assembler.check.part import Part
from assembler.disk.tables import Table
from assembler.errors import HostError, TooSlowError
from tests.support.boot_images import FAT_UUID, LABEL, ROOT_UUID, build, debugfs
from tests.support.helpers import output

FILES = {"/a/file": b"data" * 10_000, "/a/empty": b"", "/a/b c/x": b"x", "/a/-n": b"dash"}


@pytest.fixture(scope="module", params=[512, 4096])
def reader(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> GrubReader:
    """A disk with a FAT and an ext4 that hold the same files."""
    directory = tmp_path_factory.mktemp("disk")
    image = directory / "disk"
    size = request.param
    layout = build(image, Table.EFI, FILES, esp=FILES, sector_size=size)
    links = ["symlink /link /a/file", "symlink /a/up ../a", "symlink /gone /nowhere"]
    links += ["symlink /loop /loop"]
    requests = [f"open -w {image}?offset={layout.root.start}", *links, "close"]
    output("/sbin/debugfs", "-f", "-", stdin="\n".join(requests).encode())
    scratch = directory / "scratch"
    scratch.mkdir()
    parts = [Part(part.number, "", "", part.start, part.size) for part in layout.partitions]
    return GrubReader(image, scratch, parts, size)


def test_file_systems(reader: GrubReader) -> None:
    assert reader.file_systems == (
        GrubFileSystem(1, "fat", "", FAT_UUID),
        GrubFileSystem(2, "ext2", LABEL, str(ROOT_UUID)),
    )
    assert [one.where for one in reader.file_systems] == ["partition 1 (FAT)", "partition 2 (ext4)"]
    assert reader.file_system(3) is None


@pytest.mark.parametrize("number", [1, 2])
def test_files(reader: GrubReader, number: int) -> None:
    for path, data in FILES.items():
        assert reader.read(number, path) == data
        assert reader.read(number, path, 3) == data[:3]
        assert reader.copy(number, path).read_bytes() == data
        assert reader.exists(number, path)
    assert reader.copy(number, "/a/file") == reader.copy(number, "/a/file")


def test_a_file_is_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "disk"
    build(image, Table.NONE, FILES)
    reader = GrubReader(image, tmp_path)
    wanted = [(0, "/a/file", 4), (0, "/a/empty", 1), (0, "/a/absent", 1), (7, "/x", 1)]
    reader.fetch(wanted * 2)
    assert reader.names(0, "/a")
    monkeypatch.setattr("assembler.host.programs.search_path", lambda: os.fspath(tmp_path))
    assert reader.read(0, "/a/file", 4) == b"data"
    assert reader.exists(0, "/a/empty")
    assert not reader.exists(0, "/a/absent")
    assert "empty" in reader.names(0, "/a/")
    with pytest.raises(HostError):
        reader.read(0, "/a/file", 5)


@pytest.mark.parametrize("number", [1, 2])
def test_directories(reader: GrubReader, number: int) -> None:
    assert sorted(reader.names(number, "/a")) == ["-n", "b c/", "empty", "file"]
    assert {"a/", "link", "gone", "loop"} & {*reader.names(number, "/")} == (
        {"a/"} if number == 1 else {"a/", "link"}
    )
    assert reader.names(number, "/absent") == []
    assert reader.names(7, "/a") == []


def test_links(reader: GrubReader) -> None:
    assert reader.read(2, "/link", 4) == b"data"
    assert reader.read(2, "/a/up/up/file", 4) == b"data"
    assert not reader.exists(2, "/gone")
    assert not reader.exists(2, "/loop")


@pytest.mark.parametrize(
    ("number", "path", "words"),
    [
        (2, "/a/absent", "file `/a/absent' not found"),
        (1, "/a/absent", "file `/a/absent' not found"),
        (2, "/a", "not a regular file"),
        (2, "/loop", "too deep nesting of symlinks"),
        (3, "/a/file", "unknown file system"),
    ],
)
def test_what_cannot_be_read(reader: GrubReader, number: int, path: str, words: str) -> None:
    for read in (reader.read, reader.copy):
        with pytest.raises(UnreadableError) as caught:
            read(number, path)
        assert str(caught.value) == words


@pytest.mark.parametrize("label", ["a'b - c, UUID", "", "Filesystem type x"])
def test_labels(tmp_path: Path, label: str) -> None:
    image = tmp_path / "disk"
    build(image, Table.NONE, FILES)
    output("/sbin/tune2fs", "-L", label[:16], image)
    assert GrubReader(image, tmp_path).file_systems == (
        GrubFileSystem(0, "ext2", label[:16], str(ROOT_UUID)),
    )
    assert GrubReader(image, tmp_path).read(0, "/a/b c/x") == b"x"


def test_a_host_without_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assembler.host.programs.search_path", lambda: os.fspath(tmp_path))
    (tmp_path / "disk").touch()
    with pytest.raises(HostError) as caught:
        GrubReader(tmp_path / "disk", tmp_path)
    assert str(caught.value) == (
        "asking GRUB for file systems: the program grub-fstest is not on PATH: "
        "it is in the package grub-common (Debian) or grub2 (nixpkgs)"
    )


@pytest.mark.parametrize(("clock", "date"), [(0, 0), (0xBF7D, (2107 - 1980) << 9 | 12 << 5 | 31)])
def test_times_that_grub_does_not_show(tmp_path: Path, clock: int, date: int) -> None:
    """FAT's times go from 1980 to 2107, and 0 is none; GRUB leaves out those from 2038 on."""
    image = tmp_path / "disk"
    build(
        image,
        Table.EFI,
        {"/x": b""},
        esp={"/EFI/BOOT/BOOTX64.EFI": b"x", "/EFI/BOOT/a b.conf": b"xy"},
    )
    data = image.read_bytes()
    for name in (b"BOOTX64 EFI", b"BOOT       "):
        at = data.index(name) + 22
        with image.open("r+b") as file:
            file.seek(at)
            file.write(struct.pack("<HH", clock, date))
    reader = GrubReader(image, tmp_path)
    assert [name.upper() for name in reader.names(1, "/EFI")] == ["BOOT/"]
    names = sorted(name.upper() for name in reader.names(1, "/EFI/BOOT"))
    assert names == ["A B.CONF", "BOOTX64.EFI"]


@pytest.mark.parametrize("path", ["/a/fi\0le", "/" + "a" * 5000, "/" + "ü" * 60_000, "/\udcff"])
def test_paths_that_no_file_has(reader: GrubReader, path: str) -> None:
    for number in (1, 2):
        with pytest.raises(UnreadableError):
            reader.read(number, path)
        assert not reader.exists(number, path)
        assert reader.names(number, path) == []


def test_a_file_that_claims_to_be_huge(tmp_path: Path) -> None:
    """A sparse file may claim more bytes than the disk has: no copy of it is made."""
    image = tmp_path / "disk"
    build(image, Table.EFI, {"/huge": b"x"})
    debugfs(image, 2, "set_inode_field /huge size 1099511627776")
    reader = GrubReader(image, tmp_path)
    with pytest.raises(UnreadableError, match=r"it is larger than "):
        reader.copy(2, "/huge")
    with pytest.raises(UnreadableError, match=r"it is larger than "):
        reader.read(2, "/huge")
    assert sum(file.stat().st_size for file in tmp_path.glob("file-[0-9]*")) == 0


def test_reading_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "disk"
    build(image, Table.EFI, FILES)
    reader = GrubReader(image, tmp_path)
    tool = tmp_path / "grub-fstest"
    runs = tmp_path / "runs"
    tool.write_text(f"#!/bin/sh\necho run >> {runs}\nexec sleep 60\n")
    tool.chmod(0o755)
    monkeypatch.setattr("assembler.host.programs.search_path", lambda: f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(reader, "_limit", 1)
    for _ in range(100):
        with pytest.raises(TooSlowError, match=r"grub-fstest did not end within 1 seconds"):
            reader.read(1, "/a/file")
    assert runs.read_text() == "run\n"  # not a hundred times as long


def test_the_number_of_reads_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "disk"
    build(image, Table.EFI, FILES)
    monkeypatch.setattr("assembler.check.grub_reader._MAX_RUNS", 3)
    reader = GrubReader(image, tmp_path)
    assert not reader.exists(2, "/1")
    assert not reader.exists(2, "/2")
    with pytest.raises(TooSlowError, match="more than 3 files are asked for"):
        reader.exists(2, "/3")
