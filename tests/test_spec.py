"""Values that do not go together, whatever the host.

Without these tests, a script can ask for an image that no option of the command can ask for.
"""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembler.disk.tables import Table
from assembler.errors import RequestError
from assembler.spec import RootSpec, Spec
from tests.support.systems import store_path

SYSTEM = store_path(1, "nixos-system")
LAST = (1 << 32) - 2


@given(st.lists(st.integers(1, LAST)))
def test_only_numbers_that_are_given_twice_are_refused(numbers: list[int]) -> None:
    spec = RootSpec(system="/x", generations=tuple((number, SYSTEM) for number in numbers))
    messages = [line.split()[1] for line in spec.problems() if "is given twice" in line]
    assert messages == [str(n) for n in sorted(set(numbers)) if numbers.count(n) > 1]


def disk(**options: Any) -> Spec:
    return Spec(root=RootSpec(system=SYSTEM), out=Path("/tmp/disk.raw"), **options)


@pytest.mark.parametrize(
    ("options", "table", "loader"),
    [
        ({}, Table.HYBRID, "grub"),
        ({"boot_loader": "systemd-boot"}, Table.EFI, "systemd-boot"),
        ({"sector_size": 4096}, Table.EFI, "grub"),
        ({"partition_table": Table.NONE}, Table.NONE, "none"),
        ({"partition_table": Table.LEGACY}, Table.LEGACY, "grub"),
        ({"boot_loader": "none"}, Table.HYBRID, "none"),
        (
            {"partition_table": Table.EFIXBOOTLDR, "boot_loader": "systemd-boot"},
            Table.EFIXBOOTLDR,
            None,
        ),
    ],
)
def test_table_and_boot_loader_suit_each_other(
    options: dict[str, Any], table: Table, loader: str | None
) -> None:
    spec = disk(**options)
    assert spec.table is table
    assert spec.loader == (loader or options["boot_loader"])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {"partition_table": Table.HYBRID, "boot_loader": "systemd-boot"},
            "partition_table hybrid is for BIOS, too, which does not start systemd-boot: take "
            "efi or efixbootldr, or boot_loader grub",
        ),
        (
            {"partition_table": Table.NONE, "boot_loader": "systemd-boot"},
            "partition_table none cannot hold a boot loader: take boot_loader none, not "
            "systemd-boot, or another table; with grub it has a menu for a GRUB from outside",
        ),
        (
            {"partition_table": Table.LEGACY, "sector_size": 4096},
            "partition_table legacy is for BIOS, which starts no disk with sector_size 4096: "
            "take efi or efixbootldr",
        ),
        (
            {
                "partition_table": Table.EFIXBOOTLDR,
                "boot_loader": "systemd-boot",
                "sector_size": 4096,
            },
            "sector_size 4096: systemd-boot finds no kernels in an XBOOTLDR partition of such a "
            "disk: take partition_table efi, or boot_loader grub",
        ),
        (
            {"partition_table": Table.LEGACY, "efi_binaries": (Path("/shim.efi"),)},
            "efi_binaries is for boot_loader grub and a partition table with an EFI system "
            "partition: efi, efixbootldr or hybrid",
        ),
    ],
)
def test_what_does_not_go_with_a_boot_loader(options: dict[str, Any], problem: str) -> None:
    assert problem in disk(**options).problems()


def test_all_that_a_layout_cannot_hold_at_once() -> None:
    assert disk(
        partition_table=Table.HYBRID, boot_loader="systemd-boot", sector_size=4096
    ).problems() == [
        "partition_table hybrid is for BIOS, too, which does not start systemd-boot: take efi or "
        "efixbootldr, or boot_loader grub",
        "partition_table hybrid is for BIOS, which starts no disk with sector_size 4096: take "
        "efi or efixbootldr",
    ]


@pytest.mark.parametrize("label", ["", "x" * 17, "a\nb", "\udcff"])
def test_a_label_that_ext4_cannot_have(label: str) -> None:
    [line] = disk(label=label).problems()
    assert line == f"label {label!r} is not 1 to 16 printable bytes"


@pytest.mark.parametrize("field", ["size", "additional_space", "boot_size"])
def test_a_size_beyond_the_file_systems(field: str) -> None:
    [line] = disk(**{field: 8000 << 40}).problems()
    assert field in line


@pytest.mark.parametrize(
    ("kind", "end"), [("ext4", "8.0 TiB"), ("f2fs", "16.0 TiB"), ("btrfs", ""), ("xfs", "")]
)
@pytest.mark.parametrize("field", ["size", "additional_space"])
def test_a_size_beyond_a_file_system(field: str, kind: str, end: str) -> None:
    line = f"size and additional_space end at {end}, as {kind}"
    assert disk(**{field: 17 << 40}, file_system=kind).problems() == ([line] if end else [])


@pytest.mark.parametrize(
    ("kind", "refused"), [("ext4", True), ("xfs", True), ("btrfs", False), ("f2fs", False)]
)
def test_an_epoch_beyond_a_file_system(kind: str, refused: bool) -> None:
    """The root alone may be for any."""
    root = RootSpec(system=SYSTEM, epoch=1 << 35)
    assert root.problems() == []
    line = f"epoch 34359738368 is not a time that {kind} can hold"
    spec = Spec(root=root, out=Path("/tmp/disk.raw"), file_system=kind)
    assert spec.problems() == ([line] if refused else [])


@pytest.mark.parametrize("epoch", [-1, 1 << 63])
@pytest.mark.parametrize("kind", ["ext4", "btrfs"])
def test_an_epoch_beyond_linux(epoch: int, kind: str) -> None:
    root = RootSpec(system=SYSTEM, epoch=epoch)
    lines = [f"epoch {epoch} is not a time that Linux can hold"]
    assert root.problems() == lines
    spec = Spec(root=root, out=Path("/tmp/disk.raw"), file_system=kind)
    assert spec.problems() == lines


def test_a_file_system_and_a_writer_that_do_not_go_together() -> None:
    """All at once."""
    spec = disk(
        file_system="xfs",
        writer="direct",
        label="thirteen long",
        subvolumes=(("@", "/"), ("@", "relative"), ("a/b", "/")),
    )
    assert spec.problems() == [
        "label 'thirteen long' is not 1 to 12 printable bytes",
        "writer direct makes ext4 only: take writer guestfs for xfs",
        "subvolumes is for file_system btrfs, not xfs",
        "subvolumes @=relative: 'relative' is not an absolute, plain path",
        "subvolumes a/b=/: a name has letters, digits and @._+- only",
        "subvolumes: the name @ is given twice",
        "subvolumes: the place / is given twice",
    ]


def test_words_that_there_are_not() -> None:
    """All at once, before anything else is looked at."""
    with pytest.raises(RequestError) as caught:
        disk(target="nowhere", format="qed", file_system="ntfs", writer="me", size=-1)
    target, format, *others = caught.value.problems
    assert target.startswith("target 'nowhere' is none of amazon, azure, ")
    assert format.startswith("format 'qed' is none of raw, qcow2, ")
    assert others == [
        "file_system ntfs cannot be made: there are ext4, and with writer guestfs btrfs, xfs, f2fs",
        "writer 'me' is none of auto, direct, guestfs",
    ]


def test_a_subvolume_that_would_show_twice() -> None:
    """Where the root is the top level of the btrfs, in which every subvolume has its name."""
    subvolumes = ("nix", "/nix"), ("home", "/var")
    assert disk(file_system="btrfs", subvolumes=subvolumes).problems() == [
        "subvolumes home=/var would show in the root as /home, too: give the root a subvolume of "
        "its own, as in subvolumes @=/"
    ]


@pytest.mark.parametrize("subvolume", [("", "/"), ("..", "/"), ("@", "/a/../b"), ("@", "/a,b")])
def test_a_subvolume_that_is_none(subvolume: tuple[str, str]) -> None:
    lines = disk(file_system="btrfs", subvolumes=(subvolume,)).problems()
    assert any("=".join(subvolume) in line for line in lines)
