"""How fstab and `root=` name devices.

Without these tests, a device of another disk can be taken for the image's own, and the machine
waits for it.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembler.boot.mounts.devices import (
    Device,
    ForeignDevice,
    NamedDevice,
    NumberedPartition,
    Tag,
    parse_device,
    udev_decode,
    udev_encode,
)


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("LABEL=nixos", NamedDevice(Tag.LABEL, "nixos")),
        ('LABEL="my root"', NamedDevice(Tag.LABEL, "my root")),
        ("UUID=1234-ABCD", NamedDevice(Tag.UUID, "1234-ABCD")),
        ("PARTLABEL=disk-main-root", NamedDevice(Tag.PARTLABEL, "disk-main-root")),
        ("PARTUUID=0badcafe-01", NamedDevice(Tag.PARTUUID, "0badcafe-01")),
        ("/dev/disk/by-label/my\\x20root", NamedDevice(Tag.LABEL, "my root")),
        ("/dev/disk/by-label/a\\x2fb", NamedDevice(Tag.LABEL, "a/b")),
        ("/dev/disk/by-label/ünï", NamedDevice(Tag.LABEL, "ünï")),
        ("/dev/disk/by-partlabel/EFI\\x20System", NamedDevice(Tag.PARTLABEL, "EFI System")),
        ("/dev/disk/by-uuid/12AB-CD34", NamedDevice(Tag.UUID, "12AB-CD34")),
        ("/dev/disk/by-partuuid/0badcafe-01", NamedDevice(Tag.PARTUUID, "0badcafe-01")),
        ("/dev/vda", NumberedPartition("vda", 0)),
        ("/dev/vda3", NumberedPartition("vda", 3)),
        ("/dev/sdab12", NumberedPartition("sdab", 12)),
        ("/dev/hda1", NumberedPartition("hda", 1)),
        ("/dev/xvda1", NumberedPartition("xvda", 1)),
        ("/dev/nvme0n1", NumberedPartition("nvme0n1", 0)),
        ("/dev/nvme0n1p2", NumberedPartition("nvme0n1", 2)),
        ("/dev/mmcblk0p2", NumberedPartition("mmcblk0", 2)),
        ("/dev/disk/by-id/scsi-0G_pd-part3", NumberedPartition("disk/by-id/scsi-0G_pd", 3)),
        (
            "/dev/disk/by-path/pci-0000:00:05.0",
            NumberedPartition("disk/by-path/pci-0000:00:05.0", 0),
        ),
        ("/dev/disk/azure/root-part1", NumberedPartition("disk/azure/root", 1)),
        ("ID=wwn-0x5-part1", NumberedPartition("disk/wwn-0x5", 1)),
    ],
)
def test_names_of_this_disk(text: str, device: Device) -> None:
    assert parse_device(text) == device


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("/dev/mapper/root", "LUKS"),
        ("/dev/disk/by-id/dm-name-root", "LUKS"),
        ("/dev/md0", "RAID"),
        ("/dev/vg/root", "no partition"),
        ("/dev/vda0", "no partition"),
        ("/dev/nvme0", "no partition"),
        ("tank/root", "no partition"),
        ("", "no partition"),
        ("server:/export", "no partition"),
        ("/dev/disk/by-label/my root", "/dev/disk/by-label/my\\x20root"),
        ("/dev/disk/by-label/a/b", "/dev/disk/by-label/a\\x2fb"),
        ("/dev/disk/by-label/\\x62", "does not make"),
    ],
)
def test_what_is_no_name_of_a_disk(text: str, what: str) -> None:
    device = parse_device(text)
    assert isinstance(device, ForeignDevice)
    assert what in device.what


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_name_survives_udev(name: str) -> None:
    link = udev_encode(name)
    assert udev_decode(link) == name
    assert "/" not in link and " " not in link
    if name:
        assert parse_device(f"/dev/disk/by-partlabel/{link}") == NamedDevice(Tag.PARTLABEL, name)


@given(st.text())
def test_any_text_is_some_device(text: str) -> None:
    for prefix in ("", "/dev/", "/dev/disk/by-label/", "LABEL=", "/dev/vda", "ID="):
        parse_device(prefix + text)
