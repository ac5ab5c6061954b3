"""Make the FAT file system of an EFI system partition, the same bytes every time.

Sizes follow mkfs.fat.c of dosfstools 4.2 (setup_tables) and Microsoft's FAT specification
(fatgen103), sections 3.2 to 3.5.
"""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from assembler import process
from assembler.errors import RequestError
from assembler.units import KIB, MIB, SECTOR, ceil_div, format_size, round_up

_DOS_EPOCH = 315532800  # 1980-01-01 00:00 UTC, the first time that FAT can hold, in seconds
_FATS = 2
_ENTRY = 32  # bytes of a directory entry
_ENTRY_NAME = 13  # characters of a long name that fit an additional entry
_SHORT_NAME = re.compile(r"[A-Z0-9_-]{1,8}(\.[A-Z0-9_-]{1,3})?")
_FAT16_ROOT_ENTRIES = 512

_SMALLEST = 5 * MIB  # below, there are too few clusters for FAT16
_FAT32_FROM = 33 * MIB  # below, clusters of one sector are too few for FAT32
_LARGE_CLUSTERS_FROM = 261 * MIB  # 4 KiB as mkfs.fat takes them


def write_esp(
    image: Path,
    *,
    offset: int,
    size: int,
    files: Mapping[str, bytes],
    volume_id: int,
    label: str,
    epoch: int,
) -> None:
    """Make a FAT of `size` bytes at `offset` bytes in `image` and put `files` into it.

    The keys of `files` are paths like `EFI/BOOT/BOOTX64.EFI`; directories on the way are made.
    `volume_id` has 32 bits, `label` at most 11 characters. `epoch` is in seconds and taken as
    1980 when it is before. Raises RequestError when the files do not fit.
    """
    if problems := esp_problems(size, files):
        raise RequestError(problems)
    geometry = _Geometry.of(size)
    process.run(
        [
            *("mkfs.fat", "-F", str(geometry.bits), "-s", str(geometry.cluster_sectors)),
            # A track of 32 sectors divides every MiB: else mkfs.fat leaves some sectors out.
            *("-S", str(SECTOR), "-g", "64/32", "-h", str(offset // SECTOR), "--invariant"),
            *("-i", f"{volume_id:08x}", "-n", label, "--offset", str(offset // SECTOR)),
            *(image, str(size // KIB)),
        ],
        what="making the EFI system partition",
    )
    _fill(f"{image}@@{offset}", files, epoch)


def esp_problems(size: int, files: Mapping[str, bytes]) -> list[str]:
    """One line for each reason why `files` cannot be in an EFI system partition of `size` bytes."""
    if size < _SMALLEST:
        return [
            f"an EFI system partition of {format_size(size)} is too small: "
            f"the smallest is {format_size(_SMALLEST)}"
        ]
    geometry = _Geometry.of(size)
    cluster = geometry.cluster_sectors * SECTOR
    needed = sum(ceil_div(len(content), cluster) for content in files.values())
    for directory, names in _directories(files).items():
        if directory or geometry.bits == 32:  # FAT16's root directory has a place of its own
            entries = 2 + sum(_entries(name) for name in names)  # `.` and `..`, or the label
            needed += ceil_div(entries * _ENTRY, cluster)
    missing = (needed - geometry.clusters) * cluster
    if missing <= 0:
        return []
    return [
        f"the EFI system partition of {format_size(size)} is too small for its files "
        f"by {format_size(missing)}"
    ]


@dataclass(frozen=True, slots=True)
class _Geometry:
    """How mkfs.fat lays a FAT out: entries of so many bits, sectors per cluster, clusters."""

    bits: int
    cluster_sectors: int
    clusters: int

    @staticmethod
    def of(size: int) -> "_Geometry":
        if size < _FAT32_FROM:
            bits, cluster, reserved, root = 16, 2, 2, _FAT16_ROOT_ENTRIES * _ENTRY // SECTOR
        else:
            bits, cluster = 32, 1 if size < _LARGE_CLUSTERS_FROM else 8
            reserved, root = 32, 0
        sectors = size // SECTOR - reserved - root
        entry = bits // 8
        most = (sectors * SECTOR + _FATS * 2 * entry) // (cluster * SECTOR + _FATS * entry)
        table = round_up(ceil_div((most + 2) * entry, SECTOR), cluster)
        return _Geometry(bits, cluster, (sectors - _FATS * table) // cluster)


def _directories(files: Mapping[str, bytes]) -> dict[str, set[str]]:
    """Every directory that the files need, and the names in it; the root is the empty string."""
    found: dict[str, set[str]] = {"": set()}
    for path in files:
        here = path
        while here:
            above, name = posixpath.split(here)
            found.setdefault(above, set()).add(name)
            here = above
    return found


def _entries(name: str) -> int:
    """How many directory entries a name takes."""
    return 1 if _SHORT_NAME.fullmatch(name) else 1 + ceil_div(len(name), _ENTRY_NAME)


def _fill(drive: str, files: Mapping[str, bytes], epoch: int) -> None:
    """Copy the files in with mtools, in sorted order, since the order shows in the bytes."""
    env = {
        "SOURCE_DATE_EPOCH": str(max(_DOS_EPOCH, epoch)),
        "HOME": "/nonexistent",  # for no ~/.mtoolsrc
        "MTOOLS_SKIP_CHECK": "1",
    }
    what = "filling the EFI system partition"
    directories = sorted(_directories(files))
    if made := [f"::/{directory}" for directory in directories if directory]:
        process.run(["mmd", "-i", drive, *made], what=what, env=env)
    with process.scratch_directory() as scratch:
        for directory in directories:
            inside = [path for path in sorted(files) if posixpath.dirname(path) == directory]
            sources = [Path(scratch) / posixpath.basename(path) for path in inside]
            for path, source in zip(inside, sources, strict=True):
                source.write_bytes(files[path])
            if sources:
                target = f"::/{directory}"
                process.run(["mcopy", "-Q", "-i", drive, *sources, target], what=what, env=env)
            for source in sources:
                source.unlink()
