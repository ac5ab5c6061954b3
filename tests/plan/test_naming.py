"""The settings and the mounts of all systems in the image decide the names of the disk.

Without these tests, a disk can have another label or UUID than its system mounts, and does not
boot.
"""

import logging
from pathlib import Path
from uuid import UUID

import pytest

from assembler.boot.installer import Installer
from assembler.boot.mounts.devices import Tag
from assembler.boot.mounts.disk_names import DiskNames
from assembler.boot.volumes import Role
from assembler.disk.tables import Table
from assembler.errors import RequestError
from assembler.plan.naming import decide_names
from assembler.plan.resolve import Resolution
from assembler.spec import RootSpec, Spec
from assembler.store.paths import StoreRoot
from tests.support.boots import add_system, put

NUMBER = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"


def system(store: StoreRoot, digit: str, fstab: str, *params: str, **inner: str) -> str:
    """A system that mounts what is in an fstab; `inner` are its specialisations."""
    top = add_system(store, digit, params, inner)
    put(store, f"{top}/etc/fstab", fstab)
    return top


def decide(
    store: StoreRoot,
    top: str,
    generations: tuple[tuple[int, str], ...] = (),
    architecture: str = "x86_64-linux",
    **options: object,
) -> DiskNames:
    """Decide the names for a request."""
    root = RootSpec(system=top, store=store.root, generations=generations)
    spec = Spec(root=root, out=Path("/nonexistent"), **options)  # type: ignore[arg-type]
    return decide_names(Resolution(spec, spec, architecture, Installer()), store)


@pytest.fixture
def store(tmp_path: Path) -> StoreRoot:
    return StoreRoot(tmp_path)


def test_options_give_names(store: StoreRoot) -> None:
    top = system(store, "0", "")
    names = decide(store, top, label="a", root_uuid=UUID(NUMBER), root_partuuid=NUMBER)
    assert names.label(Role.ROOT) == "a"
    assert names.get(Role.ROOT, Tag.UUID) == names.get(Role.ROOT, Tag.PARTUUID) == NUMBER
    assert names.label(Role.ESP) == "ESP"


def test_guids_of_partitions_are_their_names(store: StoreRoot) -> None:
    """The BIOS boot partition has none that a system could ask for."""
    guids = ((1, UUID(int=1)), (2, UUID(int=2)), (3, UUID(NUMBER)))
    names = decide(store, system(store, "0", ""), partition_guids=guids)
    assert names.get(Role.ROOT, Tag.PARTUUID) == NUMBER
    assert names.get(Role.ESP, Tag.PARTUUID) == str(UUID(int=1))


def test_a_store_alone_is_not_what_the_system_has_as_its_root(store: StoreRoot) -> None:
    top = system(store, "0", "/dev/mapper/root / ext4 x\n")
    assert decide(store, top, store_only=True).label(Role.ROOT) == "nix-store"
    assert decide(store, top, store_only=True, label="s").label(Role.ROOT) == "s"
    with pytest.raises(RequestError, match="a GUID in lower case"):
        decide(store, top, store_only=True, root_partuuid="0badcafe-01")


def test_what_the_machine_must_call_the_disk(store: StoreRoot) -> None:
    by_label = system(store, "0", "LABEL=a / ext4 x")
    assert decide(store, by_label).disks == frozenset()
    by_number = system(store, "1", "LABEL=a / ext4\n/dev/sda1 /boot vfat", "root=/dev/sda3")
    assert decide(store, by_number).disks == {"sda"}
    assert decide(store, by_label, ((3, by_number),)).disks == frozenset()


@pytest.mark.parametrize(
    ("fstab", "options", "word"),
    [
        ("LABEL=b / ext4", {"label": "a"}, "label is a"),
        (f"UUID={NUMBER} / ext4", {"root_uuid": UUID(int=1 << 64)}, "root_uuid is"),
        (f"PARTUUID={NUMBER} / ext4", {"root_partuuid": NUMBER[:-1] + "0"}, "root_partuuid is"),
        ("", {"root_partuuid": "0badcafe-01"}, "a GUID in lower case"),
        ("", {"root_partuuid": NUMBER, "partition_table": Table.LEGACY}, "an MBR"),
        ("", {"root_partuuid": NUMBER, "partition_table": Table.NONE}, "without a partition table"),
        ("LABEL=a /boot vfat x", {"label": "a"}, "both have the label a"),
        ("", {"label": "a "}, "not a label that udev finds"),
        (
            f"PARTUUID={NUMBER} /boot/efi vfat",
            {"partition_guids": ((1, UUID(int=1 << 64)),)},
            "partition_guids 1=00000000-0000-0001-0000-000000000000 is",
        ),
        (
            "",
            {"partition_guids": ((3, UUID(NUMBER)),), "root_partuuid": NUMBER[:-1] + "0"},
            "can have one partition UUID only; leave root_partuuid",
        ),
    ],
)
def test_options_that_contradict(
    store: StoreRoot, fstab: str, options: dict[str, object], word: str
) -> None:
    with pytest.raises(RequestError, match=word):
        decide(store, system(store, "0", fstab), **options)


def test_where_something_else_boots_the_disk_all_are_warnings(
    store: StoreRoot, caplog: pytest.LogCaptureFixture
) -> None:
    top = system(store, "0", "/dev/mapper/root / ext4 x\nLABEL=b /boot ext4 x\n")
    names = decide(store, top, boot_loader="none")
    assert names.label(Role.ROOT) == "nixos"
    assert [record.levelno for record in caplog.records] == 2 * [logging.WARNING]
    with pytest.raises(RequestError) as raised:
        decide(store, top, boot_loader="system")
    assert len(raised.value.problems) == 2


def test_kernel_parameters_count(store: StoreRoot) -> None:
    top = system(store, "0", "/dev/root / auto x\n", f"root=UUID={NUMBER}")
    assert decide(store, top).get(Role.ROOT, Tag.UUID) == NUMBER
    with pytest.raises(RequestError, match="kernel parameters ask for root=LABEL=a"):
        decide(store, system(store, "1", "LABEL=b / ext4\n", "root=LABEL=a"))


@pytest.mark.parametrize(
    ("loader", "table", "architecture", "fits"),
    [
        ("systemd-boot", "efi", "x86_64-linux", True),
        ("systemd-boot", "efi", "riscv64-linux", False),
        ("system", "efi", "aarch64-linux", True),
        ("system", "legacy", "x86_64-linux", False),
        ("grub", "efi", "x86_64-linux", False),
    ],
)
def test_systemd_may_find_the_root_by_its_type(
    store: StoreRoot, loader: str, table: str, architecture: str, fits: bool
) -> None:
    top = system(store, "0", "", "root=gpt-auto")
    options = {"boot_loader": loader, "partition_table": Table(table), "architecture": architecture}
    if fits:
        decide(store, top, **options)  # type: ignore[arg-type]
    else:
        with pytest.raises(RequestError, match="root=gpt-auto"):
            decide(store, top, **options)  # type: ignore[arg-type]


def test_other_mounts_are_one_warning(store: StoreRoot, caplog: pytest.LogCaptureFixture) -> None:
    rows = ["LABEL=nixos / ext4 x", "/dev/vdb1 /srv ext4 x", "LABEL=swap none swap x"]
    decide(store, system(store, "0", "\n".join(rows), "resume=LABEL=swap resume_offset=1"))
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "not on this disk: the system mounts /srv from /dev/vdb1, the system swaps to LABEL=swap; "
    )


@pytest.mark.parametrize(
    ("fstab", "params", "word"),
    [
        ("LABEL=nixos / ext4 x", "resume=/dev/vdb7", "not on this disk: the kernel parameters ask"),
        ("LABEL=nixos / ext4 x", "resume=LABEL=nixos", ""),
        ("LABEL=data /srv ext4 nofail", "", "mounts nothing at /"),
        ("LABEL=data /srv ext4 nofail", "root=LABEL=nixos", ""),
        ("/dev/disk/by-id/ata-A-part3 / ext4 x", "", "only where the hardware has the name: the"),
        (
            "ID=ata-A-part3 / ext4 x",
            "",
            "only where the hardware has the name: the system mounts /",
        ),
        ("/dev/disk/by-path/pci-0-part3 / ext4 x", "", "only where the hardware has the name"),
        ("/dev/disk/azure/root-part3 / ext4 x", "", ""),
    ],
)
def test_what_may_not_come_up_is_one_warning(
    store: StoreRoot, caplog: pytest.LogCaptureFixture, fstab: str, params: str, word: str
) -> None:
    decide(store, system(store, "0", fstab, params))
    assert len(caplog.messages) == bool(word)
    assert word in "".join(caplog.messages)


def test_a_root_that_is_found_by_its_type_needs_no_other_table(store: StoreRoot) -> None:
    with pytest.raises(RequestError) as raised:
        decide(store, system(store, "0", "", "root=gpt-auto"), boot_loader="grub")
    assert len(raised.value.problems) == 1


def test_other_generations_get_their_names_too(
    store: StoreRoot, caplog: pytest.LogCaptureFixture
) -> None:
    inner = system(store, "2", f"PARTUUID={NUMBER} / ext4 x\n")
    top = system(store, "0", "LABEL=a / ext4 x\n", inner=inner)
    other = system(store, "1", f"UUID={NUMBER} / ext4 x\n")
    names = decide(store, top, ((1, other),))
    assert names.label(Role.ROOT) == "a"
    assert names.get(Role.ROOT, Tag.UUID) == names.get(Role.ROOT, Tag.PARTUUID) == NUMBER
    assert not caplog.records


def test_other_generations_that_contradict_are_one_warning(
    store: StoreRoot, caplog: pytest.LogCaptureFixture
) -> None:
    inner = system(store, "2", "LABEL=c / ext4 x\n")
    clash = system(store, "3", "LABEL=a /boot vfat x\n")
    top = system(store, "0", "LABEL=a / ext4 x\n", inner=inner, clash=clash)
    other = system(store, "1", "/dev/mapper/root / ext4 x\n")
    decide(store, top, ((1, other),))
    (record,) = caplog.records
    for word in ("generation 1", "LUKS", "specialisation inner", "LABEL=c", "specialisation clash"):
        assert word in record.getMessage()


@pytest.mark.parametrize(
    ("rows", "tables"),
    [
        (
            ["/dev/vda2 / ext4 x"],
            "legacy+boot or partition_table legacy+gpt or partition_table efi",
        ),
        (["/dev/sda / ext4 x"], "none"),
        (["PARTUUID=0badcafe-01 / ext4 x"], "legacy"),
        (["LABEL=a /boot vfat x", "LABEL=b /efi vfat x"], "efixbootldr"),
    ],
)
def test_a_table_that_the_system_is_for_is_named(
    store: StoreRoot, rows: list[str], tables: str
) -> None:
    with pytest.raises(RequestError) as raised:
        decide(store, system(store, "0", "\n".join(rows)))
    assert f"partition_table {tables}" in str(raised.value)
