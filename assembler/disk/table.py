"""Write a GUID partition table into an image file."""

from pathlib import Path

import _ped
import parted

from assembler import process
from assembler.disk.layout import Layout, Partition, PartitionType
from assembler.errors import HostError
from assembler.units import SECTOR

# parted has no name for `esp` in Python; on a GPT `boot` is the same flag.
_FLAGS = {
    PartitionType.ESP: parted.PARTITION_BOOT,
    PartitionType.BIOS_BOOT: parted.PARTITION_BIOS_GRUB,
}


def write_table(image: Path, layout: Layout) -> None:
    """Write `layout` as a GPT into `image`, a regular file of `layout.size` bytes.

    Also writes a protective MBR, whose boot code is cleared; everything inside the partitions
    stays as it is. Every write is synced, so this is fastest while the file is still empty.
    Raises HostError when the file cannot be written.
    """
    try:
        _write_partitions(image, layout)
    except (_ped.DeviceException, _ped.DiskException, _ped.IOException) as error:
        raise HostError(f"cannot write a partition table to {image}: {error}") from None
    # libparted draws its GUIDs at random and has no call to set them.
    _sfdisk("--disk-id", image, str(layout.disk_guid))
    for partition in layout.partitions:
        _sfdisk("--part-uuid", image, str(partition.number), str(partition.guid))


def _write_partitions(image: Path, layout: Layout) -> None:
    device = parted.getDevice(str(image))
    disk = parted.freshDisk(device, "gpt")
    # libparted numbers partitions in the order in which they are added.
    for partition in sorted(layout.partitions, key=lambda partition: partition.number):
        _add(device, disk, partition)
    disk.commitToDevice()


def _add(device: parted.Device, disk: parted.Disk, partition: Partition) -> None:
    geometry = parted.Geometry(
        device, start=partition.start // SECTOR, length=partition.size // SECTOR
    )
    entry = parted.Partition(disk, parted.PARTITION_NORMAL, geometry=geometry)
    disk.addPartition(entry, constraint=parted.Constraint(exactGeom=geometry))
    entry.getPedPartition().set_name(partition.name)
    if partition.type in _FLAGS:
        entry.setFlag(_FLAGS[partition.type])


def _sfdisk(option: str, image: Path, *arguments: str) -> None:
    """Change one GUID and the checksums over it; sfdisk writes nothing else."""
    # Without --no-tell-kernel sfdisk sleeps 0.25 s and calls sync(2) for the whole machine.
    process.run(
        ["sfdisk", "--quiet", "--no-tell-kernel", option, image, *arguments],
        what="setting the GUIDs of the partition table",
    )
