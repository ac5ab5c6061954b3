"""Where an image is to run: the facts of each taker.

A target gives the settings that the user leaves open, and `target.py` has the rules for what is
made.
"""

from collections.abc import Mapping

from assembler.disk.tables import Table
from assembler.errors import Message, Setting
from assembler.formats.target import Start, Target
from assembler.units import GIB, MIB, TIB

_X86, _ARM = "x86_64-linux", "aarch64-linux"
# Machines whose serial port is seen, with the name that Linux gives it: QEMU's virt has a PL011.
_SERIAL_X86 = {_X86: "ttyS0"}
_SERIAL = {_X86: "ttyS0", _ARM: "ttyAMA0"}
_SERIAL_S0 = {_X86: "ttyS0", _ARM: "ttyS0"}
_SCREEN_X86 = {_X86: ""}  # whose screen is seen
_FIRMWARE = {Start.BIOS: "", Start.UEFI: ""}
_QCOW2 = ("qcow2", "qcow2-compressed")
_VMDK = ("vmdk", "vmdk-stream")
_GB = 1000**3

TARGETS: Mapping[str, Target] = {
    # AWS, "VM Import/Export requirements" and "Troubleshoot instances with the serial console";
    # coldsnap and nixpkgs' upload-ami read the sidecar.
    "amazon": Target(
        formats=("vhd", "raw", "vmdk-stream"),
        machines=_SERIAL_S0,
        starts=_FIRMWARE,
        unit=MIB,
        largest=2040 * GIB,
        has_info=True,
    ),
    # Microsoft, "Prepare Linux for imaging": fixed VHD, whole MiB, 2 TiB for the OS disk.
    "azure": Target(
        formats=("vhd",), machines=_SERIAL, starts=_FIRMWARE, unit=MIB, largest=2040 * GIB
    ),
    # Google, "Manually import boot disks": disk.raw in a tar.gz, whole GiB.
    "google-compute": Target(
        formats=("gce",), machines=_SERIAL_S0, starts=_FIRMWARE, unit=GIB, largest=2 * TIB
    ),
    # DigitalOcean, "Custom Images Limits": raw with a table, gzip, less than 100 GB.
    "digital-ocean": Target(
        formats=("raw.gz", *_QCOW2, "vhdx", "vdi", *_VMDK, "raw"),
        machines=_SCREEN_X86,
        starts={Start.BIOS: ""},
        largest=100 * _GB - 1,
    ),
    # hcloud-upload-image: raw of any size, compressed; a QCOW2 must fit into a RAM disk.
    "hetzner": Target(
        formats=("raw.xz", "raw", "raw.zst", *_QCOW2),
        machines=_SERIAL,
        starts=_FIRMWARE,
        largest_files=dict.fromkeys(_QCOW2, 960 * MIB),
    ),
    # Linode, "Upload an Image": raw, gzip, at most 5 GB; "Images": a disk of 6 GB. Linode's own
    # GRUB reads the menu of a disk without a partition table.
    "linode": Target(
        formats=("raw.gz",),
        machines=_SERIAL_X86,
        starts={Start.MENU: "", Start.BIOS: "if the kernel of its configuration is Direct Disk"},
        table=Table.NONE,
        boot_loader="grub",
        largest=6 * _GB,
        largest_files={"raw.gz": 5 * _GB},
    ),
    # Oracle, "Importing Custom Linux Images": QCOW2 or VMDK, at most 400 GB.
    "oci": Target(formats=(*_QCOW2, *_VMDK), machines=_SERIAL, starts=_FIRMWARE, largest=400 * _GB),
    # OpenStack, Virtual Machine Image Guide: "Disk and container formats", serial console log.
    "openstack": Target(
        formats=(*_QCOW2, "raw", *_VMDK, "vhd", "vhdx", "vdi", "ova"),
        machines=_SERIAL,
        starts=_FIRMWARE,
    ),
    # KubeVirt, "Containerized Data Importer": QCOW2 or raw; `virtctl console` is a serial port.
    "kubevirt": Target(
        formats=(*_QCOW2, "raw", "raw.gz", "raw.xz"), machines=_SERIAL, starts=_FIRMWARE
    ),
    # Proxmox, qm(1): `qmrestore`; the machine's settings have serial0.
    "proxmox": Target(
        formats=("vma", *_QCOW2, "raw", *_VMDK), machines=_SERIAL_X86, starts=_FIRMWARE
    ),
    # Microsoft, "Should I create a generation 1 or 2 virtual machine": generation 2 is UEFI.
    "hyperv": Target(
        formats=("vhdx", "vhd"),
        machines=_SCREEN_X86,
        starts={Start.UEFI: "", Start.BIOS: "in machines of generation 1"},
        format_starts={"vhd": Start.BIOS},
        table=Table.EFI,
        largest=64 * TIB,
    ),
    # VMware, "Virtual Disk Format 5.0".
    "vmware": Target(
        formats=(*_VMDK, "ova"), machines=_SCREEN_X86, starts=_FIRMWARE, largest=62 * TIB
    ),
    # VirtualBox, user manual, "Importing and Exporting Virtual Machines".
    "virtualbox": Target(
        formats=("ova", "vdi", *_VMDK, "vhd"), machines=_SCREEN_X86, starts=_FIRMWARE
    ),
    # libvirt, "Domain XML format": `virsh console` is a serial port.
    "libvirt": Target(
        formats=(*_QCOW2, "raw"), machines=_SERIAL, starts=_FIRMWARE, has_large_sectors=True
    ),
}


def target_problems(name: str | None) -> list[str]:
    """One line for a target that there is not."""
    if name is None or name in TARGETS:
        return []
    return [Message(Setting("target", name), f" is none of {', '.join(TARGETS)}")]
