"""Files in output formats that are cut or damaged, or have something after their end.

Without these tests, half of an image could pass for a whole one, or a bad one end in a traceback.
"""

import gzip
import os
import random
import shutil
import struct
from pathlib import Path

import pytest

from assembler.check.image import check_image
from assembler.check.unpack import unpack_image
from assembler.disk.tables import Table
from assembler.errors import HostError
from assembler.formats.registry import FORMATS
from assembler.units import KIB, MIB
from tests.formats.test_formats import SIZE
from tests.support.boot_images import make as make_disk
from tests.support.damage import Whole, faults_of
from tests.support.helpers import output

_PACKED = [name for name in FORMATS if name != "raw"]
_CUTS = ("-1", "-512", "-513", "half", "600")
# An OVA has more zeros at its end than it needs, and half a fixed VHD is a raw image.
_HARMLESS = {("ova", "-512"), ("vhd", "-512"), ("vhd", "-513"), ("vhd", "half"), ("vhd", "600")}


@pytest.mark.parametrize(
    ("name", "rest"),
    [(name, rest) for name in _PACKED for rest in _CUTS if (name, rest) not in _HARMLESS],
)
def test_a_file_that_is_cut(whole: Whole, tmp_path: Path, name: str, rest: str) -> None:
    """One fault in one line, which names no file of ours."""
    file = tmp_path / "cut"
    shutil.copy(whole(name), file)
    size = file.stat().st_size
    os.truncate(file, size // 2 if rest == "half" else size + int(rest) if rest[0] == "-" else 600)
    found = unpack_image(file, file, tmp_path)
    [fault] = found.faults
    assert fault.startswith(f"{found.formats[0]}: ")
    assert "\n" not in fault
    assert str(tmp_path) not in fault


def test_a_fixed_vhd_without_its_footer(tmp_path: Path) -> None:
    """It is a raw image, which its name gives away."""
    disk = tmp_path / "disk.vhd"
    make_disk(disk, Table.EFI, 8 * MIB, 512)
    report = check_image(disk, boots=False)
    assert report.faults[0] == "the name is one for the format vhd, and the format is raw"


@pytest.mark.parametrize("more", [b"x", b"garbage!" * 64])
@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("qcow2", ""),  # its readers find all data by its tables
        ("qcow2-compressed", ""),
        ("vdi", ""),
        ("vhd", "vhd: it has {} bytes more than its footer says"),
        ("vhd-dynamic", "vhd-dynamic: it is cut, or something follows it: "),
        ("vhdx", "vhdx: it is cut, or something follows it: "),
        ("vmdk-stream", "vmdk-stream: "),
        ("gce", "gce: something that is not gzip's follows the data"),
        ("raw.gz", "raw.gz: something that is not gzip's follows the data"),
        ("raw.zst", "raw.zst: "),
        ("raw.xz", "raw.xz: "),
        ("ova", "ova: something that is no member follows its last member"),
        ("vma", "vma: "),
    ],
)
def test_something_after_the_end(
    whole: Whole, tmp_path: Path, name: str, fault: str, more: bytes
) -> None:
    file = tmp_path / "longer"
    file.write_bytes(whole(name).read_bytes() + more)
    faults = faults_of(file)
    assert len(faults) == bool(fault)
    assert all(one.startswith(fault.format(len(more))) for one in faults)


@pytest.mark.parametrize("lost", [1, 512, 4 * KIB, 32 * KIB])
def test_a_compressed_qcow2_that_is_cut(tmp_path: Path, lost: int) -> None:
    """qemu-img takes what is missing for zeros, and converts it to another disk."""
    raw, file = tmp_path / "raw", tmp_path / "cut"
    raw.write_bytes(random.Random(1).randbytes(MIB).hex().encode())
    output("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", raw, file)
    os.truncate(file, (size := file.stat().st_size) - lost)
    output("qemu-img", "check", file)
    expected = f"qcow2: it is cut: it has {size - lost} bytes, and its data ends at byte {size}"
    assert faults_of(file) == [expected]


def with_footer(stream: bytes) -> bytes:
    """A stream whose directory is known from a footer, as VMware writes it."""
    marker = struct.pack("<QII", 1, 0, 3).ljust(512, b"\0")
    footer, nothing = stream[:512], bytes(512)
    return stream[:56] + b"\xff" * 8 + stream[64:] + marker + footer + nothing


@pytest.mark.parametrize("lost", [0, 512, 1024, 1536])
def test_a_stream_with_a_footer(whole: Whole, tmp_path: Path, lost: int) -> None:
    data = with_footer(whole("vmdk-stream").read_bytes())
    file = tmp_path / "stream"
    file.write_bytes(data)
    output("qemu-img", "check", "-f", "vmdk", file)
    os.truncate(file, len(data) - lost)
    words = "it is cut, or something follows it: its footer is not at its end"
    assert faults_of(file) == ([f"vmdk-stream: {words}"] if lost else [])


@pytest.mark.parametrize(
    ("name", "place", "fault"),
    [
        ("vhd", -512 + 28, "the check sum of its footer is wrong"),
        ("vhd-dynamic", -512 + 28, "the footer at its end is not the copy at its start"),
        ("vhd-dynamic", 512 + 36, "the check sum of its header is wrong"),
        ("vhd-dynamic", 28, "Incorrect header checksum"),
        ("vhd-dynamic", -512, "it is cut, or something follows it: its footer is not at its end"),
        ("raw.gz", -6, "CRC check failed"),
        ("raw.gz", 70_000, ""),
    ],
)
def test_one_wrong_bit(whole: Whole, tmp_path: Path, name: str, place: int, fault: str) -> None:
    data, file = bytearray(whole(name).read_bytes()), tmp_path / "wrong"
    data[place] ^= 1
    file.write_bytes(data)
    [found] = faults_of(file)
    assert found.startswith(f"{name}: {fault}")


def test_a_fixed_vhd_of_which_the_middle_is_missing(whole: Whole, tmp_path: Path) -> None:
    data, file = whole("vhd").read_bytes(), tmp_path / "shorter"
    file.write_bytes(data[:MIB] + data[2 * MIB :])
    words = f"it is cut: it has {SIZE - MIB + 512} bytes, and its data ends at byte {SIZE + 512}"
    assert faults_of(file) == [f"vhd: {words}"]


def test_a_fixed_vhd_takes_no_room_for_its_holes(whole: Whole, tmp_path: Path) -> None:
    found = unpack_image(whole("vhd"), whole("vhd"), tmp_path)
    assert found.raw is not None
    assert (found.raw.stat().st_size, found.faults) == (SIZE, ())
    assert found.raw.stat().st_blocks * 512 < 2 * MIB


@pytest.mark.parametrize("name", _PACKED)
def test_no_room_for_the_disk(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """TMPDIR is named before anything is written there."""
    monkeypatch.setattr("assembler.host.room.free", lambda _: 100 * KIB)
    with pytest.raises(HostError, match=r"^TMPDIR \(.*\) has 100\.0 KiB free, and .* are needed"):
        unpack_image(whole(name), whole(name), tmp_path)


@pytest.mark.parametrize("name", ["gce", "raw.gz"])
def test_what_gzip_packed_is_read_without_programs(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    file = whole(name)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert unpack_image(file, file, tmp_path).faults == ()


@pytest.mark.parametrize("name", ["qcow2", "raw.zst"])
def test_a_program_that_is_missing(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    file = whole(name)
    monkeypatch.setattr("assembler.host.programs.search_path", lambda: str(tmp_path))
    monkeypatch.setattr("assembler.host.process.search_path", lambda: str(tmp_path))
    with pytest.raises(HostError) as caught:
        unpack_image(file, file, tmp_path)
    [line] = caught.value.lines
    assert f"the program {FORMATS[name].programs[0]} is not on PATH: it is in the package " in line


NAMES = ["a b", "-x", "new\nline", "json:{}", "nbd:x", "a,b=c", "a:b", "%s", "é", "x.tar"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("made", ["qcow2", "vhd", "ova"])
def test_any_name(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, made: str
) -> None:
    """Tools take some names for protocols or options, above all those of the current directory."""
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    file = Path(name)
    shutil.copy(whole(made), file)
    found = unpack_image(file.absolute(), file, tmp_path)
    assert (found.formats, found.faults) == ((made,), ())
    os.truncate(file, 9000)
    assert len(unpack_image(file.absolute(), file, tmp_path).faults) == (made != "vhd")


def test_a_whole_disk_with_an_odd_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw, file = tmp_path / "raw", Path("json:{a b},\n.qcow2")
    make_disk(raw, Table.EFI, 8 * MIB, 512)
    monkeypatch.chdir(tmp_path)
    output("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, tmp_path / "out")
    (tmp_path / "out").rename(file)
    report = check_image(file, boots=False)
    assert report.formats == ("qcow2",)
    assert report.size == raw.stat().st_size


@pytest.mark.parametrize("outer", ["raw.gz", "raw.xz", "raw.zst"])
@pytest.mark.parametrize("inner", ["qcow2", "vhd", "vmdk-stream", "ova", "vma", "gce"])
def test_formats_in_one_another(whole: Whole, tmp_path: Path, outer: str, inner: str) -> None:
    """A fault has the name of its format; what a cut one holds is not looked at."""
    file, program = tmp_path / "x", {"raw.gz": "gzip", "raw.xz": "xz", "raw.zst": "zstd"}[outer]
    data = whole(inner).read_bytes()
    file.write_bytes(output(program, "-1", "-c", stdin=data))
    found = unpack_image(file, file, tmp_path)
    assert (found.formats, found.faults) == ((outer, inner), ())
    file.write_bytes(output(program, "-1", "-c", stdin=data[: len(data) - 9]))
    [fault] = unpack_image(file, file, tmp_path).faults
    assert fault.startswith(f"{inner}: ")
    os.truncate(file, file.stat().st_size // 2)
    [fault] = unpack_image(file, file, tmp_path).faults
    assert fault.startswith(f"{outer}: ")


def test_formats_without_end(whole: Whole, tmp_path: Path) -> None:
    file, data = tmp_path / "x", whole("raw.gz").read_bytes()
    for _ in range(5):
        data = gzip.compress(data, 1)
    file.write_bytes(data)
    assert unpack_image(file, file, tmp_path).formats == ("raw.gz",) * 3


def test_a_file_that_names_another_is_not_opened(tmp_path: Path) -> None:
    """It could be any that the user may read."""
    file = tmp_path / "overlay"
    output("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "/etc/passwd", file)
    [fault] = unpack_image(file, file, tmp_path).faults
    assert fault == "qcow2: it has no disk of its own: it names another file (backing-filename)"
