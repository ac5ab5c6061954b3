"""Read a finished image back, with tools that had no part in writing it where there are any."""

import errno
import json
import os
import re
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from assembler import process
from assembler.boot.bios import KERNEL_SECTOR_AT
from assembler.disk.layout import PartitionType
from assembler.errors import HostError, RequestError
from assembler.units import SECTOR, format_size

# Partition types as sfdisk writes them.
_ESP, _BIOS_BOOT, _ROOT_X86_64 = (
    str(kind.value).upper()
    for kind in (PartitionType.ESP, PartitionType.BIOS_BOOT, PartitionType.ROOT_X86_64)
)
_LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"  # "Linux filesystem", as most tools call any

# What other file systems begin with, and at which byte: fs/xfs/libxfs/xfs_format.h,
# include/uapi/linux/btrfs_tree.h and include/uapi/linux/magic.h in Linux.
_MAGIC = {
    "xfs": (0, b"XFSB"),
    "btrfs": (0x10040, b"_BHRfS_M"),
    "f2fs": (0x400, b"\x10\x20\xf5\xf2"),
}

_BOOT_CODE = 440  # bytes of the first sector (UEFI specification, 5.2.1)
_ANY_STATUS = range(256)
_E2FSCK_TOTALS = re.compile(rb": (\d+)/(\d+) files \(.*\), (\d+)/(\d+) blocks")


@dataclass(frozen=True, slots=True)
class Part:
    """One partition as the table in the image shows it, and what was found in it."""

    number: int
    name: str
    type_guid: str
    start: int  # bytes
    size: int  # bytes
    content: str = ""  # in the user's words
    free: int = 0  # bytes, in an ext4
    empty: bool = False  # nothing is in it, as far as this is looked at: in a FAT
    fault: str = ""  # what is wrong, in one line

    @property
    def where(self) -> str:
        """The partition in a message."""
        return f"partition {self.number} ({self.name})" if self.name else f"partition {self.number}"


@dataclass(frozen=True, slots=True)
class Report:
    """What `check_image` found; `faults` is empty for a good image."""

    size: int
    parts: tuple[Part, ...]
    faults: tuple[str, ...]


def check_image(image: Path, *, bios: bool = False) -> Report:
    """Check partition table, boot sector, ESP and Linux file systems of a raw image.

    With `bios` it must boot by BIOS; otherwise it is enough that anything boots it.

    Nothing is written to it; its name may be any. Partitions of other kinds are not looked
    into. Raises RequestError for what is not an image with a partition table, HostError when a
    tool is missing or TMPDIR has `?` or `@` in it.
    """
    with process.plain_name(image) as alias:
        faults = _table_faults(alias)
        parts = _read_parts(alias)
        if parts is None:
            raise RequestError(f"{image} has no partition table that sfdisk can read")
        with process.scratch_directory() as scratch, ThreadPoolExecutor() as pool:
            checked = tuple(pool.map(lambda part: _check_part(alias, part, Path(scratch)), parts))
        faults += [f"{part.where}: {part.fault}" for part in checked if part.fault]
        faults += _boot_sector_faults(alias, checked, bios)
        # The tools name the file that they were given; the user knows it by another name.
        told = tuple(fault.replace(str(alias), str(image)) for fault in faults)
        return Report(alias.stat().st_size, checked, told)


def _read_parts(image: Path) -> list[Part] | None:
    """The partitions as sfdisk reads them, None when there is no table."""
    done = process.run(
        ["sfdisk", "--json", image], what="reading the partition table", ok=_ANY_STATUS
    )
    if done.returncode:
        return None
    # sfdisk tells names as they are, whether JSON allows that or not.
    said = json.loads(done.stdout.decode(errors="replace"), strict=False)
    table = said["partitiontable"]
    unit = table.get("sectorsize", SECTOR)
    return [
        Part(
            number=int(re.findall(r"\d+", entry["node"])[-1]),
            name=entry.get("name", ""),
            type_guid=entry["type"],
            start=entry["start"] * unit,
            size=entry["size"] * unit,
        )
        for entry in table.get("partitions", [])
    ]


def _table_faults(image: Path) -> list[str]:
    """What `sfdisk --verify` says against the table."""
    done = process.run(
        ["sfdisk", "--verify", image], what="verifying the partition table", ok=_ANY_STATUS
    )
    said = (done.stderr + done.stdout).decode(errors="replace")
    # A damaged backup table is told on stderr, and is no error to sfdisk.
    if done.returncode == 0 and "No errors detected" in said and not done.stderr:
        return []
    return [f"partition table: {' '.join(said.split())}"]


def _check_part(image: Path, part: Part, scratch: Path) -> Part:
    checkers: dict[str, Callable[[Path, Part, Path], Part]] = {
        _ESP: _check_fat,
        _BIOS_BOOT: _check_bios_boot,
        _LINUX: _check_linux,
        _ROOT_X86_64: _check_linux,
    }
    check = checkers.get(part.type_guid)
    return check(image, part, scratch) if check else replace(part, content="not checked")


def _check_linux(image: Path, part: Part, scratch: Path) -> Part:
    """An ext4, unless the first blocks are those of another file system that we make."""
    with image.open("rb") as file:
        for kind, (offset, magic) in _MAGIC.items():
            file.seek(part.start + offset)
            if file.read(len(magic)) == magic:
                return replace(part, content=f"{kind}, left to its own checker")
    return _check_ext4(image, part, scratch)


def _check_ext4(image: Path, part: Part, _scratch: Path) -> Part:
    """Let e2fsck read the whole structure."""
    done = process.run(
        ["e2fsck", "-fn", f"{image}?offset={part.start}"], what="checking ext4", ok=_ANY_STATUS
    )
    totals = _E2FSCK_TOTALS.search(done.stdout)
    if done.returncode or totals is None:
        said = (done.stdout + done.stderr).decode(errors="replace")
        return replace(part, fault=f"e2fsck: {_first_complaint(said)}")
    inodes, _all_inodes, blocks, all_blocks = (int(number) for number in totals.groups())
    free = (all_blocks - blocks) * _ext4_block_size(image, part.start)
    return replace(part, content=f"ext4, {inodes:,} inodes", free=free)


def _ext4_block_size(image: Path, start: int) -> int:
    """Bytes in a block: s_log_block_size, at 0x18 in the superblock (ext4/super.rst in Linux)."""
    with image.open("rb") as file:
        file.seek(start + 1024 + 0x18)
        return 1024 << int.from_bytes(file.read(4), "little")


def _first_complaint(said: str) -> str:
    """The first line of e2fsck's that is no heading."""
    for line in said.splitlines():
        if line.strip() and not re.match(r"e2fsck [\d.]+ |Pass \d", line):
            return line.strip()
    return "it failed without a word"


def _check_fat(image: Path, part: Part, scratch: Path) -> Part:
    """Let fsck.fat read a FAT; it takes no offset, so it gets a sparse copy."""
    copy = scratch / f"{part.number}.fat"
    copy_sparse(image, copy, part.start, part.size)
    done = process.run(["fsck.fat", "-n", copy], what="checking the ESP", ok=_ANY_STATUS)
    if done.returncode:
        said = done.stdout.decode(errors="replace").splitlines()[1:]
        return replace(part, fault=f"fsck.fat: {' '.join(said)}")
    # The root directory takes a cluster in FAT32; EFI/BOOT/BOOTX64.EFI would take three more.
    used = re.search(rb": \d+ files, (\d+)/\d+ clusters", done.stdout)
    empty = used is not None and int(used[1]) <= 1
    content = f"FAT (EFI system partition{', empty' if empty else ''})"
    return replace(part, content=content, empty=empty)


def _check_bios_boot(image: Path, part: Part, _scratch: Path) -> Part:
    with image.open("rb") as file:
        boot_code = file.read(_BOOT_CODE)
        file.seek(part.start)
        if not any(file.read(SECTOR)):
            if any(boot_code):
                return replace(part, fault="it holds no GRUB core image")
            return replace(part, content="empty, nothing for BIOS")
    return replace(part, content="GRUB core image for BIOS")


def _boot_sector_faults(image: Path, parts: tuple[Part, ...], bios: bool) -> list[str]:
    """Whether the boot sector loads the core image from the BIOS boot partition."""
    core = next((part for part in parts if part.type_guid == _BIOS_BOOT), None)
    if core is None:
        return []
    with image.open("rb") as file:
        sector = file.read(SECTOR)
    if not any(sector[:_BOOT_CODE]):
        return _without_boot_code(parts, bios)
    if sector[-2:] != b"\x55\xaa":
        return ["boot sector: it has no signature 55 aa"]
    lba = struct.unpack_from("<Q", sector, KERNEL_SECTOR_AT)[0]
    if lba * SECTOR != core.start:
        return [f"boot sector: it loads LBA {lba}, not the BIOS boot partition"]
    return []


def _without_boot_code(parts: tuple[Part, ...], bios: bool) -> list[str]:
    if bios:
        return ["boot sector: it has no boot code"]
    if any(part.type_guid == _ESP and part.empty for part in parts):
        return ["nothing boots this disk: boot sector and EFI system partition are empty"]
    return []


def copy_sparse(source: Path, target: Path, start: int, length: int) -> None:
    """Copy a range of `source` (bytes) to a new file, holes staying holes.

    What lies beyond the end of `source` is a hole. Raises HostError when `source` shrinks
    meanwhile, OSError when it cannot be read or `target` cannot be written.
    """
    with source.open("rb") as reader, target.open("wb") as writer:
        writer.truncate(length)
        position, end = start, start + length
        while position < end:
            try:
                data = os.lseek(reader.fileno(), position, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # only a hole is left
                    return
                raise
            stop = min(end, os.lseek(reader.fileno(), data, os.SEEK_HOLE))
            if data >= end:
                return
            writer.seek(data - start)
            while data < stop:
                sent = os.sendfile(writer.fileno(), reader.fileno(), data, stop - data)
                if sent == 0:
                    raise HostError("the image became shorter while it was read")
                data += sent
            position = stop


def describe(report: Report) -> list[str]:
    """A report as lines for the user."""
    lines = [f"{format_size(report.size)}, {len(report.parts)} partitions"]
    for part in sorted(report.parts, key=lambda part: part.start):
        free = f", {format_size(part.free)} free" if part.free else ""
        what = part.content or "unknown"
        lines.append(
            f"{part.number}  at {format_size(part.start):>9}  {format_size(part.size):>9}  "
            f"{what}{free}"
        )
    return lines
