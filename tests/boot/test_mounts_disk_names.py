"""The names that are accepted are those that the tools can write and find again.

Without these tests, a label can be accepted that mkfs cuts, or that the machine does not find at
boot.
"""

import subprocess
from pathlib import Path

from assembler.boot.mounts.devices import NamedDevice, Tag
from assembler.boot.mounts.disk_names import TargetDisk, name_fault
from assembler.boot.volumes import Role
from assembler.disk.layout import shape
from assembler.disk.tables import Table
from assembler.filesystems.ext4.kind import EXT4
from tests.support.helpers import output

DISK = TargetDisk(shape(Table.HYBRID), EXT4)
ASCII = [chr(one) for one in range(0x20, 0x7F)]


def is_fat_label(label: str) -> bool:
    """Whether a FAT is held to be able to have a label."""
    return not name_fault(DISK, Role.ESP, NamedDevice(Tag.LABEL, label))


def probe(image: Path, tag: str) -> str:
    """What blkid finds."""
    found = subprocess.run(
        ["/sbin/blkid", "--probe", "-o", "value", "-s", tag, image], capture_output=True
    )
    return found.stdout.decode().removesuffix("\n")


def test_mkfs_writes_the_labels_that_a_fat_can_have(tmp_path: Path) -> None:
    image = tmp_path / "fat"
    good = "".join(one for one in ASCII if is_fat_label(f"a{one}b"))
    labels = [f"x{good[at : at + 9]}y" for at in range(0, len(good), 9)] + ["a" * 11]
    for label in labels:
        image.unlink(missing_ok=True)
        output("/sbin/mkfs.fat", "-C", "-n", label, image, "1024")
        assert probe(image, "LABEL") == label
    for character in set(ASCII) - set(good):
        command = ["/sbin/mkfs.fat", "-n", f"a{character}b", image]
        assert subprocess.run(command, capture_output=True).returncode != 0, character


def test_blkid_does_not_find_what_is_no_name(tmp_path: Path) -> None:
    image = tmp_path / "fat"
    output("/sbin/mkfs.fat", "-C", "-i", "00000000", "-n", "NO NAME", image, "1024")
    assert probe(image, "UUID") == probe(image, "LABEL") == ""
    assert name_fault(DISK, Role.ESP, NamedDevice(Tag.UUID, "0000-0000"))
    assert not is_fat_label("NO NAME")
    for label in ("", " a", "a ", "a" * 12, "ü", "a\tb"):
        assert not is_fat_label(label)


def test_ext4_has_the_longest_label(tmp_path: Path) -> None:
    image, label = tmp_path / "ext4", "ünïcödé long"
    assert len(label.encode()) == EXT4.label_bytes
    assert not name_fault(DISK, Role.ROOT, NamedDevice(Tag.LABEL, label))
    assert name_fault(DISK, Role.ROOT, NamedDevice(Tag.LABEL, f"{label}x"))
    output("/sbin/mke2fs", "-q", "-t", "ext4", "-L", label, image, "2M")
    assert probe(image, "LABEL") == label
    assert "ünïcödé long" in output("/sbin/dumpe2fs", "-h", image).decode()
