"""Google's archive, OVA and VMA whose parts contradict one another, or are not as their takers ask.

Without these tests, check-image would call an archive sound that a cloud or hypervisor refuses.
"""

import gzip
import io
import struct
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from assembler.check.unpack import unpack_image
from assembler.errors import HostError
from assembler.units import KIB
from tests.support.damage import Whole, faults_of
from tests.support.helpers import output

_NOT_OLD = "gce: the tar in it is not in the format oldgnu"


def gnu_tar(top: Path, *options: str) -> Path:
    """An archive that GNU tar makes of files in a directory."""
    out = top / "out.tar.gz"
    output("tar", "-C", top, "-czf", out, *options)
    return out


@pytest.mark.parametrize("sparse", [[], ["-S"]], ids=["", "sparse"])
@pytest.mark.parametrize("kind", ["gnu", "oldgnu", "ustar", "pax", "v7"])
def test_google_takes_gnus_older_format(tmp_path: Path, kind: str, sparse: list[str]) -> None:
    """ustar and v7 have no sparse files."""
    if sparse and kind in ("ustar", "v7"):
        return
    disk = bytes(100 * KIB) + b"x" * 2048 + bytes(100 * KIB)
    (tmp_path / "disk.raw").write_bytes(disk)
    file = gnu_tar(tmp_path, f"--format={kind}", *sparse, "disk.raw")
    found = unpack_image(file, file, tmp_path)
    assert (found.formats, list(found.faults)) == (("gce",), [] if "gnu" in kind else [_NOT_OLD])
    assert found.raw is not None
    assert found.raw.read_bytes() == disk


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        (["disk.raw", "other"], "the tar in it has more than disk.raw"),
        (["other"], "the first member of the tar in it is 'other', not disk.raw"),
        (["./disk.raw"], "the first member of the tar in it is './disk.raw', not disk.raw"),
        (["other", "disk.raw"], "the first member of the tar in it is 'other', not disk.raw"),
        (["."], "the first member of the tar in it is not a file disk.raw"),
    ],
)
def test_google_takes_one_member(tmp_path: Path, members: list[str], fault: str) -> None:
    (top := tmp_path / "top").mkdir()
    for name in ("disk.raw", "other"):
        (top / name).write_bytes(b"x" * 2048)
    packed = output("tar", "-C", top, "-cz", "--format=oldgnu", *members)
    file = tmp_path / "out"
    file.write_bytes(packed)
    assert faults_of(file) == [f"gce: {fault}"]


def before_the_zeros(tar: bytes) -> bytes:
    return tar.rstrip(b"\0").ljust(-(-len(tar.rstrip(b"\0")) // 512) * 512, b"\0")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda tar: tar[: len(tar) // 2], "the tar in it is damaged: unexpected end of data"),
        (before_the_zeros, "the tar in it is cut: its end is missing"),
        (lambda tar: tar + b"x" * 512, "something follows the last member of the tar in it"),
        (lambda tar: b"disk.raw\0x" + tar[10:], "the tar in it is damaged: bad checksum"),
    ],
)
def test_a_damaged_tar_in_gzip(
    whole: Whole, tmp_path: Path, change: Callable[[bytes], bytes], fault: str
) -> None:
    file = tmp_path / "changed"
    file.write_bytes(gzip.compress(change(gzip.decompress(whole("gce").read_bytes())), 1))
    assert faults_of(file) == [f"gce: {fault}"]


def test_a_tar_whose_sparse_file_is_endless(tmp_path: Path) -> None:
    """It takes no time: nothing is written for a hole."""
    header = bytearray(tarfile.TarInfo("disk.raw").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"
    header[483:495] = b"\x80\0\0\0\x7f" + b"\xff" * 7  # base 256
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    file = tmp_path / "endless"
    file.write_bytes(gzip.compress(bytes(header) + bytes(1024)))
    done = subprocess.run(["tar", "-tvzf", file], capture_output=True, text=True)
    assert " 9223372036854775807 " in done.stdout
    with pytest.raises(HostError, match=r"^TMPDIR .* takes no file of 8388608"):
        faults_of(file)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (b'ovf:size="', b'ovf:size="9', "its description has 9"),
        (b'ovf:capacity="', b'ovf:capacity="9', "its description has a disk of 9"),
        (b"<Disk ", b"<Disc ", "its description has no disk with a file"),
        (b"</Envelope>", b"</Envelopes>", "its description is no XML: "),
        (b'nixos-disk1.vmdk" ovf:size', b'other.vmdk" ovf:size', "it has no 'other.vmdk'"),
        (
            b"SHA256(nixos-disk1.vmdk)= ",
            b"SHA256(nixos-disk1.vmdk)= 0",
            "'nixos-disk1.vmdk' has another",
        ),
        (b"SHA256(nixos-disk1.vmdk)= ", b"MD4(nixos-disk1.vmdk)= ", "its manifest has a line that"),
        (b"SHA256(nixos.ovf)= ", b"SHA256(nixos.mf)= ", "its manifest does not list 'nixos.ovf'"),
    ],
)
def test_an_ova_whose_members_contradict_one_another(
    whole: Whole, tmp_path: Path, old: bytes, new: bytes, fault: str
) -> None:
    file = change_members(
        whole("ova"),
        tmp_path,
        lambda name, data: data if name.endswith("vmdk") else data.replace(old, new),
    )
    faults = faults_of(file)
    assert any(one.startswith(f"ova: {fault}") for one in faults), faults


def test_an_ova_that_lost_the_end_of_its_tar(whole: Whole, tmp_path: Path) -> None:
    file = tmp_path / "cut"
    file.write_bytes(before_the_zeros(whole("ova").read_bytes()))
    assert faults_of(file) == ["ova: it is cut: the end of the tar is missing"]


def test_an_ova_whose_vmdk_is_cut(whole: Whole, tmp_path: Path) -> None:
    """The tar around it is whole, and has no manifest."""
    file = change_members(
        whole("ova"), tmp_path, lambda name, data: data[:-4096] if "vmdk" in name else data, "mf"
    )
    [fault] = faults_of(file)
    assert fault.startswith("ova: 'nixos-disk1.vmdk': it is cut: it has ")


def test_an_ova_with_a_vmdk_that_is_no_stream(whole: Whole, tmp_path: Path) -> None:
    other = whole("vmdk").read_bytes()
    file = change_members(
        whole("ova"), tmp_path, lambda name, data: other if "vmdk" in name else data, "mf"
    )
    faults = faults_of(file)
    assert "ova: 'nixos-disk1.vmdk': it is not a stream-optimised VMDK" in faults


def change_members(
    ova: Path, top: Path, change: Callable[[str, bytes], bytes], without: str = "nothing"
) -> Path:
    """A copy of an OVA with other members, and without those of one ending."""
    file = top / "changed"
    with tarfile.open(ova) as archive, tarfile.open(file, "w:") as changed:
        for member in archive:
            reader = archive.extractfile(member)
            assert reader is not None
            data = change(member.name, reader.read())
            member.size = len(data)
            if not member.name.endswith(without):
                changed.addfile(member, io.BytesIO(data))
    return file


HEADER, FIRST = 4096 + 32, 40  # places of the first device, and of an extent's list


def update(data: bytearray, start: int, length: int, place: int) -> None:
    """Set the MD5 in a header of a VMA, as a program would."""
    data[start + place : start + place + 16] = bytes(16)
    summed = output("md5sum", stdin=bytes(data[start : start + length])).split()[0].decode()
    data[start + place : start + place + 16] = bytes.fromhex(summed)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("no disk", "it has no disk"),
        ("too large", "it is cut: it has room for "),
        ("another archive", "an extent of another archive is in it"),
        ("no clusters", "it is cut: it has room for 0 clusters of the disk, not 256"),
        ("one extent less", "59 of the 256 clusters of the disk are missing"),
        ("a cluster twice", "it has the cluster 9 of the disk twice"),
        ("a cluster beyond", "it has data beyond the end of the disk"),
        ("blocks", "the header of an extent has another number of blocks than it lists"),
        ("sum", "the check sum of a header is wrong"),
        ("garbage", "something that is no extent is in it, or follows its end"),
    ],
)
def test_a_vma_that_anybody_made(whole: Whole, tmp_path: Path, change: str, fault: str) -> None:
    """Its check sums are right, but for one."""
    data = bytearray(whole("vma").read_bytes())
    (start,) = struct.unpack_from(">I", data, 56)  # of the first extent
    last = data.rindex(b"VMAE", 0, data.rindex(b"VMAE"))
    match change:
        case "no disk":
            data[HEADER : HEADER + 32] = bytes(32)
        case "too large":
            struct.pack_into(">Q", data, HEADER + 8, (1 << 64) - 1)
        case "another archive":
            data[8] ^= 1
        case "no clusters":
            del data[start:]
        case "one extent less":
            del data[last : data.rindex(b"VMAE")]
            data += bytes(0)
        case "a cluster twice":
            struct.pack_into(">I", data, start + FIRST + 8 * 10 + 4, 9)
        case "a cluster beyond":
            struct.pack_into(">I", data, start + FIRST + 8 * 10 + 4, 384)
        case "blocks":
            data[start + 7] ^= 1
        case "garbage":
            data += bytes(512)
    update(data, 0, start, 32)
    if len(data) > start:
        update(data, start, 512, 24)
    data[start + 24 if change == "sum" else 0] ^= change == "sum"
    file = tmp_path / "vma"
    file.write_bytes(data)
    [found] = faults_of(file)
    assert found.startswith(f"vma: {fault}")
