"""Where an image is to run: the facts of each taker.

A target gives the settings that the user leaves open, and `target.py` has the rules for what is
made. docs/targets.md has the sources of the facts.
"""

from collections.abc import Mapping

from assembler.disk.tables import Table
from assembler.formats.target import MadeImage, Sidecar, Start, Target
from assembler.machines import Machine
from assembler.units import GB, GIB, MIB, TIB

_X86, _ARM = Machine.X64.facts.nix, Machine.AA64.facts.nix
# Machines whose serial port is seen, with the name that Linux gives it: QEMU's virt has a PL011.
_SERIAL_X86 = {_X86: "ttyS0"}
_SERIAL = {_X86: "ttyS0", _ARM: "ttyAMA0"}
_SERIAL_S0 = {_X86: "ttyS0", _ARM: "ttyS0"}
_SCREEN_X86 = {_X86: ""}  # whose screen is seen
_FIRMWARE = {Start.BIOS: "", Start.UEFI: ""}
_QCOW2 = ("qcow2", "qcow2-compressed")
_VMDK = ("vmdk", "vmdk-stream")

# EC2's API, SnapshotDiskContainer.
_AWS_FORMATS = {"vhd": "VHD", "raw": "RAW", "vmdk-stream": "VMDK"}
# EC2's user guide, "Instance launch behavior with Amazon EC2 boot modes".
_AWS_BOOT_MODES = {
    frozenset({Start.BIOS}): "legacy-bios",
    frozenset({Start.UEFI}): "uefi",
    frozenset({Start.BIOS, Start.UEFI}): "uefi-preferred",
}


def _image_info(image: MadeImage) -> Mapping[str, object]:
    """What nixpkgs' amazon-image.nix writes, and the format that its upload-ami reads."""
    size, file = str(image.size), str(image.file)
    return {
        "label": image.label,
        "boot_mode": _AWS_BOOT_MODES.get(frozenset(image.starts), "legacy-bios"),
        "system": image.platform,
        "format": _AWS_FORMATS[image.format],
        "logical_bytes": size,
        "file": file,
        "disks": {"root": {"logical_bytes": size, "file": file}},
    }


TARGETS: Mapping[str, Target] = {
    "amazon": Target(
        formats=("vhd", "raw", "vmdk-stream", "vhdx", "ova"),
        machines=_SERIAL_S0,
        starts=_FIRMWARE,
        sidecar=Sidecar("image-info.json", _AWS_FORMATS, _image_info),
    ),
    "azure": Target(
        formats=("vhd",), machines=_SERIAL, starts=_FIRMWARE, unit=MIB, largest=4095 * GIB
    ),
    "google-compute": Target(
        formats=("gce",), machines=_SERIAL_S0, starts=_FIRMWARE, unit=GIB, largest=2 * TIB
    ),
    "digital-ocean": Target(
        formats=("raw.gz", *_QCOW2, "vhdx", "vdi", *_VMDK, "raw"),
        machines=_SCREEN_X86,
        starts={
            Start.BIOS: "",
            Start.UEFI: "if it has UEFI, of which its documentation says nothing",
        },
        largest=100 * GB,
    ),
    "hetzner": Target(
        formats=("raw.zst", "raw.xz", "raw", *_QCOW2),
        machines=_SERIAL,
        starts=_FIRMWARE,
        largest_files=dict.fromkeys(_QCOW2, 960 * MIB),
    ),
    # Linode's own GRUB reads the menu of a disk without a partition table.
    "linode": Target(
        formats=("raw.gz",),
        machines=_SERIAL_X86,
        starts={Start.MENU: "", Start.BIOS: "if the kernel of its configuration is Direct Disk"},
        table=Table.NONE,
        boot_loader="grub",
        largest=6 * GB,
        largest_files={"raw.gz": 5 * GB},
    ),
    "oci": Target(
        formats=(*_QCOW2, *_VMDK),
        machines=_SERIAL,
        starts={
            Start.BIOS: "",
            Start.UEFI: "if the capabilities of the image have the firmware UEFI_64",
        },
        largest=400 * GB,
    ),
    "openstack": Target(
        formats=(*_QCOW2, "raw", *_VMDK, "vhd", "vhdx", "vdi", "ova"),
        machines=_SERIAL,
        starts=_FIRMWARE,
    ),
    "kubevirt": Target(
        formats=(*_QCOW2, "raw", "raw.gz", "raw.xz", *_VMDK, "vdi", "vhd", "vhdx"),
        machines=_SERIAL,
        starts=_FIRMWARE,
    ),
    "proxmox": Target(
        formats=("vma", *_QCOW2, "raw", *_VMDK), machines=_SERIAL_X86, starts=_FIRMWARE
    ),
    # Machines of generation 2 have UEFI and no IDE controller, from which alone a VHD starts.
    "hyperv": Target(
        formats=("vhdx", "vhd"),
        machines=_SCREEN_X86,
        starts={Start.UEFI: "", Start.BIOS: "in machines of generation 1"},
        format_starts={"vhd": Start.BIOS},
        table=Table.EFI,
        largest=64 * TIB,
    ),
    "vmware": Target(
        formats=(*_VMDK, "ova"), machines=_SCREEN_X86, starts=_FIRMWARE, largest=62 * TIB
    ),
    "virtualbox": Target(
        formats=("ova", "vdi", *_VMDK, "vhd"),
        machines=_SCREEN_X86,
        starts={Start.BIOS: "", Start.UEFI: "after VBoxManage modifyvm NAME --firmware efi"},
    ),
    "libvirt": Target(
        formats=(*_QCOW2, "raw"), machines=_SERIAL, starts=_FIRMWARE, has_large_sectors=True
    ),
}
