"""Make the FAT file system of a boot partition, the same bytes every time.

Sizes follow mkfs.fat.c of dosfstools 4.2 (setup_tables) and Microsoft's FAT specification
(fatgen103), sections 3.2 to 3.5.
"""

import posixpath
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from assembler.disk.tables import LayoutRules
from assembler.errors import HostError, Message, RequestError, Setting, reason
from assembler.filesystems.fat.directory import FatError, put_names, read_names
from assembler.filesystems.fat.names import name_problems, stand_ins, units, with_one_case
from assembler.host import process
from assembler.host.scratch import scratch_directory
from assembler.units import KIB, MIB, SECTOR, ceil_div, format_size, round_up

_DOS_EPOCH = 315532800  # 1980-01-01 00:00 UTC, the first time that FAT can hold, in seconds
_DOS_END = 4354819198  # 2107-12-31 23:59:58 UTC, the last one
_FATS = 2
_ENTRY = 32  # bytes of a directory entry
_ENTRY_NAME = 13  # characters of a long name that fit an additional entry
# mtools sets a flag for a part in lower case.
_SHORT_NAME = re.compile(
    r"(?:[A-Z0-9_-]{1,8}|[a-z0-9_-]{1,8})(?:\.(?:[A-Z0-9_-]{1,3}|[a-z0-9_-]{1,3}))?"
)
_FAT16_ROOT_ENTRIES = 512

# The smallest that can be made, in bytes, by sector size: below, there are too few clusters.
SMALLEST = {SECTOR: 5 * MIB, 4096: 17 * MIB}
LARGEST = 1 << 40  # bytes: 2²⁸ clusters of 4 KiB
_FAT32_FROM = 33 * MIB  # with sectors of 512 bytes; below, FAT32 would have too few clusters
_LARGE_CLUSTERS_FROM = 261 * MIB  # 4 KiB as mkfs.fat takes them


@dataclass(frozen=True, slots=True, kw_only=True)
class Fat:
    """A FAT file system to make: where in the image (bytes), what names it and what is in it.

    The keys of `files` are paths like `EFI/BOOT/BOOTX64.EFI`, whose directories are made; the
    values are the content of a file, or the host file that has it. `volume_id` has 32 bits, `label`
    at most 11 characters. All files have the time `epoch`, in seconds, or the nearest time from
    1980 to 2107. `what` is the name of the file system in messages.
    """

    offset: int
    size: int
    files: Mapping[str, bytes | Path]
    volume_id: int
    label: str
    epoch: int
    sector_size: int = SECTOR
    what: str = "EFI system partition"

    @property
    def uuid(self) -> str:
        """The volume's serial number as blkid and GRUB write it."""
        return fat_uuid(self.volume_id)


def metadata_size(fat: Fat) -> int:
    """The bytes at its start that hold all tables, and perhaps more.

    Each of the two tables has at most 4 bytes for a cluster of at least 512 (fatgen103, 3.5);
    before them are at most 32 sectors, behind them perhaps a root directory of 16 KiB.
    """
    return min(fat.size, fat.size // 64 + 256 * KIB)


def fat_uuid(volume_id: int) -> str:
    """A FAT's serial number (32 bits) as blkid and GRUB write it."""
    return f"{volume_id >> 16:04X}-{volume_id & 0xFFFF:04X}"


def write_fat(image: Path, fat: Fat) -> None:
    """Make a FAT in `image` and put its files into it.

    Raises RequestError when they do not fit, HostError when a file cannot be read.
    """
    if problems := fat_problems(fat):
        raise RequestError(problems)
    geometry = _Geometry.of(fat.size, fat.sector_size)
    start = str(fat.offset // fat.sector_size)
    process.run(
        [
            *("mkfs.fat", "-F", str(geometry.bits), "-s", str(geometry.cluster_sectors)),
            # A track of 32 sectors divides every MiB: else mkfs.fat leaves some sectors out.
            *("-S", str(fat.sector_size), "-g", "64/32", "-h", start, "--invariant"),
            *("-i", f"{fat.volume_id:08x}", "-n", fat.label, "--offset", start),
            *(image, str(fat.size // KIB)),
        ],
        what=f"making the {fat.what}",
    )
    _fill(image, fat)


def boot_size_problems(size: int, rules: LayoutRules) -> list[str]:
    """One line for each reason why no disk laid out by these rules has a FAT of that size."""
    lines: list[str] = []
    if rules is LayoutRules.OWN and (size % MIB or size < MIB):
        lines.append(Message(Setting("boot_size", size), " is not a whole number of MiB"))
    if size > LARGEST:
        end = f" ends at {format_size(LARGEST)}, as FAT32"
        lines.append(Message(Setting("boot_size"), end))
    return lines


def fat_problems(fat: Fat) -> list[str]:
    """One line for each reason why a FAT cannot be made."""
    if fat.size < (smallest := SMALLEST[fat.sector_size]):
        return [
            f"the {fat.what} of {format_size(fat.size)} is too small: "
            f"the smallest is {format_size(smallest)}"
        ]
    geometry = _Geometry.of(fat.size, fat.sector_size)
    cluster = geometry.cluster_sectors * fat.sector_size
    files = with_one_case(fat.files)
    problems = name_problems(fat.what, fat.files) + _long_name_problems(fat.what, files, cluster)
    needed = sum(ceil_div(_length(source), cluster) for source in files.values())
    for directory, names in _directories(files).items():
        if directory or geometry.bits == 32:  # FAT16's root directory has a place of its own
            entries = 2 + sum(_entries(name) for name in names)  # `.` and `..`, or the label
            needed += ceil_div(entries * _ENTRY, cluster)
    if geometry.bits == 16:
        problems += _root_problems(fat.what, _directories(files)[""])
    missing = (needed - geometry.clusters) * cluster
    if missing <= 0:
        return problems
    fault = f"the {fat.what} of {format_size(fat.size)} is too small for its files by "
    remedy = ": take a larger ", Setting("boot_size")
    return [*problems, Message(f"{fault}{format_size(missing)}", *remedy)]


def _long_name_problems(what: str, files: Mapping[str, bytes | Path], cluster: int) -> list[str]:
    """Names that mtools finds no room for, since it adds one cluster at a time to a directory."""
    slots = cluster // _ENTRY
    directories = _directories(files)
    problems = list[str]()
    for directory, names in directories.items():
        used = 2
        order = sorted(names, key=lambda name: (posixpath.join(directory, name) in files, name))
        for name in order:
            if (needed := _entries(name)) > -used % slots + slots:
                path, size = posixpath.join(directory, name), format_size(_LARGE_CLUSTERS_FROM)
                fault = f"the {what} cannot hold {path!r} with clusters of {cluster} bytes: take "
                remedy = Setting("boot_size", size)
                problems.append(Message(fault, remedy, ", or a shorter name"))
            used += needed
    return problems


def _root_problems(what: str, names: Collection[str]) -> list[str]:
    """Why the root directory of a FAT16, which cannot grow, has no room for its names."""
    entries = 1 + sum(map(_entries, names))  # 1 for the label
    if entries <= _FAT16_ROOT_ENTRIES:
        return []
    fault = f"the {what} has too many files beside each other at its top: take "
    return [Message(fault, Setting("boot_size", format_size(_FAT32_FROM)), " or more")]


def _length(source: bytes | Path) -> int:
    """The bytes of a file; raises HostError."""
    if isinstance(source, bytes):
        return len(source)
    try:
        return source.stat().st_size
    except OSError as error:
        raise HostError(f"cannot read {reason(error)}") from None


@dataclass(frozen=True, slots=True)
class _Geometry:
    """How mkfs.fat lays a FAT out: bits of a table entry, sectors of a cluster, clusters."""

    bits: int
    cluster_sectors: int
    clusters: int

    @staticmethod
    def of(size: int, sector: int) -> "_Geometry":
        # Readers take a FAT with 65525 clusters or more for a FAT32, one with fewer for a FAT16.
        if sector == 4096:
            bits, cluster = (
                (32, 1) if size >= _LARGE_CLUSTERS_FROM else (16, 1 + (size > 256 * MIB))
            )
        elif size < _FAT32_FROM:
            bits, cluster = 16, 2
        else:
            bits, cluster = 32, 1 if size < _LARGE_CLUSTERS_FROM else 8
        reserved, root = (
            (32, 0) if bits == 32 else (cluster, _FAT16_ROOT_ENTRIES * _ENTRY // sector)
        )
        sectors = size // sector - reserved - root
        entry = bits // 8
        most = (sectors * sector + _FATS * 2 * entry) // (cluster * sector + _FATS * entry)
        table = round_up(ceil_div((most + 2) * entry, sector), cluster)
        return _Geometry(bits, cluster, (sectors - _FATS * table) // cluster)


def _directories(files: Mapping[str, bytes | Path]) -> dict[str, set[str]]:
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
    return 1 if _SHORT_NAME.fullmatch(name) else 1 + ceil_div(units(name), _ENTRY_NAME)


def _fill(image: Path, fat: Fat) -> None:
    """Copy the files in with mtools, in sorted order, since the order shows in the bytes.

    mtools gets plain names only; the real names replace them at the end.
    """
    drive = f"{image}@@{fat.offset}"
    env = {
        "SOURCE_DATE_EPOCH": str(min(max(_DOS_EPOCH, fat.epoch), _DOS_END)),
        "HOME": "/nonexistent",  # for no ~/.mtoolsrc
        "MTOOLS_SKIP_CHECK": "1",
    }
    what = f"filling the {fat.what}"
    files = with_one_case(fat.files)
    names = stand_ins(files)
    directories = sorted(_directories(files))
    if made := [f"::/{names[directory]}" for directory in directories if directory]:
        process.run(["mmd", "-i", drive, *made], what=what, env=env)
    with scratch_directory() as scratch:
        for directory in directories:
            inside = [path for path in sorted(files) if posixpath.dirname(path) == directory]
            named = [Path(scratch) / posixpath.basename(names[path]) for path in inside]
            for path, here in zip(inside, named, strict=True):
                source = files[path]
                if isinstance(source, bytes):
                    here.write_bytes(source)
                else:  # mcopy gives a file the name of its source
                    here.symlink_to(source.absolute())
            if named:
                target = f"::/{names.get(directory, '')}"
                process.run(["mcopy", "-Q", "-i", drive, *named, target], what=what, env=env)
            for here in named:
                here.unlink()
    _rename(image, fat, names)


def _rename(image: Path, fat: Fat, names: Mapping[str, str]) -> None:
    """Give the files their own names in place of the stand-ins, and read all names again."""
    others = {
        stand_in: posixpath.basename(path)
        for path, stand_in in names.items()
        if posixpath.basename(path) != posixpath.basename(stand_in)
    }
    try:
        put_names(image, fat.offset, others)
        found = {one.path for one in read_names(image, fat.offset)}
    except FatError as error:
        raise HostError(f"filling the {fat.what}: {error}") from None
    if found != {*names}:
        wrong = ", ".join(map(repr, sorted(found ^ {*names})))
        raise HostError(f"filling the {fat.what}: mtools gave other names than it should: {wrong}")
