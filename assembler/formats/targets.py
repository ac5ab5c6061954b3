"""Where an image is to run: what each taker asks of it, as data.

A target gives the settings that the user leaves open, and rules for what is made.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from assembler.disk.tables import Table
from assembler.errors import Message, Setting
from assembler.formats.registry import FORMATS
from assembler.units import GIB, MIB, SECTOR, TIB, format_size

_SERIAL = "console=ttyS0"
_GB = 1000**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A taker of images. Sizes are in bytes; None and empty are what it does not care for."""

    formats: tuple[str, ...]  # that it takes; the first one is made
    table: Table | None = None
    boot_loader: str | None = None
    unit: int = 1  # of the disk's size
    largest: int | None = None  # the disk
    largest_data: Mapping[str, int] | None = None  # by format, what may be in the disk
    console: str = ""  # the kernel parameter without which nothing is seen
    has_large_sectors: bool = False
    is_x86: bool = False  # whether it has machines of x86-64 only
    needs_bios: bool = False
    has_info: bool = False  # whether its upload tools read an image-info.json


TARGETS: Mapping[str, Target] = {
    # AWS, "VM Import/Export requirements" and "Troubleshoot instances with the serial console";
    # coldsnap and nixpkgs' upload-ami read the sidecar.
    "amazon": Target(
        formats=("vhd", "raw", "vmdk-stream"),
        unit=MIB,
        largest=2040 * GIB,
        console=_SERIAL,
        has_info=True,
    ),
    # Microsoft, "Prepare Linux for imaging": fixed VHD, whole MiB, 2 TiB for the OS disk.
    "azure": Target(formats=("vhd",), unit=MIB, largest=2040 * GIB, console=_SERIAL),
    # Google, "Manually import boot disks": disk.raw in a tar.gz, whole GiB.
    "google-compute": Target(formats=("gce",), unit=GIB, largest=2 * TIB, console=_SERIAL),
    # DigitalOcean, "Custom Images Limits": raw with a table, gzip, less than 100 GB.
    "digital-ocean": Target(
        formats=("raw.gz", "qcow2", "vhdx", "vdi", "vmdk", "raw"),
        largest=100 * _GB - 1,
        is_x86=True,
        needs_bios=True,
    ),
    # hcloud-upload-image: raw of any size, compressed; a QCOW2 must fit into a RAM disk.
    "hetzner": Target(
        formats=("raw.xz", "raw", "raw.zst", "qcow2"),
        largest_data={"qcow2": 960 * MIB},
        console=_SERIAL,
    ),
    # Linode, "Image Upload": raw, gzip, at most 5 GB; Linode's own GRUB reads the menu.
    "linode": Target(
        formats=("raw.gz",),
        table=Table.NONE,
        boot_loader="grub",
        largest=6 * _GB,
        console=_SERIAL,
        is_x86=True,
    ),
    # Oracle, "Importing Custom Linux Images": QCOW2 or VMDK, at most 400 GB.
    "oci": Target(formats=("qcow2", "vmdk"), largest=400 * _GB, console=_SERIAL),
    # OpenStack, Virtual Machine Image Guide: "Disk and container formats", serial console log.
    "openstack": Target(
        formats=("qcow2", "raw", "vmdk", "vhd", "vhdx", "vdi", "ova"), console=_SERIAL
    ),
    # KubeVirt, "Containerized Data Importer": QCOW2 or raw; `virtctl console` is a serial port.
    "kubevirt": Target(formats=("qcow2", "raw", "raw.gz", "raw.xz"), console=_SERIAL),
    # Proxmox, qm(1): `qmrestore`; the machine's settings have serial0.
    "proxmox": Target(formats=("vma", "qcow2", "raw", "vmdk"), console=_SERIAL),
    # Microsoft, "Should I create a generation 1 or 2 virtual machine": generation 2 is UEFI.
    "hyperv": Target(formats=("vhdx",), table=Table.EFI, largest=64 * TIB),
    # VMware, "Virtual Disk Format 5.0".
    "vmware": Target(formats=("vmdk", "ova"), largest=62 * TIB, is_x86=True),
    # VirtualBox, user manual, "Importing and Exporting Virtual Machines".
    "virtualbox": Target(formats=("ova", "vdi", "vmdk", "vhd"), is_x86=True),
    # libvirt, "Domain XML format": `virsh console` is a serial port.
    "libvirt": Target(formats=("qcow2", "raw"), console=_SERIAL, has_large_sectors=True),
}


def target_problems(name: str | None) -> list[str]:
    """One line for a target that there is not."""
    if name is None or name in TARGETS:
        return []
    return [Message(Setting("target", name), f" is none of {', '.join(TARGETS)}")]


def takes(target: Target, made: str) -> bool:
    """Whether a target takes a format. Those that QEMU reads by one driver are the same here."""
    drivers = {FORMATS[one].driver for one in target.formats} - {""}
    return made in target.formats or FORMATS[made].driver in drivers


def size_faults(target: Target, size: int, sector_size: int) -> Iterator[str]:
    """What a target does not take of a disk of `size` bytes; the ends of a sentence."""
    if size % target.unit:
        yield f"takes disks of a whole number of {format_size(target.unit)}, not {size} bytes"
    if target.largest is not None and size > target.largest:
        most = format_size(target.largest)
        yield f"takes disks of {most} at most, and this one has {format_size(size)}"
    if sector_size != SECTOR and not target.has_large_sectors:
        yield f"has disks with sectors of {SECTOR} bytes, not {sector_size}"
