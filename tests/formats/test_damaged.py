"""check-image takes files in output formats that are cut, damaged, or misnamed.

Without these tests, half of an image could pass for a whole one, or a bad one end in a traceback.
"""

import gzip
import io
import os
import random
import shutil
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from assembler.check.image import check_image
from assembler.check.unpack import unpack_image
from assembler.disk.tables import Table
from assembler.formats.registry import FORMATS
from assembler.units import MIB
from tests.formats.test_formats import make
from tests.support.boot_images import make as make_disk
from tests.support.helpers import output

SIZE = 24 * MIB
_PACKED = [name for name in FORMATS if name != "raw"]
Whole = Callable[[str], Path]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A file in a format, made once; its data goes to the end of the disk."""
    top = tmp_path_factory.mktemp("whole")
    raw, drawn = top / "image", random.Random(1)
    with raw.open("wb") as file:
        file.truncate(SIZE)
        for place in (0, 5 * MIB, SIZE - 300_032):
            file.seek(place)
            file.write(drawn.randbytes(300_032))

    def get(name: str) -> Path:
        made = top / name
        return made if made.exists() else make(raw, made, FORMATS[name])

    return get


@pytest.mark.parametrize("rest", ["-1", "-513", "half", "600"])
@pytest.mark.parametrize("name", [name for name in _PACKED if name != "vhd"])
def test_a_file_that_is_cut(whole: Whole, tmp_path: Path, name: str, rest: str) -> None:
    """One fault in one line, which names no file of ours."""
    file = tmp_path / "cut"
    shutil.copy(whole(name), file)
    size = file.stat().st_size
    os.truncate(file, {"-1": size - 1, "-513": size - 513, "half": size // 2, "600": 600}[rest])
    found = unpack_image(file, file, tmp_path)
    [fault] = found.faults
    assert fault.startswith(f"{found.formats[0]}: ")
    assert "\n" not in fault
    assert str(tmp_path) not in fault


def test_a_fixed_vhd_that_is_cut(tmp_path: Path) -> None:
    """Without its footer it is a raw image, which its name gives away."""
    disk = tmp_path / "disk.vhd"
    make_disk(disk, Table.EFI, 8 * MIB, 512)
    report = check_image(disk, boots=False)
    assert report.faults[0] == "the name is one for the format vhd, and the format is raw"


def pack(file: Path, *members: tuple[str, bytes], kind: int = tarfile.GNU_FORMAT) -> Path:
    with tarfile.open(file, "w:gz", format=kind) as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file


def test_what_google_does_not_take(tmp_path: Path) -> None:
    """Another tar than the old one of GNU's, and more than the disk in it."""
    disk = ("disk.raw", b"x" * 2048)
    for number, (members, kind, words) in enumerate(
        (
            ([disk], tarfile.GNU_FORMAT, []),
            ([disk], tarfile.USTAR_FORMAT, ["gce: the tar in it is not in the format oldgnu"]),
            ([disk, ("b", b"")], tarfile.GNU_FORMAT, ["gce: the tar in it has more than disk.raw"]),
        )
    ):
        file = pack(tmp_path / f"{number}.tar.gz", *members, kind=kind)
        (scratch := tmp_path / str(number)).mkdir()
        found = unpack_image(file, file, scratch)
        assert [*found.faults] == words
        assert found.raw is not None
        assert found.raw.read_bytes() == disk[1]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (b'ovf:size="', b'ovf:size="9', "its description says that nixos-disk1.vmdk has 9"),
        (b'ovf:capacity="', b'ovf:capacity="9', "its description has a disk of 9"),
        (b"<Disk ", b"<Disc ", "its description has no disk with a file"),
        (b"</Envelope>", b"</Envelopes>", "its description is no XML: "),
        (b'nixos-disk1.vmdk" ovf:size', b'other.vmdk" ovf:size', "it has no other.vmdk"),
        (
            b"SHA256(nixos-disk1.vmdk)= ",
            b"SHA256(nixos-disk1.vmdk)= 0",
            "nixos-disk1.vmdk has another",
        ),
        (b"SHA256(nixos-disk1.vmdk)= ", b"MD4(nixos-disk1.vmdk)= ", "its manifest has a line that"),
        (b"SHA256(nixos.ovf)= ", b"SHA256(nixos.mf)= ", "its manifest does not list nixos.ovf"),
    ],
)
def test_an_ova_whose_members_contradict_one_another(
    whole: Whole, tmp_path: Path, old: bytes, new: bytes, fault: str
) -> None:
    file = tmp_path / "changed"
    with tarfile.open(whole("ova")) as archive, tarfile.open(file, "w:") as changed:
        for member in archive:
            reader = archive.extractfile(member)
            assert reader is not None
            data = reader.read()
            if not member.name.endswith("vmdk"):
                data = data.replace(old, new)
            member.size = len(data)
            changed.addfile(member, io.BytesIO(data))
    faults = unpack_image(file, file, tmp_path).faults
    assert any(one.startswith(f"ova: {fault}") for one in faults), faults


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("no disk", "vma: it has no disk"),
        ("too large", "vma: its disk is too large for a file"),
        ("another archive", "vma: an extent of another archive is in it"),
        ("no clusters", "vma: it has 0 clusters of the disk, not "),
        ("a cluster twice", "vma: it has cluster 0 of the disk twice"),
    ],
)
def test_a_vma_that_anybody_made(whole: Whole, tmp_path: Path, change: str, fault: str) -> None:
    """Its check sums are right, as a program would make them."""
    data = bytearray(whole("vma").read_bytes())
    device, (length,) = 4096 + 32 + 0, struct.unpack_from(">I", data, 56)
    extents = data[length:]
    if change == "no disk":
        data[device : device + 32] = bytes(32)
    elif change == "too large":
        struct.pack_into(">Q", data, device + 8, (1 << 64) - 1)
    elif change == "another archive":
        data[8] ^= 1
    elif change == "a cluster twice":  # in place of the next one; the extent's own digest is right
        extents[40 + 8 + 4 : 40 + 8 + 8] = bytes(4)
        extents[24:40] = bytes(16)
        extents[24:40] = md5(extents[:512])
    data[32:48] = bytes(16)
    data[32:48] = md5(data[:length])
    file = tmp_path / "vma"
    file.write_bytes(data[:length] if change == "no clusters" else data[:length] + extents)
    [found] = unpack_image(file, file, tmp_path).faults
    assert found.startswith(fault)


def md5(data: bytes | bytearray) -> bytes:
    return bytes.fromhex(output("md5sum", stdin=bytes(data)).split()[0].decode())


@pytest.mark.parametrize("name", ["a b", "-x", "new\nline", "json:{}", "nbd:x", "a,b=c", "%s", "é"])
def test_any_name(whole: Whole, tmp_path: Path, name: str) -> None:
    """Tools take some names for protocols or options."""
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / name
    shutil.copy(whole("qcow2"), file)
    with pytest.raises(Exception, match=r"is not a raw disk image|no partition table"):
        check_image(file)


def test_formats_in_one_another(whole: Whole, tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(gzip.compress(whole("qcow2").read_bytes(), 1))
    found = unpack_image(file, file, tmp_path)
    assert (found.formats, found.faults) == (("raw.gz", "qcow2"), ())


def test_a_file_that_names_another_is_not_opened(tmp_path: Path) -> None:
    """It could be any that the user may read."""
    file = tmp_path / "overlay"
    output("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "/etc/passwd", file)
    [fault] = unpack_image(file, file, tmp_path).faults
    assert fault == "qcow2: it has no disk of its own: it names another file (backing-filename)"
