"""Every output format holds the disk as other programs read it, and the same bytes in every run.

Without these tests, a cloud could refuse an image, or get another one than was checked.
"""

import gzip
import os
import random
import re
import shutil
import subprocess
from pathlib import Path
from uuid import UUID
from xml.etree import ElementTree

import pytest
from dissect.archive.vma import VMA
from dissect.hypervisor.descriptor.ovf import OVF
from dissect.hypervisor.disk.qcow2 import QCow2
from dissect.hypervisor.disk.vdi import VDI
from dissect.hypervisor.disk.vhd import VHD
from dissect.hypervisor.disk.vhdx import VHDX
from dissect.hypervisor.disk.vmdk import VMDK

from assembler.errors import DamagedError, HostError
from assembler.formats import gce
from assembler.formats.format import Disk, Format
from assembler.formats.registry import FORMATS, recognised
from assembler.formats.vhdx import crc32c
from assembler.host.output import open_output
from assembler.host.progress import Step
from assembler.units import KIB, MIB
from tests.support.clock import wait_for_tick
from tests.support.helpers import output
from tests.support.places import AsRoot

SIZE = 16 * MIB
XZ_BLOCK = 24 * MIB  # three times the dictionary (xz(1), --block-size)
DRIVERS = {
    "qcow2": "qcow2",
    "qcow2-compressed": "qcow2",
    "vhd": "vpc",
    "vhd-dynamic": "vpc",
    "vhdx": "vhdx",
    "vmdk": "vmdk",
    "vmdk-stream": "vmdk",
    "vdi": "vdi",
}
UNPACK = {"raw.zst": "zstd", "raw.gz": "gzip", "raw.xz": "xz"}
DISSECT = {"qcow2": QCow2, "vpc": VHD, "vhdx": VHDX, "vmdk": VMDK, "vdi": VDI}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sparse file: data between holes, zeros that are written, and a part that repeats."""
    path = tmp_path_factory.mktemp("raw") / "image"
    drawn = random.Random(1)
    with path.open("wb") as file:
        file.truncate(SIZE)
        for place in (0, 100 * KIB, 5 * MIB, 9 * MIB + 512, SIZE - 512):
            file.seek(place)
            file.write(drawn.randbytes(min(300 * KIB, SIZE - place)))
        file.seek(12 * MIB)
        file.write(bytes(2 * MIB) + b"the same" * (64 * KIB))
    return path


def make(
    raw: Path, out: Path, made: Format, epoch: int = 1, *, bios: bool = True, efi: bool = True
) -> Path:
    """Write `raw` in a format, as `assemble` does."""
    copy = out.with_name("copy")  # since a format may empty it
    output("cp", "--sparse=always", raw, copy)
    disk = Disk(
        image=copy,
        size=raw.stat().st_size,
        uuid=lambda what: UUID(bytes=what.ljust(16).encode()[:16]),
        epoch=epoch,
        bios=bios,
        efi=efi,
    )
    with open_output(out) as opened:
        if made.in_place:
            assert opened.path is not None
            output("cp", "--sparse=always", raw, opened.path)
        made.write(disk, opened, Step(None))
    return out


def of(*names: str) -> "pytest.MarkDecorator":
    """The test is for some formats."""
    return pytest.mark.parametrize("made", [FORMATS[name] for name in names], ids=str)


@of(*FORMATS)
def test_the_same_bytes_under_any_name_at_any_time(raw: Path, tmp_path: Path, made: Format) -> None:
    first = make(raw, tmp_path / "a", made)
    wait_for_tick()
    (tmp_path / "other").mkdir()
    second = make(raw, tmp_path / "other" / "ano ther", made)
    assert first.read_bytes() == second.read_bytes()


@of(*UNPACK, "gce")
def test_the_number_of_processors_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Format
) -> None:
    """Whatever number the host of these tests has; xz has work for two threads at least."""
    raw, blocks, drawn, files = tmp_path / "raw", 2, random.Random(1), list[bytes]()
    with raw.open("wb") as file:
        file.truncate(blocks * XZ_BLOCK)
        for place in range(0, blocks * XZ_BLOCK, XZ_BLOCK):
            file.seek(place)
            file.write(drawn.randbytes(100 * KIB))
    for count in (1, 5):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, count=count: range(count))
        files.append(make(raw, tmp_path / str(count), made).read_bytes())
    assert files[0] == files[1]
    if made.name == "raw.xz":
        listed = output("xz", "--robot", "--list", tmp_path / "5").decode().splitlines()
        assert listed[1].split()[2] == str(blocks)


@of(*DRIVERS)
def test_qemu_and_dissect_read_the_disk(raw: Path, tmp_path: Path, made: Format) -> None:
    out, driver = make(raw, tmp_path / "out", made), DRIVERS[made.name]
    output("qemu-img", "compare", "-f", "raw", "-F", driver, raw, out)
    if driver != "vpc":  # which has nothing to check
        output("qemu-img", "check", "-f", driver, out)
    with out.open("rb") as file:
        reader = DISSECT[driver](file)
        stream = reader.open() if hasattr(reader, "open") else reader
        # One block at a time: more than one, dissect.hypervisor 3.21 misreads from a VDI.
        assert b"".join(iter(lambda: stream.read(MIB), b"")) == raw.read_bytes()


@of(*UNPACK)
def test_the_compressor_unpacks_the_disk(raw: Path, tmp_path: Path, made: Format) -> None:
    out = make(raw, tmp_path / "out", made)
    assert output(UNPACK[made.name], "-dc", stdin=out.read_bytes()) == raw.read_bytes()


@of(*(name for name in FORMATS if name != "raw"))
def test_what_is_written_is_recognised_and_unpacked(
    raw: Path, tmp_path: Path, made: Format
) -> None:
    out = make(raw, tmp_path / "out", made)
    found = recognised(out)
    assert found is not None
    # Whether the clusters of a QCOW2 are compressed is not in its header.
    assert found.name == {"qcow2-compressed": "qcow2"}.get(made.name, made.name)
    assert found.unpack(out, tmp_path / "unpacked") == []
    assert (tmp_path / "unpacked").read_bytes() == raw.read_bytes()
    assert (tmp_path / "unpacked").stat().st_blocks * 512 < SIZE // 2


@of("vma")
def test_a_damaged_vma(raw: Path, tmp_path: Path, made: Format) -> None:
    out = make(raw, tmp_path / "out", made)
    whole = out.read_bytes()
    extent = whole.index(b"VMAE")
    for place, end in ((100, None), (extent + 50, None), (None, len(whole) - 5000)):
        broken = bytearray(whole)[:end]
        if place is not None:
            broken[place] ^= 1
        out.write_bytes(broken)
        with pytest.raises(DamagedError):
            made.unpack(out, tmp_path / "unpacked")


def test_a_qcow2_with_a_leak(raw: Path, tmp_path: Path) -> None:
    """`qemu-img check` finds it."""
    out = make(raw, tmp_path / "out", FORMATS["qcow2"])
    with out.open("r+b") as file:
        file.seek(48)  # refcount_table_offset (docs/interop/qcow2.txt)
        table = int.from_bytes(file.read(8), "big")
        file.seek(table)
        block = int.from_bytes(file.read(8), "big")
        file.seek(block + 2 * 5)  # of a cluster that is used once
        file.write(b"\0\2")
    [words] = FORMATS["qcow2"].unpack(out, tmp_path / "unpacked")
    assert words.startswith("qemu-img check: Leaked cluster")


def test_a_zstd_frame_has_the_size(raw: Path, tmp_path: Path) -> None:
    out = make(raw, tmp_path / "out.zst", FORMATS["raw.zst"])
    assert f"Decompressed Size: 16.0 MiB ({SIZE} B)" in output("zstd", "-lv", out).decode()


def test_a_vhd_is_as_azure_takes_it(raw: Path, tmp_path: Path) -> None:
    """A footer behind a whole number of MiB, and of fixed size; libvhdi reads the footer."""
    out = make(raw, tmp_path / "out.vhd", FORMATS["vhd"], epoch=946_684_805)
    assert out.stat().st_size == SIZE + 512
    printed = output("vhdiinfo", out).decode()
    assert re.search(r"Disk type\s*: Fixed", printed)
    assert f"({SIZE} bytes)" in printed
    footer = out.read_bytes()[-512:]
    assert footer[:8] == b"conectix"
    assert int.from_bytes(footer[24:28], "big") == 5
    without = footer[:64] + bytes(4) + footer[68:]
    assert int.from_bytes(footer[64:68], "big") == ~sum(without) & 0xFFFFFFFF


def test_a_vhd_that_grows_is_no_fixed_one(raw: Path, tmp_path: Path) -> None:
    """Azure takes fixed ones only; both copies of the footer are the same."""
    out = make(raw, tmp_path / "out.vhd", FORMATS["vhd-dynamic"], epoch=946_684_805)
    printed = output("vhdiinfo", out).decode()
    assert re.search(r"Disk type\s*: Dynamic", printed)
    assert f"({SIZE} bytes)" in printed
    assert out.stat().st_size < SIZE
    content = out.read_bytes()
    assert content[:512] == content[-512:]
    assert int.from_bytes(content[24:28], "big") == 5
    assert recognised(out) is FORMATS["vhd-dynamic"]
    fixed = make(raw, tmp_path / "fixed.vhd", FORMATS["vhd"])
    assert recognised(fixed) is FORMATS["vhd"]


@of("vmdk", "vmdk-stream")
def test_libvmdk_reads_the_descriptor(raw: Path, tmp_path: Path, made: Format) -> None:
    printed = output("vmdkinfo", make(raw, tmp_path / "out.vmdk", made)).decode()
    assert re.search(r"Content identifier\s*:\s*0x564d444b", printed)  # "VMDK"
    assert re.search(r"Filename\s*:\s*disk.vmdk", printed)
    assert f"({SIZE} bytes)" in printed


def test_crc32c_of_the_examples() -> None:
    """Those of RFC 3720, B.4."""
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


@of("qcow2", "raw.zst", "gce")
def test_progress_is_counted_to_the_end(raw: Path, tmp_path: Path, made: Format) -> None:
    class Counted(Step):
        done = 0

        def advance(self, amount: int) -> None:
            assert amount >= 0
            self.done += amount

    step = Counted(None)
    disk = Disk(image=raw, size=SIZE, uuid=lambda _: UUID(int=1), epoch=1, bios=True, efi=True)
    with open_output(tmp_path / "out") as out:
        made.write(disk, out, step)
    assert step.done == SIZE


def test_the_search_for_holes_is_no_progress(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tar reads the disk twice: first for holes, and nothing is packed until it has done so."""
    go, places, looks = tmp_path / "go", list[int](), list[int]()
    os.mkfifo(go)
    pigz = tmp_path / "bin" / "pigz"
    pigz.parent.mkdir()
    pigz.write_text(f'#!/bin/sh\nread line < {go}\nexec {shutil.which("pigz")} "$@"\n')
    pigz.chmod(0o755)
    monkeypatch.setenv("PATH", str(pigz.parent), prepend=os.pathsep)

    class Watched(Step):
        def reach(self, place: int) -> None:
            places.append(place)
            if looks[-1] >= SIZE and go.exists():  # tar waits for pigz with the second reading
                go.write_text("\n")
                go.unlink()

    def look(pid: int) -> int:
        looks.append(bytes_read(pid))
        return looks[-1]

    bytes_read = gce._bytes_read
    monkeypatch.setattr(gce, "_bytes_read", look)
    disk = Disk(image=raw, size=SIZE, uuid=lambda _: UUID(int=1), epoch=1, bios=True, efi=True)
    with open_output(tmp_path / "out") as out:
        FORMATS["gce"].write(disk, out, Watched(None))
    at_the_end_of_the_first = next(n for n, bytes in enumerate(looks) if bytes >= SIZE)
    assert places[at_the_end_of_the_first] < SIZE / 2
    assert places[-1] == SIZE


@of("qcow2", "vdi", "raw.zst", "raw.xz", "vhd", "gce")
def test_a_tool_that_is_killed(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Format
) -> None:
    """One line with the cause; what was there stays, and nothing else is left."""
    for program in made.programs:
        fake = tmp_path / "bin" / program
        fake.parent.mkdir(exist_ok=True)
        fake.write_text("#!/bin/sh\necho half\nkill -9 $$\n")
        fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    place = tmp_path / "place"
    place.mkdir()
    (place / "out").write_text("what was there")
    with pytest.raises(HostError) as failure:
        make(raw, place / "out", made)
    [line] = failure.value.lines
    assert "was killed by signal 9 (SIGKILL), as Linux does when memory runs out: " in line
    assert (place / "out").read_text() == "what was there"
    assert {one.name for one in place.iterdir()} <= {"out", "copy"}


@of("qcow2", "raw.zst")
def test_a_tool_that_reads_without_end(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Format
) -> None:
    """As for a small file that would become terabytes of zeros."""
    out = make(raw, tmp_path / "out", made)
    tool = tmp_path / "bin" / made.programs[-1]
    tool.parent.mkdir()
    work = "sleep 60" if made.driver else "cat /dev/zero"
    tool.write_text(f"#!/bin/sh\nexec {work}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent), prepend=os.pathsep)
    monkeypatch.setattr("assembler.formats.format._SECONDS", 0.2)
    for rate in ("qemu_img._RATE", "compressed._UNPACKED"):
        monkeypatch.setattr(f"assembler.formats.{rate}", 1 << 40)
    with pytest.raises(DamagedError) as caught:
        made.unpack(out, tmp_path / "unpacked")
    [line] = caught.value.lines
    assert " and was stopped: what it reads is damaged" in line


def test_a_disk_that_the_vmdk_in_an_ova_fills(raw: Path, tmp_path: Path, as_root: AsRoot) -> None:
    """It is named, although the VMDK is gone when the run looks."""
    mount = tmp_path / "small"
    mount.mkdir()
    as_root("mount", "-t", "tmpfs", "-o", "size=600k,mode=1777", "tmpfs", mount)
    output("cp", "--sparse=always", raw, tmp_path / "copy")
    image, uuid = tmp_path / "copy", UUID(int=1)
    disk = Disk(image=image, size=SIZE, uuid=lambda _: uuid, epoch=1, bios=True, efi=True)
    try:
        with pytest.raises(HostError) as caught, open_output(mount / "out") as out:
            FORMATS["ova"].write(disk, out, Step(None))
        assert list(mount.iterdir()) == []
    finally:
        as_root("umount", mount)
    [line] = caught.value.lines
    assert line.startswith(f"the disk of out ({mount}) is full: ")


def test_gnu_tar_unpacks_googles_archive(raw: Path, tmp_path: Path) -> None:
    """A sparse member (typeflag S) in the format that Google names."""
    out = make(raw, tmp_path / "out.tar.gz", FORMATS["gce"])
    packed = gzip.decompress(out.read_bytes())
    assert (packed[156:157], packed[257:265]) == (b"S", b"ustar  \0")
    assert len(packed) < SIZE // 2
    [line] = output("tar", "-tvzf", out, "--numeric-owner", "--utc").decode().splitlines()
    assert line.split() == ["-rw-r--r--", "0/0", str(SIZE), "1970-01-01", "00:00", "disk.raw"]
    output("tar", "-xzf", out, "-C", tmp_path)
    assert (tmp_path / "disk.raw").read_bytes() == raw.read_bytes()


@pytest.mark.parametrize("made", FORMATS.values(), ids=str)
def test_any_time_that_linux_has(raw: Path, tmp_path: Path, made: Format) -> None:
    """A field that ends earlier has its last time."""
    make(raw, tmp_path / f"out.{made.endings[0]}", made, epoch=(1 << 63) - 1)


def test_dissect_reads_a_vma(raw: Path, tmp_path: Path) -> None:
    """With its check sums; every cluster is there, because Proxmox misses one that is not."""
    out = make(raw, tmp_path / "out.vma", FORMATS["vma"])
    with out.open("rb") as file:
        archive = VMA(file)
        [device] = archive.devices()
        assert (device.name, device.size) == ("drive-virtio0", SIZE)
        assert device.open().read(SIZE) == raw.read_bytes()
        clusters = [one for extent in archive.extents() for one, *_ in extent.blocks[device.id]]
        assert sorted(clusters) == [*range(SIZE // (64 * KIB))]
        settings = archive.config("qemu-server.conf")
        assert b"\nvirtio0: " in settings
        assert b"\nscsihw: virtio-scsi-single\n" in settings  # as new machines of Proxmox have


def test_a_vma_does_not_read_holes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image, read = tmp_path / "image", list[int]()
    with image.open("wb") as file:
        file.truncate(8 << 30)
        file.seek(5 * MIB + 123)
        file.write(b"data")
        file.seek(8 << 30)
    pread = os.pread

    def counted(handle: int, length: int, place: int) -> bytes:
        read.append(place)
        return pread(handle, length, place)

    monkeypatch.setattr(os, "pread", counted)
    disk = Disk(image=image, size=8 << 30, uuid=lambda _: UUID(int=1), epoch=1, bios=True, efi=True)
    with open_output(tmp_path / "out") as out:
        FORMATS["vma"].write(disk, out, Step(None))
    assert read == [5 * MIB]
    with (tmp_path / "out").open("rb") as file:
        [device] = VMA(file).devices()
        with device.open() as found:
            found.seek(5 * MIB + 120)
            assert found.read(10) == b"\0\0\0data\0\0\0"


@pytest.mark.parametrize(
    ("bios", "efi", "firmware"),
    [(True, True, "seabios"), (True, False, "seabios"), (False, True, "ovmf")],
)
def test_the_firmware_of_a_machine(
    raw: Path, tmp_path: Path, *, bios: bool, efi: bool, firmware: str
) -> None:
    """A disk that only UEFI starts is for a machine with UEFI: Proxmox's and VMware's setting."""
    with make(raw, tmp_path / "x.vma", FORMATS["vma"], bios=bios, efi=efi).open("rb") as file:
        lines = VMA(file).config("qemu-server.conf").decode().splitlines()
    assert [line for line in lines if line.startswith("bios")] == [f"bios: {firmware}"]
    out = make(raw, tmp_path / "x.ova", FORMATS["ova"], bios=bios, efi=efi)
    envelope = ElementTree.fromstring(output("tar", "-xOf", out, "nixos.ovf"))
    hardware = envelope.find(".//{*}VirtualHardwareSection")
    assert hardware is not None
    name = "{http://www.vmware.com/schema/ovf}"
    settings = {one.get(f"{name}key"): one.get(f"{name}value") for one in hardware.iter()}
    assert settings.get("firmware") == ("efi" if firmware == "ovmf" else None)


def test_an_ova_is_a_description_and_a_vmdk(raw: Path, tmp_path: Path) -> None:
    """The order of the members, their sums in the manifest, and the disk."""
    out = make(raw, tmp_path / "out.ova", FORMATS["ova"])
    names = output("tar", "-tf", out).decode().split()
    assert names == ["nixos.ovf", "nixos.mf", "nixos-disk1.vmdk"]
    output("tar", "-xf", out, "-C", tmp_path)
    sums = [
        re.sub(r"SHA256\((.*)\)= (.*)", r"\2  \1", line)
        for line in (tmp_path / "nixos.mf").read_text().splitlines()
    ]
    (tmp_path / "sums").write_text("\n".join(sums) + "\n")
    checked = subprocess.run(["sha256sum", "-c", "sums"], cwd=tmp_path, capture_output=True)
    assert checked.stdout.decode().splitlines() == ["nixos.ovf: OK", "nixos-disk1.vmdk: OK"]
    vmdk = tmp_path / "nixos-disk1.vmdk"
    output("qemu-img", "compare", "-f", "raw", "-F", "vmdk", raw, vmdk)
    with (tmp_path / "nixos.ovf").open() as file:
        assert [*OVF(file).disks()] == [vmdk.name]
    assert f'ovf:size="{vmdk.stat().st_size}"' in (tmp_path / "nixos.ovf").read_text()
