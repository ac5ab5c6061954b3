"""The rules for what a target takes: one for each fact of its row, in every row.

Without these tests, an image could be made, or called sound, that its cloud refuses or cannot
start.
"""

import re
from pathlib import Path
from typing import Any

import pytest

from assembler.disk.tables import Table
from assembler.formats.registry import FORMATS
from assembler.formats.target import Candidate, MadeImage, Start, Weight, findings
from assembler.formats.targets import TARGETS
from assembler.units import GIB, MIB, TIB
from tests.support.places import REPOSITORY

X86, ARM = "x86_64-linux", "aarch64-linux"
BOTH = (Start.BIOS, Start.UEFI)
SERIAL = ("quiet", "console=ttyS0,115200n8")
GB = 1000**3


def found(target: str, **image: Any) -> list[tuple[Weight, str]]:
    return [(one.weight, one.words) for one in findings(TARGETS[target], Candidate(**image))]


# What each target takes besides what it makes itself, and what it does not.
TAKEN = {
    "amazon": ["vhd", "raw", "vmdk-stream", "vhdx", "ova"],
    "azure": ["vhd"],
    "google-compute": ["gce"],
    "digital-ocean": ["raw.gz", "raw", "qcow2", "qcow2-compressed", "vhdx", "vdi", "vmdk"],
    "hetzner": ["raw.zst", "raw.xz", "raw", "qcow2", "qcow2-compressed"],
    "linode": ["raw.gz"],
    "oci": ["qcow2", "qcow2-compressed", "vmdk", "vmdk-stream"],
    "openstack": ["qcow2", "qcow2-compressed", "raw", "vmdk", "vhd", "vhdx", "vdi", "ova"],
    "kubevirt": ["qcow2", "qcow2-compressed", "raw", "raw.gz", "raw.xz", "vmdk", "vdi", "vhdx"],
    "proxmox": ["vma", "qcow2", "qcow2-compressed", "raw", "vmdk"],
    "hyperv": ["vhdx"],
    "vmware": ["vmdk", "vmdk-stream", "ova"],
    "virtualbox": ["ova", "vdi", "vmdk", "vmdk-stream", "vhd"],
    "libvirt": ["qcow2", "qcow2-compressed", "raw"],
}
REFUSED = {
    "amazon": ["vmdk", "qcow2", "gce"],
    "azure": ["vhdx", "raw", "qcow2"],
    "google-compute": ["raw", "raw.gz", "qcow2"],
    "digital-ocean": ["vhd", "raw.xz", "raw.zst", "ova"],
    "hetzner": ["raw.gz", "vmdk", "vhd"],
    "linode": ["raw", "raw.xz", "qcow2"],
    "oci": ["raw", "vhd", "ova"],
    "openstack": ["vma", "gce", "raw.gz"],
    "kubevirt": ["ova", "vma", "gce"],
    "proxmox": ["vhdx", "raw.gz"],
    "hyperv": ["vdi", "raw", "vmdk"],
    "vmware": ["qcow2", "vhd", "vdi"],
    "virtualbox": ["qcow2", "raw", "vma"],
    "libvirt": ["vhd", "ova", "raw.gz"],
}


def test_the_tables_here_have_every_target() -> None:
    assert [*TAKEN] == [*REFUSED] == [*TARGETS]


@pytest.mark.parametrize("name", TARGETS)
def test_what_a_target_makes_itself_is_taken(name: str) -> None:
    target = TARGETS[name]
    for platform, port in target.machines.items():
        image = Candidate(
            format=target.formats[0],
            file=(target.formats[0], GIB),
            size=2 * GIB,
            sector_size=512,
            platform=platform,
            starts=[*target.starts][:1],
            kernel_params=[f"console={port}"],
        )
        assert findings(target, image) == []


@pytest.mark.parametrize("name", TARGETS)
def test_formats(name: str) -> None:
    for made in TAKEN[name]:
        assert found(name, format=made) == []
    for made in REFUSED[name]:
        assert made in FORMATS
        [(weight, words)] = found(name, format=made)
        assert weight is Weight.FILE
        assert words.endswith(f", not {made}")
    [finding] = findings(TARGETS[name], Candidate(format=REFUSED[name][0]))
    assert str(finding.remedy) == f"take format {TAKEN[name][0]}"


@pytest.mark.parametrize(
    ("name", "platforms"),
    [
        *(
            (name, [X86, ARM])
            for name in ("amazon", "azure", "google-compute", "hetzner", "oci", "openstack")
        ),
        *((name, [X86, ARM]) for name in ("kubevirt", "libvirt")),
        *(
            (name, [X86])
            for name in ("digital-ocean", "linode", "proxmox", "hyperv", "vmware", "virtualbox")
        ),
    ],
)
def test_platforms(name: str, platforms: list[str]) -> None:
    """One line, whatever else is wrong."""
    for platform in (X86, ARM, "i686-linux", "riscv64-linux"):
        if platform in platforms:
            assert found(name, platform=platform) == []
            continue
        has = " and ".join(platforms)
        assert found(name, platform=platform, sector_size=4096, format="vma", size=1) == [
            (Weight.DISK, f"has machines for {has} only, and the system is for {platform}")
        ]


@pytest.mark.parametrize(
    ("name", "unit", "largest"),
    [
        ("amazon", 1, None),
        ("azure", MIB, 4095 * GIB),
        ("google-compute", GIB, 2 * TIB),
        ("digital-ocean", 1, 100 * GB),
        ("hetzner", 1, None),
        ("linode", 1, 6 * GB),
        ("oci", 1, 400 * GB),
        ("openstack", 1, None),
        ("kubevirt", 1, None),
        ("proxmox", 1, None),
        ("hyperv", 1, 64 * TIB),
        ("vmware", 1, 62 * TIB),
        ("virtualbox", 1, None),
        ("libvirt", 1, None),
    ],
)
def test_sizes(name: str, unit: int, largest: int | None) -> None:
    assert found(name, size=3 * unit) == []
    assert len(found(name, size=unit + 512)) == (unit > 1)
    if largest is None:
        assert found(name, size=unit << 50) == []
    else:
        most = largest // unit * unit
        assert found(name, size=most) == []
        [(weight, words)] = found(name, size=most + unit)
        assert weight is Weight.DISK
        assert words.startswith("takes disks of ")


@pytest.mark.parametrize(
    ("name", "size", "remedy"),
    [
        ("azure", 3 * MIB + 512, "take size 4M"),
        ("google-compute", GIB + MIB, "take size 2G"),
        ("linode", 7 * GB, "take a smaller size"),
    ],
)
def test_the_remedy_for_a_size(name: str, size: int, remedy: str) -> None:
    [finding] = findings(TARGETS[name], Candidate(size=size))
    assert str(finding.remedy) == remedy


def test_sizes_that_look_alike_have_their_bytes() -> None:
    [(_, words)] = found("azure", size=4096 * GIB)
    assert words == (
        f"takes disks of 4.0 TiB ({4095 * GIB} bytes) at most, and this one has 4.0 TiB "
        f"({4096 * GIB} bytes)"
    )


@pytest.mark.parametrize(
    ("name", "made", "most", "remedy"),
    [
        ("hetzner", "qcow2", 960 * MIB, "take format raw.zst"),
        ("hetzner", "qcow2-compressed", 960 * MIB, "take format raw.zst"),
        ("linode", "raw.gz", 5 * GB, ""),
    ],
)
def test_sizes_of_files(name: str, made: str, most: int, remedy: str) -> None:
    assert found(name, file=(made, most)) == []
    [finding] = findings(TARGETS[name], Candidate(file=(made, most + GIB)))
    assert finding.weight is Weight.DISK
    assert finding.words.startswith(f"takes files of the format {made} of ")
    assert str(finding.remedy) == remedy
    assert found(name, file=("raw", most + GIB)) == []


@pytest.mark.parametrize("name", TARGETS)
def test_large_sectors(name: str) -> None:
    assert found(name, sector_size=512) == []
    words = "has disks with sectors of 512 bytes, not 4096"
    expected = [] if name == "libvirt" else [(Weight.DISK, words)]
    assert found(name, sector_size=4096) == expected
    for finding in findings(TARGETS[name], Candidate(sector_size=4096)):
        assert str(finding.remedy) == "take sector_size 512"


@pytest.mark.parametrize("name", TARGETS)
def test_what_starts_a_disk(name: str) -> None:
    """Every target but those of the next test starts disks for BIOS, UEFI and both."""
    if name in ("digital-ocean", "linode", "oci", "hyperv", "virtualbox"):
        return
    for starts in ([Start.BIOS], [Start.UEFI], BOTH):
        assert found(name, starts=starts) == []
    [finding] = findings(TARGETS[name], Candidate(starts=[Start.MENU]))
    assert finding.weight is Weight.DISK
    assert finding.words == "starts disks by BIOS or UEFI, and this one is for GRUB from outside"
    tables = "legacy, legacy+boot, legacy+gpt, efi, efixbootldr or hybrid"
    assert str(finding.remedy) == f"take partition_table {tables}"


@pytest.mark.parametrize(
    ("name", "image", "weight", "words"),
    [
        ("digital-ocean", {"starts": BOTH}, None, ""),
        (
            "digital-ocean",
            {"starts": [Start.UEFI]},
            Weight.HINT,
            "starts a disk for UEFI only if it has UEFI, of which its documentation says nothing",
        ),
        ("oci", {"starts": BOTH}, None, ""),
        (
            "oci",
            {"starts": [Start.UEFI]},
            Weight.HINT,
            "starts a disk for UEFI only if the capabilities of the image have the firmware "
            "UEFI_64",
        ),
        ("linode", {"starts": [Start.MENU]}, None, ""),
        (
            "linode",
            {"starts": BOTH},
            Weight.HINT,
            "starts a disk for BIOS only if the kernel of its configuration is Direct Disk",
        ),
        (
            "linode",
            {"starts": [Start.UEFI]},
            Weight.DISK,
            "starts disks by GRUB from outside or BIOS, and this one is for UEFI",
        ),
        ("hyperv", {"starts": BOTH, "format": "vhdx"}, None, ""),
        (
            "hyperv",
            {"starts": [Start.BIOS], "format": "vhdx"},
            Weight.HINT,
            "starts a disk for BIOS only in machines of generation 1",
        ),
        (
            "hyperv",
            {"starts": [Start.UEFI], "format": "vhd"},
            Weight.DISK,
            "starts disks of the format vhd by BIOS, and this one is for UEFI",
        ),
        (
            "amazon",
            {"starts": []},
            Weight.HINT,
            "starts disks by BIOS or UEFI, and nothing starts this one",
        ),
    ],
)
def test_what_starts_only_some_disks(
    name: str, image: dict[str, Any], weight: Weight | None, words: str
) -> None:
    assert found(name, **image) == ([] if weight is None else [(weight, words)])


def test_the_remedy_for_a_format_that_only_bios_starts() -> None:
    [finding] = findings(TARGETS["hyperv"], Candidate(format="vhd", starts=[Start.UEFI]))
    tables = "legacy, legacy+boot, legacy+gpt or hybrid"
    assert str(finding.remedy) == (
        f"take format vhdx, or partition_table {tables} with boot_loader grub"
    )


def test_the_remedy_for_a_target_without_uefi_names_the_loader() -> None:
    [finding] = findings(TARGETS["linode"], Candidate(starts=[Start.UEFI]))
    tables = "legacy, legacy+boot, legacy+gpt, hybrid or none"
    assert str(finding.remedy) == f"take partition_table {tables} with boot_loader grub"


@pytest.mark.parametrize("name", TARGETS)
def test_consoles(name: str) -> None:
    """A machine of which only the serial port is seen, and a system that writes nothing there."""
    for platform, port in TARGETS[name].machines.items():
        for silent in (["console=tty0"], ["console=ttyS1"], ["noconsole=ttyS0"]):
            findings_ = findings(TARGETS[name], Candidate(platform=platform, kernel_params=silent))
            is_seen = not port or (platform == ARM and "console=" not in silent[0][:8])
            assert bool(findings_) != is_seen
            for one in findings_:
                assert one.weight is Weight.HINT
                assert one.remedy == f'add "console={port}" to boot.kernelParams'
        for heard in (["console=tty0", "console=ttyS0"], ["console=hvc0"], SERIAL):
            assert found(name, platform=platform, kernel_params=heard) == []


def test_a_kernel_for_arm_takes_the_console_of_the_firmware() -> None:
    assert found("oci", platform=ARM, kernel_params=["quiet"]) == []
    assert len(found("oci", platform=X86, kernel_params=["quiet"])) == 1


@pytest.mark.parametrize("name", TARGETS)
def test_what_nobody_looked_at_is_no_fault(name: str) -> None:
    assert found(name) == []


@pytest.mark.parametrize(
    ("starts", "mode"),
    [
        ([Start.BIOS], "legacy-bios"),
        ([Start.UEFI], "uefi"),
        (BOTH, "uefi-preferred"),
        ([], "legacy-bios"),
    ],
)
@pytest.mark.parametrize(
    ("made", "format"), [("vhd", "VHD"), ("raw", "RAW"), ("vmdk-stream", "VMDK")]
)
def test_amazons_words(starts: list[Start], mode: str, made: str, format: str) -> None:
    """The boot modes and formats of EC2's API, whose words are not those of this program."""
    [sidecar] = [row.sidecar for row in TARGETS.values() if row.sidecar is not None]
    assert sidecar is TARGETS["amazon"].sidecar
    image = MadeImage(
        file=Path("/x"), format=made, size=MIB, platform=ARM, label="NixOS", starts=starts
    )
    facts = sidecar.content(image)
    assert (facts["boot_mode"], facts["format"], facts["system"]) == (mode, format, ARM)


DOCUMENT = REPOSITORY / "docs/targets.md"


@pytest.mark.parametrize("name", TARGETS)
def test_the_document_has_every_row(name: str) -> None:
    """Its formats, its partition table, and where its rules come from."""
    facts, *sources = [
        line.split("|")[2:-1]
        for line in DOCUMENT.read_text().splitlines()
        if line.startswith(f"| `{name}` |")
    ]
    row = TARGETS[name]
    assert re.findall(r"`([^`]+)`", facts[0]) == [*row.formats]
    assert re.findall(r"`([^`]+)`", facts[1]) == ([] if row.table is None else [row.table])
    assert sources
    assert all("https://" in source for source, _ in sources)


def test_presets() -> None:
    """Of a disk that only the target takes so."""
    presets = {
        name: (row.table, row.boot_loader)
        for name, row in TARGETS.items()
        if (row.table, row.boot_loader) != (None, None)
    }
    assert presets == {"linode": (Table.NONE, "grub"), "hyperv": (Table.EFI, None)}
