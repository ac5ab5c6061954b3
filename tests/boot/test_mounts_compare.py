"""A system's mounts give the disk its names, or are refused if the disk cannot have them.

Without these tests, a machine can wait at boot for a disk or a partition that its image does not
have.
"""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembler.boot.mounts.boot_mounts import boot_mounts
from assembler.boot.mounts.compare import Comparison, compare
from assembler.boot.mounts.disk_names import Claims, TargetDisk
from assembler.boot.mounts.fstab import parameter_mounts, parse_fstab
from assembler.boot.volumes import Role
from assembler.disk.layout import shape
from assembler.disk.tables import Table
from assembler.filesystems.registry import ROOT_KINDS
from assembler.machines import Machine

UUID = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"
ROOT = "LABEL=nixos / ext4 x 0 1"
BTRFS = "LABEL=nixos / btrfs subvol=@"
SUBVOLUMES = (("@", "/"), ("@nix", "/nix"))


def comparison(
    table: str,
    rows: Sequence[str],
    kind: str = "ext4",
    subvolumes: Sequence[tuple[str, str]] = (),
) -> Comparison:
    """Compare an fstab, in which a row `root=…` stands for kernel parameters, with a disk."""
    layout = shape(Table(table), Machine.X64.facts.root_type)
    mounts = parse_fstab("\n".join(row for row in rows if not row.startswith("root=")))
    mounts += parameter_mounts([row for row in rows if row.startswith("root=")])
    return compare(
        mounts,
        Claims(TargetDisk(layout, ROOT_KINDS[kind], subvolumes)),
    )


@pytest.mark.parametrize(
    ("table", "rows", "names"),
    [
        ("hybrid", [], {}),
        ("hybrid", [ROOT], {"root label": "nixos"}),
        ("hybrid", ["/dev/disk/by-label/my\\x20root / auto x"], {"root label": "my root"}),
        ("hybrid", ["LABEL=my\\040root / ext4 x"], {"root label": "my root"}),
        ("hybrid", [f"UUID={UUID} / ext2,ext4 x"], {"root uuid": UUID}),
        ("legacy+gpt", [f"PARTUUID={UUID} / ext4 x"], {"root partuuid": UUID}),
        ("legacy", ["PARTUUID=0badcafe-01 / ext4 x"], {"root partuuid": "0badcafe-01"}),
        ("efi", ["PARTLABEL=disk-main-root / ext4 x"], {"root partlabel": "disk-main-root"}),
        ("efi", ["root=PARTLABEL=main"], {"root partlabel": "main"}),
        ("efi", [ROOT, f"root=UUID={UUID}"], {"root label": "nixos", "root uuid": UUID}),
        ("efi", [ROOT, "root=LABEL=nixos"], {"root label": "nixos"}),
        ("efi", [ROOT, "root=fstab"], {"root label": "nixos"}),
        # Numbers are right for a table.
        ("legacy", ["/dev/sda1 / ext4 x"], {}),
        ("legacy+boot", ["/dev/sda2 / ext4 x", "LABEL=BOOT /boot vfat x"], {"boot label": "BOOT"}),
        (
            "legacy+boot",
            ["PARTUUID=0badcafe-02 / ext4 x", "PARTUUID=0badcafe-01 /boot vfat x"],
            {"root partuuid": "0badcafe-02", "boot partuuid": "0badcafe-01"},
        ),
        ("efi", ["/dev/vda2 / ext4 x", "/dev/vda1 /boot vfat x"], {}),
        ("hybrid", ["/dev/nvme0n1p3 / ext4 x", "root=/dev/nvme0n1p3"], {}),
        ("efixbootldr", ["/dev/xvda3 / ext4", "/dev/xvda2 /boot vfat", "/dev/xvda1 /efi vfat"], {}),
        ("none", ["/dev/sda / ext4 x", "/dev/sdb none swap x"], {}),
        ("hybrid", ["/dev/disk/by-id/scsi-0G_pd-part3 / ext4 x"], {}),
        # FATs.
        (
            "hybrid",
            ["/dev/disk/by-label/SYSTEM /boot vfat x", "UUID=12AB-CD34 /boot vfat x"],
            {"esp label": "SYSTEM", "esp uuid": "12AB-CD34"},
        ),
        ("efi", ["UUID=12AB-CD34 /boot/efi vfat x"], {"esp uuid": "12AB-CD34"}),
        ("efi", ["PARTLABEL=EFI\\040System /efi auto x"], {"esp partlabel": "EFI System"}),
        (
            "efixbootldr",
            ["LABEL=A\\040B /boot vfat x", "LABEL=E /efi vfat x"],
            {"boot label": "A B", "esp label": "E"},
        ),
        ("efi", ["LABEL=E /boot vfat x", "LABEL=E /efi vfat x"], {"esp label": "E"}),
        ("efi", ["LABEL=B /boot vfat nofail,noauto"], {"esp label": "B"}),
        # What stands on no disk is no matter, nor is the store once more.
        ("efi", [ROOT, "tmpfs /tmp tmpfs x", "nas:/x /home nfs x"], {"root label": "nixos"}),
        ("efi", [ROOT, "/nix/store /nix/store none bind,ro"], {"root label": "nixos"}),
        ("legacy", [ROOT, "LABEL=ESP /boot/efi vfat nofail"], {"root label": "nixos"}),
    ],
)
def test_names_by_which_a_disk_is_mounted(
    table: str, rows: list[str], names: dict[str, str]
) -> None:
    found = comparison(table, rows)
    assert (found.problems, found.doubts) == ([], [])
    given_names = found.claims.names
    words = {Role.ROOT: "root", Role.ESP: "esp", Role.BOOT: "boot"}
    messages = {f"{words[role]} {tag}": name for (role, tag), name in given_names.asked.items()}
    assert {key: messages[key] for key in names} == names
    assert list(found.claims.clashes()) == []


@pytest.mark.parametrize(
    ("table", "rows", "word"),
    [
        # Names that a kind cannot have.
        ("hybrid", [f"LABEL={'x' * 17} / ext4 x"], "at most 16 bytes"),
        ("hybrid", ["LABEL= / ext4 x"], "not a label that udev finds"),
        ("hybrid", ["LABEL=x\\040 / ext4 x"], "not a label that udev finds"),
        ("hybrid", ["LABEL=x\\012y / ext4 x"], "not a label that udev finds"),
        ("hybrid", ["/dev/disk/by-label/my\\040root / ext4 x"], "by-label/my\\x20root"),
        ("hybrid", ["UUID=1234-ABCD / ext4 x"], "32 hexadecimal digits"),
        ("hybrid", [f"UUID={UUID.upper()} / ext4 x"], "lower case"),
        ("hybrid", ["UUID=00000000-0000-0000-0000-000000000000 / ext4 x"], "no UUID"),
        ("hybrid", ["PARTUUID=00000000-0000-0000-0000-000000000000 / ext4 x"], "no UUID"),
        ("hybrid", [f"PARTLABEL={'x' * 37} / ext4 x"], "at most 36 characters"),
        ("hybrid", ["PARTLABEL=\U0001f600 / ext4 x"], "U+FFFF"),
        ("legacy", ["PARTLABEL=root / ext4 x"], "an MBR has no partition names"),
        ("none", ["PARTLABEL=root / ext4 x"], "without a partition table"),
        ("none", [f"PARTUUID={UUID} / ext4 x"], "without a partition table"),
        ("hybrid", ["PARTUUID=0badcafe-03 / ext4 x"], "a GUID in lower case"),
        ("legacy", [f"PARTUUID={UUID} / ext4 x"], "as in 12ab34cd-01"),
        ("legacy", ["PARTUUID=0badcafe-02 / ext4 x"], "as in 12ab34cd-01"),
        ("legacy", ["PARTUUID=00000000-01 / ext4 x"], "cannot be all zeros, which stand for no"),
        ("hybrid", ["LABEL=twelve-chars /boot vfat x"], "at most 11 characters"),
        ("hybrid", ["LABEL=a/b /boot vfat x"], "none of *?"),
        ("hybrid", [f"UUID={UUID} /boot vfat x"], "12AB-CD34"),
        ("hybrid", ["UUID=12ab-cd34 /boot vfat x"], "upper case"),
        ("hybrid", ["UUID=0000-0000 /boot vfat x"], "cannot be all zeros, which stand for no"),
        # Another type of file system.
        ("hybrid", ["LABEL=nixos / xfs x"], "take file_system xfs"),
        ("hybrid", ["LABEL=nixos / btrfs x"], "take file_system btrfs"),
        ("hybrid", ["LABEL=nixos / ext3 x"], 'give fileSystems."/" the fsType ext4'),
        ("hybrid", ["tank/root / zfs x"], "as zfs"),
        ("hybrid", ["root=LABEL=nixos rootfstype=f2fs"], "take file_system f2fs"),
        ("hybrid", ["LABEL=nixos / auto subvol=@"], "take file_system btrfs"),
        # Other devices.
        ("hybrid", ["/dev/mapper/root / ext4 x"], "LUKS, LVM or RAID"),
        ("hybrid", ["root=/dev/mapper/root"], "take root=LABEL=nixos"),
        ("hybrid", ["/dev/pool/root / ext4 x"], "no partition"),
        ("hybrid", ["tmpfs / tmpfs x", "LABEL=nix /nix ext4 x"], "tmpfs is not on this disk"),
        ("hybrid", ["root=tmpfs"], "tmpfs is not on this disk"),
        ("hybrid", ["nas:/root / nfs x"], "nfs is not on this disk"),
        ("hybrid", ["overlay / overlay x"], "overlay is not on this disk"),
        ("hybrid", [ROOT, "LABEL=nix /nix ext4 x"], "this disk has /nix in its root"),
        ("hybrid", [ROOT, "LABEL=nixos /nix/store ext4 x"], "this disk has /nix/store in its"),
        ("hybrid", [ROOT, "/persist/nix /nix none bind"], "this disk has /nix in its root"),
        ("hybrid", [ROOT, "overlay /nix/store overlay x"], "this disk has /nix/store in its"),
        ("hybrid", [ROOT, "LABEL=nix /nix ext4 nofail"], "this disk has /nix in its root"),
        # Numbers.
        ("hybrid", ["/dev/vda2 / ext4 x"], "is partition 3"),
        ("hybrid", ["/dev/vda / ext4 x"], "is partition 3"),
        ("hybrid", ["root=/dev/vda7"], "is partition 3"),
        ("none", ["/dev/vda1 / ext4 x"], "is the whole disk"),
        ("efi", ["/dev/vda2 /boot vfat x"], "is partition 1"),
        ("efi", ["/dev/vda2 / ext4 x", "/dev/sda1 /boot vfat x"], "cannot be /dev/vda, too"),
        ("efi", ["/dev/vda2 / ext4 x", "/dev/vda3 /srv ext4 x"], "no such partition"),
        # A /boot, or an ESP, that is none of the partitions.
        ("legacy", [ROOT, "LABEL=BOOT /boot vfat x"], "legacy+boot, efi, efixbootldr or hybrid"),
        (
            "legacy+gpt",
            [ROOT, "LABEL=ESP /boot/efi vfat x"],
            "take partition_table efi, efixbootldr or",
        ),
        ("none", [ROOT, "LABEL=ESP /efi vfat x"], "take partition_table efi, efixbootldr or"),
        ("legacy+boot", [ROOT, "LABEL=A /boot vfat", "LABEL=B /efi vfat"], "no EFI system part"),
        (
            "legacy+boot",
            ["PARTUUID=0badcafe-01 / ext4 x", "PARTUUID=0badcafe-01 /boot vfat x"],
            "as in 12ab34cd-02",
        ),
        ("hybrid", [ROOT, "LABEL=BOOT /boot ext4 x"], "make it vfat"),
        ("hybrid", [ROOT, "/efi/nixos /boot none bind"], "make it vfat"),
        ("hybrid", [ROOT, "LABEL=B /boot vfat", "LABEL=E /boot/efi vfat"], "efixbootldr"),
        ("hybrid", [ROOT, "/dev/mapper/boot /boot vfat"], "LUKS, LVM or RAID"),
        # Two names of a kind for one thing.
        ("hybrid", [ROOT, "root=LABEL=other"], "one label only"),
        ("hybrid", [ROOT, "LABEL=other / ext4 x"], "one label only"),
        ("efi", ["UUID=0000-0001 /boot vfat x", "UUID=0000-0002 /boot vfat x"], "one UUID only"),
    ],
)
def test_what_a_disk_cannot_be(table: str, rows: list[str], word: str) -> None:
    found = comparison(table, rows)
    assert word in " ".join(found.problems)
    assert len(found.problems) == (2 if "tmpfs / tmpfs x" in rows else 1)


@pytest.mark.parametrize(
    ("rows", "subvolumes", "word"),
    [
        ([BTRFS], (("@", "/"),), ""),
        ([BTRFS, "LABEL=nixos /nix btrfs subvol=/@nix"], SUBVOLUMES, ""),
        ([BTRFS, f"UUID={UUID} /nix btrfs subvol=@nix,noauto"], SUBVOLUMES, ""),
        (["root=LABEL=nixos rootflags=subvol=@"], (("@", "/"),), ""),
        (["LABEL=nixos / btrfs x"], (("nix", "/nix"),), ""),
        (["LABEL=nixos / btrfs x", "LABEL=nixos /top btrfs subvolid=5"], (), ""),
        ([BTRFS, "LABEL=nixos /boot auto subvol=b"], (("@", "/"), ("b", "/boot")), ""),
        ([BTRFS], (), "take subvolumes @=/"),
        (["LABEL=nixos / btrfs subvol=os/root"], (), "a name without a slash"),
        ([BTRFS, "LABEL=nixos /home btrfs subvol=@home"], (("@", "/"),), "subvolumes @home=/home"),
        ([BTRFS, "LABEL=nixos /nix btrfs subvol=@nix"], (("@", "/"),), "subvolumes @nix=/nix"),
        (
            [BTRFS, f"UUID={UUID} /home btrfs subvol=@home"],
            (("@", "/"), ("home", "/home")),
            "puts /home into home, and not @home",
        ),
        ([BTRFS, "LABEL=x /home ext4 x"], (("@", "/"), ("home", "/home")), "as ext4"),
        ([BTRFS], SUBVOLUMES, "does not mount the subvolume @nix at /nix"),
        (["LABEL=nixos / btrfs x"], (("@", "/"),), "and not the top level"),
        (["LABEL=nixos / btrfs subvol=root"], (("@", "/"),), "and not root"),
        (["LABEL=nixos / btrfs subvolid=256"], (("@", "/"),), "take subvol="),
        ([BTRFS, "LABEL=other /nix btrfs subvol=@nix"], SUBVOLUMES, "one label only"),
    ],
)
def test_subvolumes(rows: list[str], subvolumes: tuple[tuple[str, str], ...], word: str) -> None:
    found = comparison("hybrid", rows, "btrfs", subvolumes)
    assert word in " ".join(found.problems)
    assert len(found.problems) == bool(word)


def test_what_may_be_on_another_disk() -> None:
    rows = [ROOT, "/dev/mapper/data /srv ext4 x", "LABEL=home /home xfs x", "tank/a /a zfs x"]
    rows += ["/dev/vdb1 none swap x", "/dev/vdc /opt ext4 nofail", "/dev/vdd /mnt xfs noauto"]
    rows += ["/var/swap none swap x", "LABEL=USB /media/usb vfat x"]
    rows += ["LABEL=A /boot/efi vfat x", "LABEL=B /boot/efi2 vfat x"]
    found = comparison("hybrid", rows)
    assert [mount.place for mount in found.others] == [
        "/srv",
        "/home",
        "/a",
        "none",
        "/media/usb",
        "/boot/efi2",
    ]
    assert found.problems == found.doubts == []


def test_a_boot_partition_that_is_not_mounted_is_told() -> None:
    (doubt,) = comparison("efixbootldr", [ROOT, "LABEL=ESP /efi vfat x"]).doubts
    assert doubt.startswith("the system does not mount the boot partition at /boot: ")


def test_a_machine_comes_up_without_what_is_optional() -> None:
    found = comparison("hybrid", [ROOT, "LABEL=twelve-chars /boot vfat nofail"])
    assert found.problems == []
    assert "at most 11 characters" in found.doubts[0]


@pytest.mark.parametrize(
    ("table", "rows", "clash"),
    [
        ("hybrid", ["LABEL=ESP / ext4 x"], ""),
        ("hybrid", ["LABEL=x / ext4 x", "LABEL=x /boot vfat x"], "label x"),
        ("legacy", ["LABEL=ESP / ext4 x"], ""),
        (
            "legacy+boot",
            ["PARTUUID=0badcafe-02 / ext4 x", "PARTUUID=0badbabe-01 /boot vfat x"],
            "two signatures",
        ),
        ("efi", [f"PARTUUID={UUID} / ext4 x", f"PARTUUID={UUID} /boot vfat x"], "partition UUID"),
    ],
)
def test_a_name_is_of_one_thing_only(table: str, rows: list[str], clash: str) -> None:
    claims = comparison(table, rows).claims
    assert [clash in line for line in claims.clashes()] == [True] * bool(clash)


def test_what_nobody_names_has_another_name() -> None:
    names = comparison(
        "efixbootldr", ["LABEL=ESP /boot vfat x", "LABEL=ESP-2 / ext4 x"]
    ).claims.names
    assert [names.label(role) for role in Role] == ["ESP-2", "ESP-3", "ESP"]


@pytest.mark.parametrize(
    ("table", "rows", "esp", "boot"),
    [
        ("efi", ["A /boot vfat", "B /efi vfat"], "/boot", None),
        ("hybrid", ["B /efi vfat", "A /boot auto"], "/boot", None),
        ("hybrid", ["C /media/usb vfat", "B /boot/EFI vfat"], "/boot/EFI", None),
        ("efi", ["A /boot ext4"], None, None),
        ("efi", ["C /efi vfat", "A /odd vfat"], "/odd", None),
        ("efixbootldr", ["B /efi vfat", "A /boot vfat"], "/efi", "/boot"),
        ("efixbootldr", ["A /boot vfat"], None, "/boot"),
        ("legacy", ["A /boot vfat"], None, None),
        ("legacy+boot", ["B /efi vfat", "A /boot vfat"], None, "/boot"),
        ("none", ["A /boot vfat"], None, None),
    ],
)
def test_which_mount_is_which_partition(
    table: str, rows: list[str], esp: str | None, boot: str | None
) -> None:
    found = boot_mounts(shape(Table(table)), parse_fstab("\n".join(rows)), "/odd")
    assert (found.esp and found.esp.place, found.boot and found.boot.place) == (esp, boot)
    assert found.boot_is_esp == (esp == "/boot")


@given(st.sampled_from(Table), st.text(), st.sampled_from(["/", "/boot", "/nix", "/efi", "/x"]))
def test_any_device_is_named_refused_or_elsewhere(table: Table, source: str, place: str) -> None:
    for prefix in ("", "LABEL=", "PARTUUID=", "/dev/disk/by-uuid/", "/dev/sda"):
        comparison(table, [f"{prefix}{source} {place} auto x"])
