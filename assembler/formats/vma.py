"""VMA, the archive from which Proxmox VE restores a virtual machine.

Source: Proxmox, pve-qemu's vma_spec.txt and vma.h. All numbers are big-endian, but for the lengths
of blobs.
"""

import hashlib
import os
import struct
from collections.abc import Iterator
from itertools import compress, islice, repeat
from pathlib import Path
from typing import BinaryIO

from assembler.errors import DamagedError
from assembler.formats.format import Disk, Format, require_scratch, set_size
from assembler.host.holes import data_ranges
from assembler.host.output import Output
from assembler.host.progress import Step

_MAGIC, _VERSION = b"VMA\0", 1
_EXTENT_MAGIC = b"VMAE"
BLOCK = 4096
CLUSTER = 16 * BLOCK
CLUSTERS = 59  # in an extent
_HEADER = struct.Struct(">4sI16sq16sIII1984x256I256I4x")
_DEVICE = struct.Struct(">IIQQQ")
_DEVICES = 256
_LARGEST_HEADER = 10 << 20  # bytes, as Proxmox reads them
_EXTENT = struct.Struct(">4sHH16s16s59Q")
_ALIGNMENT = 512  # of what follows the header
_DEVICE_ID = 1
_ZEROS = bytes(BLOCK)
_CONFIG = "qemu-server.conf"
_DRIVE = "drive-virtio0"


class Vma(Format):
    """One machine with one disk. The settings that Proxmox needs are those of nixpkgs' image."""

    name = "vma"
    title = "Proxmox's VMA"
    endings = ("vma",)
    has_large_sectors = False
    streams = True
    marks = ((0, _MAGIC),)

    def write(self, disk: Disk, out: Output, step: Step) -> None:
        """Write the header, and every cluster: Proxmox needs an entry for each empty one, too."""
        uuid = disk.uuid("VMA").bytes
        with disk.image.open("rb") as image, out.open() as archive:
            archive.write(_header(disk, uuid))
            clusters = _clusters(image, disk.size)
            for first in range(0, -(-disk.size // CLUSTER), CLUSTERS):
                extent = [*islice(clusters, CLUSTERS)]
                archive.write(_extent_header(uuid, [mask for mask, _ in extent], first))
                for _, data in extent:
                    archive.write(data)
                step.reach(min(disk.size, (first + CLUSTERS) * CLUSTER))

    def unpack(self, file: Path, raw: Path) -> list[str]:
        """Write the first disk of a machine; the check sums must be right."""
        require_scratch(file.stat().st_size)
        with file.open("rb") as archive, raw.open("wb") as image:
            try:
                _unpack(archive, image)
            except struct.error:
                raise DamagedError("it is cut") from None
        return []


def settings(disk: Disk) -> str:
    """The machine's settings, as qm.conf(5) of Proxmox describes them."""
    bios = "seabios" if disk.bios or not disk.efi else "ovmf"
    lines = [
        "agent: 1",
        f"bios: {bios}",
        "boot: order=virtio0",
        "cores: 1",
        "memory: 1024",
        "name: nixos",
        "net0: virtio=00:00:00:00:00:00,bridge=vmbr0,firewall=1",
        "ostype: l26",
        "scsihw: virtio-scsi-single",
        "serial0: socket",
        "virtio0: local-lvm:vm-9999-disk-0",
        f"#qmdump#map:virtio0:{_DRIVE}:local-lvm:raw:",
    ]
    return "".join(f"{line}\n" for line in lines)


def _header(disk: Disk, uuid: bytes) -> bytes:
    blobs = bytearray(1)  # a place of 0 means that there is no blob
    places = []
    for blob in (f"{_CONFIG}\0".encode(), settings(disk).encode(), f"{_DRIVE}\0".encode()):
        places.append(len(blobs))
        blobs += struct.pack("<H", len(blob)) + blob
    name, content, drive = places
    start = _HEADER.size + _DEVICE.size * _DEVICES
    size = -(-(start + len(blobs)) // _ALIGNMENT) * _ALIGNMENT
    none = [0] * 255
    head = [_MAGIC, _VERSION, uuid, disk.epoch]
    sizes = [start, len(blobs), size, name, *none, content, *none]
    devices = bytearray(_DEVICE.size * _DEVICES)
    _DEVICE.pack_into(devices, _DEVICE.size * _DEVICE_ID, drive, 0, disk.size, 0, 0)

    def with_digest(digest: bytes) -> bytes:
        return (_HEADER.pack(*head, digest, *sizes) + devices + blobs).ljust(size, b"\0")

    return with_digest(hashlib.md5(with_digest(bytes(16)), usedforsecurity=False).digest())


def _clusters(image: BinaryIO, size: int) -> Iterator[tuple[int, bytes]]:
    """All clusters in order: a mask of the blocks that have data, and it. Holes are not read."""
    place = 0
    for data in data_ranges(image.fileno(), 0, size):
        start = max(place, data.start // CLUSTER * CLUSTER)
        yield from repeat((0, b""), (start - place) // CLUSTER)
        place = -(-data.stop // CLUSTER) * CLUSTER
        for at in range(start, place, CLUSTER):
            yield _cluster(os.pread(image.fileno(), CLUSTER, at))
    yield from repeat((0, b""), -(-(size - place) // CLUSTER))


def _cluster(data: bytes) -> tuple[int, bytes]:
    blocks = [data[at : at + BLOCK] for at in range(0, len(data), BLOCK)]
    used = [block != _ZEROS for block in blocks]
    mask = sum(1 << number for number, one in enumerate(used) if one)
    return mask, data if all(used) else b"".join(compress(blocks, used))


def _extent_header(uuid: bytes, masks: list[int], first: int) -> bytes:
    """The header of an extent that begins with the cluster `first` of the disk."""
    infos = [
        mask << 48 | _DEVICE_ID << 32 | number for number, mask in enumerate(masks, start=first)
    ]
    infos += [0] * (CLUSTERS - len(infos))
    blocks = sum(mask.bit_count() for mask in masks)

    def with_digest(digest: bytes) -> bytes:
        return _EXTENT.pack(_EXTENT_MAGIC, 0, blocks, uuid, digest, *infos)

    return with_digest(hashlib.md5(with_digest(bytes(16)), usedforsecurity=False).digest())


def _unpack(archive: BinaryIO, image: BinaryIO) -> None:
    """Write the first disk; raises DamagedError, and struct.error for what is cut."""
    start = _HEADER.size
    head = archive.read(start + _DEVICE.size * _DEVICES)
    fields = _HEADER.unpack_from(head)
    uuid, length = fields[2], fields[7]
    archive.seek(0)
    _verify(archive.read(min(length, _LARGEST_HEADER)), slice(32, 48))
    devices = (_DEVICE.unpack_from(head, start + _DEVICE.size * one) for one in range(_DEVICES))
    disks = [(number, one[2]) for number, one in enumerate(devices) if number and one[0]]
    if not disks:
        raise DamagedError("it has no disk")
    number, size = disks[0]
    count, rest = -(-size // CLUSTER), os.fstat(archive.fileno()).st_size - length
    most = rest // _EXTENT.size * CLUSTERS
    if count > most:
        raise DamagedError(f"it is cut: it has room for {most} clusters of the disk, not {count}")
    set_size(image, size)
    disk = _UnpackedDisk(image, number, size)
    while extent := archive.read(_EXTENT.size):
        _unpack_extent(archive, extent, uuid, disk)
    if missing := count - disk.count:
        raise DamagedError(f"{missing} of the {count} clusters of the disk are missing")


class _UnpackedDisk:
    """A disk that clusters are written to, each of them once; its number in the archive, bytes."""

    def __init__(self, image: BinaryIO, number: int, size: int) -> None:
        self.number, self.count = number, 0
        self._image, self._size = image, size
        self._found = bytearray(size // CLUSTER // 8 + 1)  # a bit for each cluster

    def add(self, cluster: int) -> None:
        """Count a cluster; raises DamagedError if it is there already, or beyond the end."""
        if cluster * CLUSTER >= self._size:
            raise DamagedError("it has data beyond the end of the disk")
        byte, bit = cluster // 8, 1 << cluster % 8
        if self._found[byte] & bit:
            raise DamagedError(f"it has the cluster {cluster} of the disk twice")
        self._found[byte] |= bit
        self.count += 1

    def write(self, place: int, block: bytes) -> None:
        """Write a block to its place in bytes; the last one may be longer than the disk."""
        if place >= self._size:
            raise DamagedError("it has data beyond the end of the disk")
        self._image.seek(place)
        self._image.write(block[: self._size - place])


def _unpack_extent(archive: BinaryIO, extent: bytes, uuid: bytes, disk: _UnpackedDisk) -> None:
    """Write the data of an extent that belongs to `disk`."""
    magic, _, count, owner_uuid, _, *infos = _EXTENT.unpack(extent)
    if magic != _EXTENT_MAGIC:
        raise DamagedError("something that is no extent is in it, or follows its end")
    if owner_uuid != uuid:
        raise DamagedError("an extent of another archive is in it")
    _verify(extent, slice(24, 40))
    if count != sum((info >> 48).bit_count() for info in infos):
        raise DamagedError("the header of an extent has another number of blocks than it lists")
    for info in infos:
        mask, owner, cluster = info >> 48, info >> 32 & 0xFF, info & 0xFFFFFFFF
        if owner == disk.number:
            disk.add(cluster)
        for number in range(mask.bit_length()):
            if not mask >> number & 1:
                continue
            block = archive.read(BLOCK)
            if len(block) < BLOCK:
                raise DamagedError("it is cut")
            if owner == disk.number:
                disk.write(cluster * CLUSTER + number * BLOCK, block)


def _verify(header: bytes, digest: slice) -> None:
    """Compare a header with the digest in it."""
    without = bytearray(header)
    without[digest] = bytes(16)
    if hashlib.md5(without, usedforsecurity=False).digest() != header[digest]:
        raise DamagedError("the check sum of a header is wrong")
