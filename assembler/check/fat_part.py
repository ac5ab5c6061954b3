"""Check a FAT: its boot sector as firmware and Linux read it, and the rest with fsck.fat.

The fields: Microsoft's FAT specification (fatgen103), "Boot Sector and BPB". What is refused:
fat_read_bpb in Linux (fs/fat/inode.c), FatOpenDevice in EDK II (FatPkg/EnhancedFatDxe/Init.c).
"""

import re
import struct
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from assembler.check.part import Part, time_limit
from assembler.copying.sparse import copy_sparse
from assembler.errors import TooSlowError
from assembler.filesystems.fat.directory import DamagedFatError, FatError, read_names
from assembler.filesystems.fat.kind import FAT
from assembler.host import process
from assembler.units import MIB, SECTOR

_STATUSES = (*range(-64, 0), 0, 1)  # fsck.fat(8); a damaged file system may kill it
_EXPECTED = re.compile(r"fsck\.fat \S+ \(.*\)|.*: \d+ files, \d+/\d+ clusters|\s*")
_CLUSTERS = re.compile(r": \d+ files, (\d+)/\d+ clusters")
_SIGNATURE = b"\x55\xaa"
_JUMPS = (0xE9, 0xEB)
_SIZES = struct.Struct("<11xHBH3xH11xI")  # of sectors, clusters, reserved; all, in 16 or 32 bits
_MEDIA_AT = 21
_SECONDS, _RATE = 30, 256 * MIB


def check_fat(image: Path, part: Part, scratch: Path, what: str) -> Part:
    """Check a FAT, with a copy of it in `scratch`; `what` is its name in the content."""
    part = replace(part, kind=FAT.title)
    with image.open("rb") as file:
        file.seek(part.start)
        sector = file.read(SECTOR).ljust(SECTOR, b"\0")
    # fsck.fat takes no offset.
    copy = scratch / f"{part.number}.fat"
    copy_sparse(image, copy, part.start, part.size)
    try:
        # This comes first: if a file is marked as a directory, fsck.fat may need hours.
        names = _names_fault(copy)
        done = process.run(
            ["fsck.fat", "-n", copy],
            what="checking a FAT",
            ok=_STATUSES,
            limit=time_limit(_SECONDS, part.size, _RATE),
        )
    except DamagedFatError as error:
        return replace(part, fault=f"the FAT is damaged: {error}")
    except TooSlowError as error:
        return replace(part, fault=str(error).splitlines()[0])
    text = (done.stdout + done.stderr).decode(errors="backslashreplace")
    lines = text.replace(str(copy), copy.name).splitlines()
    complaints = [line for line in lines if not _EXPECTED.fullmatch(line)]
    if done.returncode or complaints:
        words = " ".join(" ".join(complaints or lines[1:]).split())
        return replace(part, fault=f"fsck.fat: {words or _silent(done.returncode)}")
    if fault := _boot_sector_fault(sector, part.size) or names:
        return replace(part, fault=fault)
    # The root directory takes a cluster in FAT32; EFI/BOOT/BOOTX64.EFI takes three more.
    used = _CLUSTERS.search("\n".join(lines))
    empty = used is not None and int(used[1]) <= 1
    return replace(part, content=f"FAT ({what}{', empty' if empty else ''})", empty=empty)


def _boot_sector_fault(sector: bytes, size: int) -> str:
    """What firmware or Linux refuses in a boot sector that fsck.fat accepts."""
    unit, cluster, reserved, few, many = _SIZES.unpack_from(sector)
    media = sector[_MEDIA_AT]
    if sector[-2:] != _SIGNATURE:
        return "the FAT's boot sector has no signature 55 aa"
    if sector[0] not in _JUMPS:
        return f"the FAT's boot sector does not begin with a jump, but with {sector[0]:#04x}"
    if media < 0xF8 and media != 0xF0:
        return f"the FAT's boot sector names a kind of medium that there is not, {media:#04x}"
    if not unit or unit & unit - 1 or not cluster or cluster & cluster - 1 or not reserved:
        return "the FAT's boot sector has sizes that cannot be"
    if (over := (few or many) * unit - size) > 0:
        return f"the FAT goes {over} bytes beyond its end"
    return ""


def _names_fault(fat: Path) -> str:
    """Whether a name beyond ASCII was written as if its bytes were characters.

    mtools does this in a locale without UTF-8; menus then name files that do not exist. Raises
    DamagedFatError.
    """
    try:
        found = read_names(fat, 0)
    except DamagedFatError:
        raise
    except FatError:  # fsck.fat reports it, or it is a FAT12
        return ""
    for one in found:
        name = one.path.rpartition("/")[2]
        with suppress(UnicodeError):
            if (meant := name.encode("latin-1").decode()) != name:
                return f"the FAT has a file {name!r}, the UTF-8 of {meant!r} taken as Latin-1"
    return ""


def _silent(status: int) -> str:
    return f"it was killed by signal {-status}" if status < 0 else "it failed without a word"
