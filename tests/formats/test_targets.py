"""What a target asks of an image: presets that options win over, rules, and what check-image finds.

Without these tests, an image could be made that its cloud refuses after the upload.
"""

import logging
import os
from pathlib import Path
from typing import Any

import pytest
from dissect.archive.vma import VMA

from assembler import assemble, check_image
from assembler.disk.tables import Table
from assembler.errors import RequestError
from assembler.formats.registry import FORMATS
from assembler.formats.target import Candidate, findings
from assembler.formats.targets import TARGETS
from assembler.plan.target_findings import warn_of_file
from assembler.spec import RootSpec, Spec
from assembler.units import GIB, MIB
from tests.support.helpers import output
from tests.support.requests import plan, refused
from tests.support.systems import System, make_system


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(tmp_path_factory.mktemp("store"))


def spec(**settings: Any) -> Spec:
    return Spec(root=RootSpec(system="/"), out=Path("/x"), **settings).with_target()


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_can_be_made(system: System, tmp_path: Path, name: str) -> None:
    """Its preset is no contradiction in itself, and the disk is as it takes it."""
    made = plan(system, tmp_path, target=name)
    target = TARGETS[name]
    assert made.spec.output_format.name == target.formats[0]
    assert findings(target, Candidate(size=made.layout.size)) == []
    assert made.layout.table is (target.table or Table.HYBRID)
    assert all(one in FORMATS for one in target.formats)


def test_options_win_over_a_target() -> None:
    linode = spec(target="linode")
    assert (linode.format, linode.table, linode.loader) == ("raw.gz", Table.NONE, "grub")
    other = spec(target="linode", format="qcow2", partition_table=Table.LEGACY, boot_loader="none")
    assert (other.format, other.table, other.loader) == ("qcow2", Table.LEGACY, "none")
    assert spec(target="linode", partition_table=Table.NONE).boot_loader is None


def test_the_name_must_suit_the_target() -> None:
    bad = Spec(root=RootSpec(system="/"), out=Path("/x.qcow2"), target="azure").with_target()
    assert bad.output_format.name == "vhd"


def test_googles_disk_has_whole_gib(system: System, tmp_path: Path) -> None:
    """The room is given to the root file system, and a size that is asked for must fit."""
    made = plan(system, tmp_path, target="google-compute")
    assert made.layout.size % GIB == 0
    assert made.layout.root.size > made.layout.size // 2
    [line] = refused(system, tmp_path, target="google-compute", size=1500 * MIB)
    words = "size 1.5 GiB (1572864000 bytes) is not a whole number of GiB"
    assert line == f"{words}, which format gce takes: take size 2G"


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            {"target": "linode", "size": 8 * GIB},
            "target linode takes disks of 6.0 GB at most, and this one has 8.6 GB",
        ),
        (
            {"target": "linode", "partition_table": Table.EFI},
            "target linode starts disks by GRUB from outside or BIOS, and this one is for UEFI: ",
        ),
        (
            {"target": "azure", "sector_size": 4096, "format": "raw"},
            "target azure has disks with sectors of 512 bytes, not 4096",
        ),
        (
            {"format": "vhd", "size": 2041 * GIB},
            f"format vhd holds 2.0 TiB ({2040 * GIB} bytes) at most, and the disk has 2.0 TiB "
            f"({2041 * GIB} bytes)",
        ),
        (
            {"size": 1_000_001},
            "size 976.6 KiB (1000001 bytes) is not a whole number of MiB, as every image has: "
            "take size 1M",
        ),
        (
            {"size": 3_000_000_001, "target": "azure"},
            "size 2.8 GiB (3000000001 bytes) is not a whole number of MiB, which format vhd takes: "
            "take size 2862M",
        ),
        (
            {"size": 3_000_000_001, "target": "azure", "format": "raw"},
            "size 2.8 GiB (3000000001 bytes) is not a whole number of MiB, which target azure "
            "takes: take size 2862M",
        ),
        (
            {"format": "vdi", "sector_size": 4096},
            "format vdi is for disks with sectors of 512 bytes, not sector_size 4096",
        ),
    ],
)
def test_what_cannot_be_is_refused(
    system: System, tmp_path: Path, settings: dict[str, Any], line: str
) -> None:
    found = refused(system, tmp_path, **settings)
    assert found[0].startswith(line)
    assert [*tmp_path.iterdir()] == []


def test_a_fault_of_format_and_target_is_one_line(system: System, tmp_path: Path) -> None:
    [line] = refused(system, tmp_path, target="vmware", sector_size=4096, boot_loader="none")
    assert line == (
        "target vmware has disks with sectors of 512 bytes, not 4096: take sector_size 512"
    )


def test_a_qcow2_too_large_for_hetzner(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With another format it is no matter."""
    monkeypatch.setitem(TARGETS["hetzner"].largest_files, "qcow2", 1)  # type: ignore[arg-type]
    plan(system, tmp_path, target="hetzner")
    [line] = refused(system, tmp_path, target="hetzner", format="qcow2")
    assert line.startswith("target hetzner takes files of the format qcow2 of 1 B at most, not ")
    assert line.endswith(": take format raw.zst")


def test_warnings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of a format that the target does not take, and of a machine that shows nothing."""
    system = make_system(tmp_path / "store")
    bootspec = system.host(system.toplevel) / "boot.json"
    bootspec.chmod(0o644)
    bootspec.write_text(bootspec.read_text().replace("console=ttyS0", "console=tty00"))
    with caplog.at_level(logging.WARNING):
        plan(system, tmp_path, target="azure", format="qcow2")
    assert [record.getMessage() for record in caplog.records] == [
        "target azure takes vhd, not qcow2: take format vhd",
        "target azure shows the serial port only, and the system writes nothing there: add "
        '"console=ttyS0" to boot.kernelParams',
    ]


@pytest.mark.parametrize(
    ("settings", "warning"),
    [
        (
            {"target": "hyperv", "partition_table": Table.LEGACY},
            "target hyperv starts a disk for BIOS only in machines of generation 1",
        ),
        (
            {"target": "linode", "partition_table": Table.HYBRID},
            "target linode starts a disk for BIOS only if the kernel of its configuration is "
            "Direct Disk",
        ),
        (
            {"target": "amazon", "format": "vmdk"},
            "target amazon takes vhd, raw, vmdk-stream, vhdx or ova, not vmdk: take format vhd",
        ),
        (
            {"target": "digital-ocean", "partition_table": Table.EFI},
            "target digital-ocean starts a disk for UEFI only if it has UEFI, of which its "
            "documentation says nothing",
        ),
        (
            {"target": "oci", "boot_loader": "none"},
            "target oci starts disks by BIOS or UEFI, and nothing starts this one",
        ),
    ],
)
def test_options_that_win_are_not_silent(
    system: System,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    settings: dict[str, Any],
    warning: str,
) -> None:
    with caplog.at_level(logging.WARNING):
        plan(system, tmp_path, **settings)
    assert warning in [record.getMessage() for record in caplog.records]


def test_a_file_that_is_too_large_after_compression(caplog: pytest.LogCaptureFixture) -> None:
    """The image is complete, and can be used elsewhere: so it is a warning."""
    with caplog.at_level(logging.WARNING):
        warn_of_file(spec(target="linode"), 5_000_000_000)
        warn_of_file(spec(target="azure"), 5_000_000_001)
        assert caplog.records == []
        warn_of_file(spec(target="linode"), 5_000_000_001)
    assert [record.getMessage() for record in caplog.records] == [
        "target linode takes files of the format raw.gz of 5.0 GB (5000000000 bytes) at most, not "
        "5.0 GB (5000000001 bytes)"
    ]


def test_a_system_for_another_machine_is_one_line(tmp_path: Path) -> None:
    system = make_system(tmp_path / "store")
    (system.host(system.toplevel) / "system").write_text("aarch64-linux")
    assert refused(system, tmp_path, target="vmware", partition_table=Table.LEGACY) == (
        "target vmware has machines for x86_64-linux only, and the system is for aarch64-linux",
    )


@pytest.fixture(scope="module")
def vhd(system: System, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image for Azure."""
    out = tmp_path_factory.mktemp("azure") / "disk.vhd"
    root = RootSpec(system=system.toplevel, store=system.root, closures=(system.registration,))
    assemble(Spec(root=root, out=out, target="azure"))
    return out


def test_an_image_for_its_target_is_sound(vhd: Path) -> None:
    assert check_image(vhd, target="azure").faults == ()
    found = check_image(vhd, target="google-compute").faults
    assert found[0] == "google-compute takes gce, not vhd: take format gce"


@pytest.mark.parametrize(
    ("table", "firmware"),
    [(Table.HYBRID, "seabios"), (Table.LEGACY, "seabios"), (Table.EFI, "ovmf")],
)
def test_a_machine_of_proxmox_starts_the_disk_by_its_table(
    system: System, tmp_path: Path, table: Table, firmware: str
) -> None:
    out = tmp_path / "disk.vma"
    root = RootSpec(system=system.toplevel, store=system.root, closures=(system.registration,))
    assemble(Spec(root=root, out=out, target="proxmox", partition_table=table))
    with out.open("rb") as file:
        settings = VMA(file).config("qemu-server.conf").decode().splitlines()
    assert f"bios: {firmware}" in settings


def test_a_vhd_whose_footer_is_not_at_the_end(vhd: Path, tmp_path: Path) -> None:
    """As it is where space is appended after the conversion."""
    late = tmp_path / "late.vhd"
    output("cp", "--sparse=always", vhd, late)
    os.truncate(late, vhd.stat().st_size + MIB)
    assert "azure takes vhd, not raw: take format vhd" in check_image(late, target="azure").faults
    out = tmp_path / "disk.raw"
    output("qemu-img", "convert", "-f", "vpc", "-O", "raw", vhd, out)
    assert "azure takes vhd, not raw: take format vhd" in check_image(out, target="azure").faults


def test_a_target_that_there_is_not(vhd: Path) -> None:
    with pytest.raises(RequestError, match="target 'nowhere' is none of amazon, "):
        check_image(vhd, target="nowhere")
