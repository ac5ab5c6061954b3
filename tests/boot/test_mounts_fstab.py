"""What a system mounts is read from its fstab and its kernel parameters.

Without these tests, a mount of the system can be overlooked, and its image lacks the partition.
"""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from assembler.boot.mounts.fstab import (
    Mount,
    finds_root_by_type,
    parameter_mounts,
    parse_fstab,
    read_mounts,
)
from assembler.store.paths import StoreRoot

SYSTEM = "/nix/store/00000000000000000000000000000000-nixos-system-a"
ETC = "/nix/store/11111111111111111111111111111111-etc"

# As nixpkgs' nixos/modules/tasks/filesystems.nix writes it.
FSTAB = """\
# This is a generated file.  Do not edit!
#
# <file system> <mount point>   <type>  <options>       <dump>  <pass>

# Filesystems.
/dev/disk/by-label/nixos / ext4 x-initrd.mount 0 1
/dev/disk/by-label/ESP /boot vfat umask=0077 0 2
  # UUID=1 /elsewhere vfat
LABEL=a\\040b\\303\\274 /mnt/with\\040space/ vfat,auto defaults,nofail 0 2

# Swap devices.
/dev/vda9 none swap defaults
tmpfs /short
"""
MOUNTS = [
    Mount("/dev/disk/by-label/nixos", "/", ("ext4",), ("x-initrd.mount",)),
    Mount("/dev/disk/by-label/ESP", "/boot", ("vfat",), ("umask=0077",)),
    Mount("LABEL=a bü", "/mnt/with space", ("vfat", "auto"), ("defaults", "nofail")),
    Mount("/dev/vda9", "none", ("swap",), ("defaults",)),
]


def store_with(tmp_path: Path, fstab: str | None) -> StoreRoot:
    system, etc = (tmp_path / path.lstrip("/") for path in (SYSTEM, ETC))
    (etc / "etc").mkdir(parents=True)
    system.mkdir()
    (system / "etc").symlink_to(f"{ETC}/etc")
    if fstab is not None:
        (etc / "etc/fstab").write_text(fstab)
    return StoreRoot(tmp_path)


def test_the_rows_of_an_fstab(tmp_path: Path) -> None:
    assert read_mounts(store_with(tmp_path, FSTAB), SYSTEM) == MOUNTS


def test_a_system_may_have_no_fstab(tmp_path: Path) -> None:
    assert read_mounts(store_with(tmp_path, None), SYSTEM) == []


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    for mount in parse_fstab(text):
        assert mount.source
        assert str(mount)
        mount.device, mount.subvolume, mount.is_on_disk  # noqa: B018


FIELD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@example("#", "#", "ext4")
@given(FIELD, FIELD, st.sampled_from(["ext4", "vfat"]))
def test_what_is_escaped_comes_back(source: str, place: str, kind: str) -> None:
    def escape(field: str) -> str:
        raw = field.encode()
        return "".join(
            chr(one) if chr(one).isalnum() and one < 128 else f"\\{one:03o}" for one in raw
        )

    (mount,) = parse_fstab(f"{escape(source)}\t{escape('/' + place)}  {kind}\n")
    assert mount.source == source
    assert mount.kinds == (kind,)
    assert mount.place.startswith("/")


@pytest.mark.parametrize(
    ("row", "on_disk"),
    [
        ("LABEL=a /srv ext4", True),
        ("/dev/mapper/data /srv ext4", True),
        ("tank/srv /srv zfs", True),
        ("/dev/vdb none swap", True),
        ("/var/swapfile none swap", False),
        ("/dev/zram0 none swap", False),
        ("tmpfs /tmp tmpfs", False),
        ("server:/x /srv nfs4", False),
        ("//server/x /srv cifs", False),
        ("host0 /srv 9p", False),
        ("overlay /srv overlay", False),
        ("/persist/srv /srv none bind", False),
        ("/persist/srv /srv auto rbind,ro", False),
        ("sshfs#me@host: /srv fuse.sshfs", False),
        ("/iso/nix-store.squashfs /nix/.ro-store squashfs loop", False),
    ],
)
def test_what_must_be_on_a_disk(row: str, on_disk: bool) -> None:
    (mount,) = parse_fstab(row)
    assert mount.is_on_disk == on_disk


@pytest.mark.parametrize(
    ("options", "subvolume"),
    [
        ("defaults", ""),
        ("subvol=@", "@"),
        ("subvol=/@/nix/,noatime", "@/nix"),
        ("subvol=/", ""),
        ("subvolid=5", ""),
        ("subvolid=256", None),
    ],
)
def test_subvolumes(options: str, subvolume: str | None) -> None:
    (mount,) = parse_fstab(f"LABEL=a / btrfs {options}")
    assert mount.subvolume == subvolume


@pytest.mark.parametrize(
    ("parameters", "source"),
    [
        ((), None),
        (("root=fstab", "quiet"), None),
        (("root=gpt-auto",), None),
        (("root=LABEL=nixos",), "LABEL=nixos"),
        (("root=/dev/vda1 root=PARTUUID=0badcafe-01",), "PARTUUID=0badcafe-01"),
        (('root="LABEL=my root"', "ro"), "LABEL=my root"),
        (("root=tmpfs",), "tmpfs"),
        (("noroot=x",), None),
    ],
)
def test_the_root_of_the_kernel_parameters(parameters: tuple[str, ...], source: str | None) -> None:
    mounts = parameter_mounts(parameters)
    assert [mount.source for mount in mounts] == ([] if source is None else [source])
    assert finds_root_by_type(parameters) == ("root=gpt-auto" in parameters)


def test_other_parameters_that_mount() -> None:
    parameters = ["root=/dev/vda2 rootfstype=btrfs,ext4", "rootflags=noatime,subvol=@"]
    parameters += ["mount.usr=LABEL=usr", "systemd.mount-extra=/dev/vdb1:/srv:xfs:nofail"]
    root, usr, extra = parameter_mounts(parameters)
    assert (root.kinds, root.subvolume) == (("btrfs", "ext4"), "@")
    assert (usr.source, usr.place) == ("LABEL=usr", "/usr")
    assert (extra.source, extra.place, extra.kinds) == ("/dev/vdb1", "/srv", ("xfs",))
    assert extra.is_optional
    assert str(root) == "the kernel parameters ask for root=/dev/vda2"
