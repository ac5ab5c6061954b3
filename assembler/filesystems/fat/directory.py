"""Read the names in a FAT file system, and put others in their place.

Source: Microsoft's FAT specification (fatgen103), "Boot Sector and BPB", "FAT Directory Structure"
and "Long Directory Entries".
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_ENTRY = 32  # bytes
_UNITS = 13  # UTF-16 units of a name in a long entry
# Where a long entry has them: (offset, bytes).
_PIECES = ((1, 10), (14, 12), (28, 4))
_LONG, _VOLUME, _DIRECTORY = 0x0F, 0x08, 0x10  # attributes
_LAST = 0x40  # flag of the first entry, which has the end of the name
_DELETED = 0xE5
_MAX_DIRECTORY = 1 << 21  # bytes: 65,536 entries
_MAX_NAMES = 1 << 17
_MAX_READ = 1 << 25  # bytes of directories in all, so that reading a damaged FAT ends soon
_MAX_LONG = 20  # entries of a long name
_FAT16_CLUSTERS, _FAT32_CLUSTERS = 4085, 65525  # the fewest of each size of FAT


class FatError(ValueError):
    """The file system is not a FAT of 16 or 32 bits, or it is broken."""


class DamagedFatError(FatError):
    """An entry is marked as a directory, but leads to something else."""


@dataclass(frozen=True, slots=True)
class FatName:
    """A file or directory: its path, and where the entries of its long name are.

    `entries` are offsets in the image, in the order of the parts of the name; there are none for a
    file with a short name only.
    """

    path: str
    entries: tuple[int, ...]


def read_names(image: Path, offset: int) -> list[FatName]:
    """All names in the FAT at `offset` (bytes) of an image.

    Raises DamagedFatError where a directory is something else, FatError for a FAT that is broken or
    of 12 bits, OSError where the image cannot be read.
    """
    with image.open("rb") as file:
        fat = _Clusters(file, offset)
        found: list[FatName] = []
        pending = [("", fat.root)]
        seen = {fat.root}
        while pending:
            above, cluster = pending.pop()
            if above and not fat.is_directory(cluster):
                raise DamagedFatError(f"{above} is no directory, though its entry is of one")
            for name, entries, inner in _entries(fat.places(cluster), fat):
                path = f"{above}{name}"
                found.append(FatName(path, entries))
                if inner is not None and inner not in seen:
                    seen.add(inner)
                    pending.append((f"{path}/", inner))
                if len(found) > _MAX_NAMES:
                    raise FatError("it has too many files")
    return found


def put_names(image: Path, offset: int, names: Mapping[str, str]) -> None:
    """Give files with long names other names of the same length in UTF-16.

    `names` has the new name for each path. Raises FatError where there is no such file.
    """
    found = {one.path: one.entries for one in read_names(image, offset)}
    with image.open("r+b") as file:
        for path, name in names.items():
            units = name.encode("utf-16-le")
            places = found.get(path, ())
            if len(places) != -(-len(units) // (2 * _UNITS)):
                raise FatError(f"it has no {path} with a name of that length")
            for number, place in enumerate(places):
                rest = units[number * 2 * _UNITS :]
                for start, length in _PIECES:
                    file.seek(place + start)
                    file.write(rest[:length])
                    rest = rest[length:]


class _Clusters:
    """Reads the clusters of a FAT in an image."""

    def __init__(self, file: BinaryIO, offset: int) -> None:
        self._file = file
        self._left = _MAX_READ
        boot = self._at(offset, 512)
        sector, self._per_cluster, reserved, tables, self._root_entries, small, _, of16 = (
            struct.unpack_from("<HBHBHHBH", boot, 11)
        )
        large, of32 = struct.unpack_from("<II", boot, 32)
        if boot[510:] != b"\x55\xaa" or sector not in (512, 1024, 2048, 4096):
            raise FatError("it does not begin as a FAT")
        if not self._per_cluster or not tables:
            raise FatError("its boot sector is not that of a FAT")
        self._cluster = self._per_cluster * sector
        of_table = (of16 or of32) * sector
        self._root_start = offset + reserved * sector + tables * of_table
        self._data = self._root_start + self._root_entries * _ENTRY
        end = offset + (small or large) * sector
        self._count = (end - self._data) // self._cluster
        if self._count < _FAT16_CLUSTERS:
            raise FatError("it is a FAT of 12 bits")
        self._bits = 32 if self._count >= _FAT32_CLUSTERS else 16
        self._table = offset + reserved * sector
        self.root = int.from_bytes(boot[44:48], "little") if self._bits == 32 else 0

    def places(self, cluster: int) -> Iterator[tuple[int, bytes]]:
        """The pieces of a directory: where they are in the image, and their bytes."""
        if cluster == 0:
            size = self._root_entries * _ENTRY
            yield self._root_start, self._at(self._root_start, size)
            return
        total = 0
        while 2 <= cluster < self._count + 2 and total < _MAX_DIRECTORY:
            place = self._data + (cluster - 2) * self._cluster
            yield place, self._at(place, self._cluster)
            total += self._cluster
            self._left -= self._cluster
            if self._left < 0:
                raise FatError("its directories are too large")
            cluster = self._next(cluster)

    def is_directory(self, cluster: int) -> bool:
        """Whether a directory other than the root begins there, by its entries `.` and `..`."""
        _, piece = next(self.places(cluster), (0, b""))
        return [piece[at : at + 11] for at in (0, _ENTRY)] == [b".".ljust(11), b"..".ljust(11)]

    def first_cluster(self, entry: bytes) -> int:
        """The first cluster of the file or directory of an entry."""
        high = entry[20:22] if self._bits == 32 else b""
        return int.from_bytes(entry[26:28] + high, "little")

    def _next(self, cluster: int) -> int:
        length = self._bits // 8
        field = self._at(self._table + cluster * length, length)
        return int.from_bytes(field, "little") & 0x0FFFFFFF

    def _at(self, place: int, size: int) -> bytes:
        self._file.seek(place)
        content = self._file.read(size)
        if len(content) < size:
            raise FatError("it ends before it should")
        return content


def _entries(
    pieces: Iterator[tuple[int, bytes]], fat: _Clusters
) -> Iterator[tuple[str, tuple[int, ...], int | None]]:
    """The files in a directory: name, places of the long entries, cluster of a directory."""
    units = b""
    places: list[int] = []
    for start, piece in pieces:
        for within in range(0, len(piece), _ENTRY):
            entry = piece[within : within + _ENTRY]
            attributes = entry[11]
            if entry[0] == 0:
                return
            if entry[0] == _DELETED:
                units, places = b"", []
            elif attributes & 0x3F == _LONG:
                if entry[0] & _LAST or len(places) == _MAX_LONG:
                    units, places = b"", []
                units = b"".join(entry[at : at + size] for at, size in _PIECES) + units
                places.insert(0, start + within)
            else:
                name = _long_name(units) or _short_name(entry)
                if not attributes & _VOLUME and entry[0] != ord("."):
                    inner = fat.first_cluster(entry) if attributes & _DIRECTORY else None
                    yield name, tuple(places), inner
                units, places = b"", []


def _long_name(units: bytes) -> str:
    end = next((at for at in range(0, len(units), 2) if units[at : at + 2] == b"\0\0"), len(units))
    return units[:end].decode("utf-16-le", errors="replace")


def _short_name(entry: bytes) -> str:
    """A name of 8 and 3 characters; each of two flags puts one part in lower case."""
    parts = [entry[:8].decode("cp850").rstrip(), entry[8:11].decode("cp850").rstrip()]
    for number, flag in enumerate((0x08, 0x10)):
        if entry[12] & flag:
            parts[number] = parts[number].lower()
    return ".".join(filter(None, parts))
