"""OVA: a machine's description and its disk in one file, for VMware and VirtualBox.

Source: DMTF, DSP0243, "Open Virtualization Format Specification", 1.1.0: clause 5.1 for the order
of the members, 7 for the envelope, 8 for the hardware, whose numbers are those of CIM.
"""

import hashlib
import os
import tarfile
from html import escape
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from assembler.errors import HostError
from assembler.formats.format import Disk, Format
from assembler.formats.ova_reader import unpack_ova
from assembler.formats.vmdk_stream import StreamVmdk
from assembler.host.output import Output, destination, working_image
from assembler.host.progress import Step
from assembler.host.room import beside_output, watched
from assembler.units import GIB, MIB, format_size

_NAME = "nixos"
_DESCRIPTION, _MANIFEST, DISK = f"{_NAME}.ovf", f"{_NAME}.mf", f"{_NAME}-disk1.vmdk"
_LARGEST = 8 * GIB  # bytes of a member, from which on ustar has no digits for them
_MAX_TIME = (1 << 33) - 1  # seconds: ustar has 11 octal digits for a time
_TAR_BLOCK = 512
_BUFFER = 8 * MIB
_ENVELOPE = """<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
 xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
 xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"
 xmlns:vmw="http://www.vmware.com/schema/ovf">
  <References>
    <File ovf:id="file1" ovf:href="{disk}" ovf:size="{file_size}"/>
  </References>
  <DiskSection>
    <Info>The disk</Info>
    <Disk ovf:diskId="disk1" ovf:fileRef="file1" ovf:capacity="{size}"
 ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/>
  </DiskSection>
  <NetworkSection>
    <Info>The network</Info>
    <Network ovf:name="NAT"><Description>The network</Description></Network>
  </NetworkSection>
  <VirtualSystem ovf:id="{name}">
    <Info>A machine with NixOS</Info>
    <Name>{name}</Name>
    <OperatingSystemSection ovf:id="101">
      <Info>Linux, 64 bits</Info>
    </OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>The hardware</Info>
      <System>
        <vssd:ElementName>Hardware</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>{name}</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>vmx-10 virtualbox-2.2</vssd:VirtualSystemType>
      </System>
{items}{firmware}    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
"""
_FIRMWARE = '      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>\n'
# The hardware, with the elements in the order of the alphabet, as the schema has them.
_ITEMS: tuple[dict[str, str], ...] = (
    {"ElementName": "1 processor", "InstanceID": "1", "ResourceType": "3", "VirtualQuantity": "1"},
    {
        "AllocationUnits": "byte * 2^20",
        "ElementName": "1024 MiB of memory",
        "InstanceID": "2",
        "ResourceType": "4",
        "VirtualQuantity": "1024",
    },
    {
        "Address": "0",
        "ElementName": "SATA controller",
        "InstanceID": "3",
        "ResourceSubType": "AHCI",
        "ResourceType": "20",
    },
    {
        "AddressOnParent": "0",
        "ElementName": "Disk",
        "HostResource": "ovf:/disk/disk1",
        "InstanceID": "4",
        "Parent": "3",
        "ResourceType": "17",
    },
    {
        "AutomaticAllocation": "true",
        "Connection": "NAT",
        "ElementName": "Ethernet adapter",
        "InstanceID": "5",
        "ResourceSubType": "E1000",
        "ResourceType": "10",
    },
)


class Ova(Format):
    """A tar (ustar) of the description, the manifest, and a stream-optimised VMDK."""

    name = "ova"
    title = "OVA"
    endings = ("ova",)
    programs = StreamVmdk.programs
    has_large_sectors = False
    compresses = True

    def write(self, disk: Disk, out: Output, step: Step) -> None:
        """Write the VMDK beside `out`, and then all into one file.

        The raw image is empty afterwards, to make room.
        """
        assert out.path is not None
        place = destination(out.path)
        with working_image(place) as file, watched(beside_output(place.parent)):
            with file.open("r+b") as opened:
                StreamVmdk().write(disk, Output(opened.fileno(), file), step)
            os.truncate(disk.image, 0)
            _pack(disk, file, out)

    def is_in(self, file: Path) -> bool:
        """Whether a file is a tar that begins with an OVF."""
        with file.open("rb") as opened:
            head = opened.read(_TAR_BLOCK)
        name = head[:100].partition(b"\0")[0]
        return head[257:262] == b"ustar" and name.endswith(b".ovf")

    def unpack(self, file: Path, raw: Path) -> list[str]:
        """Let qemu-img read the disk where it lies in the file; the three members must agree."""
        return unpack_ova(file, raw)


def envelope(disk: Disk, file_size: int) -> bytes:
    """The description of a machine with `disk`, whose VMDK has so many bytes."""
    return _ENVELOPE.format(
        disk=DISK,
        file_size=file_size,
        size=disk.size,
        name=escape(_NAME, quote=False),
        items="".join(map(_item, _ITEMS)),
        firmware=_FIRMWARE if disk.efi and not disk.bios else "",
    ).encode()


def _item(elements: dict[str, str]) -> str:
    texts = ((key, escape(one, quote=False)) for key, one in elements.items())
    lines = "".join(f"        <rasd:{key}>{text}</rasd:{key}>\n" for key, text in texts)
    return f"      <Item>\n{lines}      </Item>\n"


def _pack(disk: Disk, vmdk: Path, out: Output) -> None:
    size = vmdk.stat().st_size
    if size >= _LARGEST:
        raise HostError(
            f"an OVA holds a disk of less than {format_size(_LARGEST)} when it is compressed, and "
            f"this one has {format_size(size)}: take the format vmdk-stream"
        )
    description = envelope(disk, size)
    with vmdk.open("rb") as data, out.open() as file:
        digests = {
            _DESCRIPTION: hashlib.sha256(description).hexdigest(),
            DISK: hashlib.file_digest(data, "sha256").hexdigest(),
        }
        manifest = "".join(f"SHA256({name})= {digest}\n" for name, digest in digests.items())
        data.seek(0)
        with tarfile.TarFile(
            fileobj=file, mode="w", format=tarfile.USTAR_FORMAT, copybufsize=_BUFFER
        ) as archive:
            _add(archive, _DESCRIPTION, BytesIO(description), len(description), disk.epoch)
            _add(archive, _MANIFEST, BytesIO(manifest.encode()), len(manifest), disk.epoch)
            _add(archive, DISK, data, size, disk.epoch)


def _add(archive: tarfile.TarFile, name: str, data: BinaryIO, size: int, epoch: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mtime, member.mode = size, min(epoch, _MAX_TIME), 0o644
    archive.addfile(member, data)
