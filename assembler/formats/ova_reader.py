"""Read an OVA, which anybody may have made. Source: as `ova.py`, clauses 5.1, 7.1 and 7.2."""

import hashlib
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO
from xml.etree import ElementTree

from assembler.errors import DamagedError
from assembler.formats.format import has_data
from assembler.formats.qemu_img import convert_back
from assembler.formats.vmdk import is_stream
from assembler.formats.vmdk_stream import StreamVmdk, stream_faults
from assembler.units import MIB, SECTOR

_OVF = "{http://schemas.dmtf.org/ovf/envelope/1}"
_LARGEST = MIB  # bytes of the description and of the manifest
_DIGEST = re.compile(r"(SHA1|SHA256|SHA512) ?\((.+)\) ?= ?([0-9a-fA-F]+)")
_UNITS = re.compile(r"byte \* 2\^([0-9]{1,2})")


def unpack_ova(file: Path, raw: Path) -> list[str]:
    """As `Format.unpack`."""
    with file.open("rb") as opened:
        try:
            with tarfile.open(fileobj=opened, mode="r:") as archive:
                members = {one.name: one for one in archive.getmembers() if one.isreg()}
                if len(members) < len(archive.getmembers()):
                    raise DamagedError("it has two members of one name, or one that is no file")
                faults = _end_faults(opened, archive.offset)
                description = _text(archive, members, ".ovf")
                faults += _wrong_digests(archive, members)
        except tarfile.TarError as error:
            raise DamagedError(f"it is no whole tar: {error}") from None
    files, href, capacity = _read_description(description)
    for name, size in files.items():
        if name not in members:
            raise DamagedError(f"it has no {name!r}, which its description names")
        if size not in (None, real := members[name].size):
            faults.append(f"its description has {size} bytes for {name!r}, and it has {real}")
    disk = members[href]
    if disk.size % SECTOR:
        raise DamagedError(f"{href!r} is cut: {disk.size} bytes are not a whole number of sectors")
    with file.open("rb") as opened:
        faults += [f"{href!r}: {one}" for one in _look(opened, disk)]
    faults += convert_back(file, StreamVmdk.driver, raw, offset=disk.offset_data, length=disk.size)
    if capacity not in (None, raw.stat().st_size):
        real = raw.stat().st_size
        faults.append(f"its description has a disk of {capacity} bytes, and it holds one of {real}")
    return faults


def _look(file: BinaryIO, disk: tarfile.TarInfo) -> list[str]:
    """What is wrong with the VMDK where it lies in the file."""
    file.seek(disk.offset_data)
    if not is_stream(file.read(SECTOR)):
        return ["it is not a stream-optimised VMDK"]
    try:
        return stream_faults(file, disk.offset_data, disk.size)
    except DamagedError as error:
        raise DamagedError(f"{disk.name!r}: {error}") from None


def _end_faults(file: BinaryIO, place: int) -> list[str]:
    """What is wrong with the end of a tar, which is two or more blocks of zeros."""
    end = file.seek(0, os.SEEK_END)
    if has_data(file, place, end):
        return ["something that is no member follows its last member, or the tar is damaged there"]
    whole = end - place >= 2 * SECTOR and not end % SECTOR
    return [] if whole else ["it is cut: the end of the tar is missing"]


def _text(archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo], ending: str) -> bytes:
    """The content of the first member with such a name."""
    found = next((one for name, one in members.items() if name.endswith(ending)), None)
    data = None if found is None or found.size > _LARGEST else archive.extractfile(found)
    if data is None:
        raise DamagedError(f"it has no member {ending}, or a very large one")
    return data.read()


def _wrong_digests(archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo]) -> Iterator[str]:
    """What the manifest, if there is one, has another digest for."""
    if not any(name.endswith(".mf") for name in members):
        return
    lines, named = _text(archive, members, ".mf").decode(errors="replace").splitlines(), set[str]()
    for line in lines:
        found = _DIGEST.fullmatch(line.strip())
        member = members.get(found[2]) if found else None
        data = None if member is None else archive.extractfile(member)
        if found is None or data is None:
            yield f"its manifest has a line that nothing in it answers: {line!r}"
        elif _digest(data, found[1]) != found[3].lower():
            yield f"{found[2]!r} has another digest than the manifest"
        named |= {found[2]} if found else set()
    for name in sorted(members.keys() - named):
        if not name.endswith((".mf", ".cert")):
            yield f"its manifest does not list {name!r}"


def _digest(data: IO[bytes], algorithm: str) -> str:
    state = hashlib.new(algorithm)
    for piece in iter(lambda: data.read(MIB), b""):
        state.update(piece)
    return state.hexdigest()


def _read_description(description: bytes) -> tuple[dict[str, int | None], str, int | None]:
    """The files with their sizes, the one with the first disk, and the size of that disk."""
    try:
        root = ElementTree.fromstring(description)
    except ElementTree.ParseError as error:
        raise DamagedError(f"its description is no XML: {error}") from None
    files = {one.get(f"{_OVF}id"): one for one in root.iter(f"{_OVF}File")}
    disk = next(root.iter(f"{_OVF}Disk"), None)
    file = None if disk is None else files.get(disk.get(f"{_OVF}fileRef"))
    if disk is None or file is None:
        raise DamagedError("its description has no disk with a file")
    units = disk.get(f"{_OVF}capacityAllocationUnits", "byte * 2^0").strip()
    scale = _UNITS.fullmatch("byte * 2^0" if units == "byte" else units)
    capacity = _number(disk.get(f"{_OVF}capacity"))
    if capacity is not None:
        capacity = None if scale is None else capacity << int(scale[1])
    sizes = {one.get(f"{_OVF}href", ""): _number(one.get(f"{_OVF}size")) for one in files.values()}
    return sizes, file.get(f"{_OVF}href", ""), capacity


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None
