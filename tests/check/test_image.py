"""check-image names the damage of images that are damaged on purpose, one fault each.

Without these tests, check-image can call a damaged image good.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from assembler.check.image import Report, check_image
from assembler.cli.check_report import describe
from assembler.errors import RequestError
from tests.support.systems import make_system

BIN = Path(sys.executable).parent

# Discoverable Partitions Specification; UEFI specification; sfdisk --list-types.
LINUX_ROOT_X86_64 = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"
SWAP = "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F"
LUKS = "CA7D7CCB-63ED-4C53-861C-1742536059CC"
BASIC_DATA = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"

ODD_NAMES = [b"a?b.raw", b"a@b.raw", b"-x.raw", b"new\nline.raw", b"\xff\xfe.raw"]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image as `assemble` makes it."""
    directory = tmp_path_factory.mktemp("good")
    system = make_system(directory / "store")
    out = directory / "disk.raw"
    command = [BIN / "assemble", "--out", out, "--boot-size", "64M", *system.options]
    subprocess.run(command, check=True, capture_output=True)
    return out


@pytest.fixture
def image(good: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    copy = tmp_path / "disk.raw"
    subprocess.run(["cp", "--sparse=always", good, copy], check=True)
    return copy


def damage(image: Path, offset: int, data: bytes) -> None:
    with image.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def start(image: Path, number: int) -> int:
    table = subprocess.run(["/sbin/sfdisk", "--json", image], capture_output=True, check=True)
    return int(json.loads(table.stdout)["partitiontable"]["partitions"][number - 1]["start"]) * 512


def set_type(image: Path, number: int, guid: str) -> None:
    command = ["/sbin/sfdisk", "--part-type", image, str(number), guid]
    subprocess.run(command, check=True, capture_output=True)


def only_fault(report: Report) -> str:
    [fault] = report.faults
    return fault


def test_a_good_image_has_no_fault(good: Path) -> None:
    report = check_image(good)
    assert report.faults == ()
    messages = "\n".join(describe(report))
    assert "ext4" in messages
    assert "FAT" in messages
    assert "GRUB core image" in messages


def test_checking_changes_nothing(image: Path, good: Path) -> None:
    check_image(image)
    assert subprocess.run(["cmp", image, good]).returncode == 0


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names(
    good: Path, tmp_path: Path, name: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    image = Path(os.fsdecode(name))
    os.link(good, image)
    report = check_image(image)
    assert report.faults == ()
    assert [part.number for part in report.parts] == [1, 2, 3]


@pytest.mark.parametrize("name", [b"new\nline", b"\xff\xfe", b"with space"])
def test_an_odd_temporary_directory(
    good: Path, tmp_path: Path, name: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / os.fsdecode(name)
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    assert check_image(good).faults == ()
    assert os.listdir(scratch) == []


def test_a_temporary_directory_that_e2fsck_would_misread(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "a?b"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    with pytest.raises(RequestError, match=r"TMPDIR .*a\?b: .*: set TMPDIR to another directory"):
        check_image(good)


def test_a_fault_does_not_name_the_link_that_tools_are_given(image: Path) -> None:
    damage(image, image.stat().st_size - 512, b"\0" * 512)
    fault = only_fault(check_image(image))
    assert "The backup GPT table is corrupt" in fault
    assert tempfile.gettempdir() not in fault.replace(str(image), "")


@pytest.mark.parametrize("guid", [SWAP, LUKS, BASIC_DATA])
def test_a_partition_of_another_kind_is_not_checked(image: Path, guid: str) -> None:
    damage(image, start(image, 3) + 1024, b"\0" * 1024)
    set_type(image, 3, guid)
    report = check_image(image)
    assert not any(fault.startswith("partition") for fault in report.faults)
    assert report.parts[2].content == "not checked"


def test_a_root_partition_is_checked(image: Path) -> None:
    set_type(image, 3, LINUX_ROOT_X86_64)
    report = check_image(image)
    assert report.faults == ()
    assert report.parts[2].content.startswith("ext4, ")
    damage(image, start(image, 3) + 1024, b"\0" * 1024)
    assert "partition 3 (primary): e2fsck: " in only_fault(check_image(image))


def test_a_damaged_backup_table(image: Path) -> None:
    damage(image, image.stat().st_size - 512, b"\0" * 512)
    assert "partition table" in only_fault(check_image(image))


def test_a_damaged_ext4(image: Path) -> None:
    damage(image, start(image, 3) + 4096 * 2, b"\xff" * 4096)  # reserved descriptors, bitmaps
    damage(image, start(image, 3) + 1024 + 0x10, b"\x01\0\0\0")  # s_free_inodes_count
    assert only_fault(check_image(image)).startswith("partition 3 (primary): e2fsck: ")


def test_an_ext4_that_is_gone(image: Path) -> None:
    damage(image, start(image, 3) + 1024, b"\0" * 1024)
    assert "partition 3 (primary): e2fsck: " in only_fault(check_image(image))


def test_an_ext4_that_is_cut_off(tmp_path: Path) -> None:
    """Which e2fsck takes for a good one, as long as it misses nothing."""
    bare = tmp_path / "bare"
    subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext4", bare, "8M"], check=True)
    assert check_image(bare).faults == ()
    os.truncate(bare, 4 << 20)
    words = f"partition 0: the ext4 goes {4 << 20} bytes beyond its end"
    assert only_fault(check_image(bare)) == words


def test_an_ext4_that_is_larger_than_its_partition(image: Path) -> None:
    command = ["/sbin/sfdisk", "--no-reread", "-N", "3", image]
    size = f"{start(image, 3) // 512},8192\n".encode()
    subprocess.run(command, input=size, check=True, capture_output=True)
    fault = only_fault(check_image(image))
    assert fault.startswith("partition 3 (primary): the ext4 goes ")


def test_a_damaged_fat(image: Path) -> None:
    damage(image, start(image, 1), b"\0" * 512)
    printed = "partition 1 (ESP): fsck.fat: Logical sector size is zero."
    assert only_fault(check_image(image)).startswith(printed)


def test_a_fat_whose_copies_differ(image: Path) -> None:
    """fsck.fat is given a copy, whose name the user does not see."""
    damage(image, start(image, 1) + 32 * 512 + 100, b"\1\2\3\4")
    fault = only_fault(check_image(image))
    assert fault.startswith("partition 1 (ESP): fsck.fat: FATs differ")
    assert "/assemble-" not in fault


def test_a_boot_sector_that_loads_something_else(image: Path) -> None:
    damage(image, 0x5C, (4711).to_bytes(8, "little"))
    assert only_fault(check_image(image)) == (
        "BIOS: boot sector: it loads LBA 4711, not the BIOS boot partition"
    )


def test_a_core_image_that_is_gone(image: Path) -> None:
    damage(image, start(image, 2), b"\0" * 512)
    assert "holds no GRUB core image" in only_fault(check_image(image))


def test_a_core_image_that_no_boot_code_loads(image: Path) -> None:
    damage(image, 0, bytes(440))
    assert only_fault(check_image(image)) == "BIOS: boot sector: it has no boot code"


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (0x70, "boot sector: it differs from partition 3 (ext4), /boot/grub/i386-pc/boot.img"),
        (
            (1 << 20) + 0x10,
            "core image: its first sector differs from partition 3 (ext4), "
            "/boot/grub/i386-pc/core.img, from byte 0x10 on",
        ),
        (
            (1 << 20) + 0x240,
            "core image: its decompressor differs from partition 3 (ext4), "
            "/boot/grub/i386-pc/core.img, from byte 0x40 on",
        ),
    ],
)
def test_code_that_was_written_over(image: Path, place: int, words: str) -> None:
    damage(image, place, b"garbage!")
    assert words in only_fault(check_image(image))


@pytest.mark.parametrize("place", [0x600, 0x20000, 0x58000])
def test_an_efi_program_that_is_not_as_it_was_built(image: Path, place: int) -> None:
    """GRUB leaves a copy of its core image beside its modules, in the root."""
    esp = start(image, 1)
    with image.open("rb") as file:
        file.seek(esp)
        fat = file.read(64 << 20)
    program = subprocess.run(
        ["mtype", "-i", f"{image}@@{esp}", "::/EFI/BOOT/BOOTX64.EFI"],
        capture_output=True,
        check=True,
    ).stdout
    damage(image, esp + fat.index(program) + place, b"\x5a\xa5" * 4)
    assert (
        "/EFI/BOOT/BOOTX64.EFI: it differs from partition 3 (ext4), "
        f"/boot/grub/x86_64-efi/core.efi, from byte {place:#x} on"
    ) in only_fault(check_image(image))


def test_an_efi_program_that_was_removed(image: Path) -> None:
    esp = f"{image}@@{start(image, 1)}"
    for name in ("BOOTX64.EFI", "BOOTIA32.EFI"):
        subprocess.run(["mdel", "-i", esp, f"::/EFI/BOOT/{name}"], check=True)
    assert only_fault(check_image(image)) == (
        "UEFI: partition 1 (ESP): it has no EFI/BOOT/BOOTX64.EFI, nor a program for another machine"
    )


def test_a_disk_that_nothing_boots(image: Path) -> None:
    """Unless it must boot by BIOS, it is enough that the firmware finds something."""
    damage(image, 0, bytes(440))
    damage(image, start(image, 2), bytes(512))
    assert check_image(image).faults == ()
    assert only_fault(check_image(image, bios=True)) == "BIOS: boot sector: it has no boot code"
    subprocess.run(["mdeltree", "-i", f"{image}@@{start(image, 1)}", "::EFI"], check=True)
    assert only_fault(check_image(image)) == (
        "nothing boots this disk: the boot sector has no code, "
        "and the EFI system partition is empty"
    )


def test_no_image(tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_text("not an image")
    with pytest.raises(RequestError) as caught:
        check_image(file)
    assert str(caught.value) == f"{file} is not a raw disk image: it is a text file"


def test_the_command_tells_faults_and_exit_status(image: Path) -> None:
    command = [BIN / "check-image", image]
    assert subprocess.run(command, capture_output=True).returncode == 0
    damage(image, start(image, 2), b"\0" * 512)
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
    last = done.stdout.splitlines()[-1]
    assert last == "unsound: BIOS: partition 2 (no-fs): it holds no GRUB core image"


def test_the_command_takes_several_files(image: Path, tmp_path: Path) -> None:
    """Each with its verdict; what cannot be read is no obstacle for the others."""
    (tmp_path / "directory").mkdir()
    (tmp_path / "cut").write_bytes(image.read_bytes()[: 4 << 20])
    files = [tmp_path / "absent", tmp_path / "cut", tmp_path / "directory", image]

    def run(*options: str | Path) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([BIN / "check-image", *options], capture_output=True, text=True)

    done = run(*files)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"check-image: {tmp_path}/absent does not exist",
        f"check-image: {tmp_path}/directory is not a raw disk image: it is a directory",
    ]
    messages = done.stdout.splitlines()
    second = messages.index(f"{image}:")
    assert messages[0] == f"{tmp_path}/cut:"
    assert messages[second - 1].startswith("unsound: the image is ")
    assert messages[-1] == "sound"
    done = run("--json", *files)
    facts = json.loads(done.stdout)
    assert done.returncode == 1
    assert [one["path"] for one in facts] == [*map(str, files)]
    assert [one["sound"] for one in facts] == [None, False, None, True]
    assert facts[0]["faults"] == [f"{tmp_path}/absent does not exist"]
    assert len({tuple(one) for one in facts}) == 1
    done = run("-q", image)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert run(image, tmp_path / "absent").returncode == 2


def test_all_rules_of_a_target_are_applied(good: Path) -> None:
    """Format, size, firmware, machine and console come from what was read back."""
    azure = check_image(good, target="azure")
    assert azure.faults == ("azure takes vhd, not raw: take format vhd",)
    [size] = check_image(good, target="google-compute").faults[1:]
    assert size.startswith("google-compute takes disks of a whole number of GiB, not ")
    assert size.endswith(": take size 1G")
    linode = check_image(good, target="linode")
    [hint] = linode.warnings
    assert hint.startswith("linode starts a disk for BIOS only if ")
    assert f"warning: {hint}" in describe(linode)
    assert azure.platform == "x86_64-linux"
    assert azure.kernel_params is not None
    assert "console=ttyS0,115200" in azure.kernel_params
