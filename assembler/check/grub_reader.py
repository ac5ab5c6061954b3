"""Read files inside an image with GRUB's own file-system drivers, which grub-fstest holds.

What it says and how it exits: GRUB, util/grub-fstest.c and grub-core/commands/ls.c. Its `ls`
always exits with 0, and says nothing of what it did not find; `cat` and `cp` tell.
"""

import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from assembler import process
from assembler.check.sparse import copy_sparse
from assembler.units import SECTOR

_FSTEST = "grub-fstest"
_STATUSES = range(-64, 256)  # a driver that a damaged file system kills has read nothing, either
_DEVICE = re.compile(r"(?:Device|Partition) (loop\d+(?:,\w+)?): Filesystem type (.*)")
_DETAILS = re.compile(
    r"(?P<kind>\S+)(?: - Label `(?P<label>.*)')?(?: - Last modification time [^,]*?)?"
    r"(?:, UUID (?P<uuid>\S+))?(?: - Partition start at| - Sector size).*"
)
_REFUSAL = re.compile(r"error: (?:cannot open `.*?': )?(.*?)\.?$")
_MODULES = {"ext*": "ext2"}  # GRUB's drivers whose module has another name
_PLAIN = {"ext2": "ext4", "fat": "FAT"}  # what users call what they read


class UnreadableError(ValueError):
    """GRUB cannot read a file: why, in its own words."""


@dataclass(frozen=True, slots=True)
class Span:
    """A partition: its number, and where it is in the image (bytes); 0 is the whole image."""

    number: int
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class FileSystem:
    """A file system that GRUB knows."""

    number: int  # of the partition; 0 is the whole image
    driver: str  # GRUB's module
    label: str
    uuid: str

    @property
    def where(self) -> str:
        """The file system in a message."""
        kind = _PLAIN.get(self.driver, self.driver)
        return f"partition {self.number} ({kind})" if self.number else f"the {kind}"


@dataclass(frozen=True, slots=True)
class _Read:
    """What came of reading a file up to a limit, if any."""

    limit: int
    data: bytes
    refusal: str = ""

    def suffices(self, limit: int) -> bool:
        """Whether reading up to another limit would tell no more."""
        return bool(self.refusal) or len(self.data) < self.limit or 0 < limit <= self.limit


class GrubReader:
    """The file systems of an image, as GRUB sees them; what it said once, it is not asked again.

    GRUB's tool knows sectors of 512 bytes alone: for other disks it gets sparse copies of
    `places`, in `scratch`, where files that are read whole are put as well. Raises HostError where
    grub-fstest is missing.
    """

    def __init__(
        self, image: Path, scratch: Path, places: Sequence[Span] = (), sector_size: int = SECTOR
    ) -> None:
        self._scratch = scratch
        self._images = [image]
        numbers = []
        if sector_size != SECTOR:
            self._images = [scratch / f"partition-{place.number}" for place in places]
            numbers = [place.number for place in places]
            for place, copy in zip(places, self._images, strict=True):
                copy_sparse(image, copy, place.start, place.size)
        self._devices: dict[int, str] = {}
        self._copies: dict[tuple[int, str], Path] = {}
        self._reads: dict[tuple[int, str], _Read] = {}
        self._names: dict[tuple[int, str], list[str]] = {}
        self.file_systems = tuple(self._probe(numbers))

    def _probe(self, numbers: Sequence[int]) -> list[FileSystem]:
        found = []
        said = self._run(["ls", "--", "-l"], "asking GRUB for file systems")
        for device, words in _DEVICE.findall(said.decode(errors="replace")):
            details = _DETAILS.fullmatch(words)
            number = _number(device, numbers)
            if details is not None and number is not None:
                driver = _MODULES.get(details["kind"], details["kind"])
                label, uuid = details["label"] or "", details["uuid"] or ""
                self._devices[number] = device
                found.append(FileSystem(number, driver, label, uuid))
        return sorted(found, key=lambda one: one.number)

    def file_system(self, number: int) -> FileSystem | None:
        """What is in a partition, None where it is nothing that GRUB knows."""
        return next((one for one in self.file_systems if one.number == number), None)

    def read(self, number: int, path: str, limit: int = 0) -> bytes:
        """A file, or its first `limit` bytes; links are followed. Raises UnreadableError."""
        key = number, path
        known = self._reads.get(key)
        if known is None or not known.suffices(limit):
            known = self._read(number, path, limit)
            if limit or known.refusal:  # whole files, such as EFI programs, may be large
                self._reads[key] = known
        if known.refusal:
            raise UnreadableError(known.refusal)
        return known.data[:limit] if limit else known.data

    def _read(self, number: int, path: str, limit: int) -> _Read:
        length = ["-n", str(limit)] if limit else []
        try:
            data = self._file_command([*length, *self._prefix, "cat"], number, path)
        except UnreadableError as error:
            return _Read(limit, b"", str(error))
        return _Read(limit, data)

    def fetch(self, wanted: Iterable[tuple[int, str, int]]) -> None:
        """Read many files ahead, by partition, path and limit, on all processors."""

        def fetch_one(one: tuple[int, str, int]) -> None:
            with suppress(UnreadableError):  # whoever needs it will be told
                self.read(*one)

        with ThreadPoolExecutor() as pool:
            list(pool.map(fetch_one, dict.fromkeys(wanted)))

    def copy(self, number: int, path: str) -> Path:
        """A file, read whole and once: the path of its copy. Raises UnreadableError."""
        key = number, path
        if key not in self._copies:
            target = self._scratch / f"file-{len(self._copies)}"
            self._file_command([*self._prefix, "cp"], number, path, target)
            self._copies[key] = target
        return self._copies[key]

    def names(self, number: int, directory: str) -> list[str]:
        """What is in a directory: directories end in a slash; nothing where there is none.

        Links to directories are left out, as GRUB's `ls -l` does.
        """
        if number not in self._devices:
            return []
        where = f"({self._devices[number]}){directory.rstrip('/')}/"
        if (number, where) in self._names:
            return self._names[number, where]
        said = self._run(["ls", "--", "-l", where], f"listing {directory}")
        # Size or DIR, time, name.
        rows = (line.split(maxsplit=2) for line in said.decode(errors="replace").splitlines())
        self._names[number, where] = [row[2] for row in rows if len(row) == 3]
        return self._names[number, where]

    def exists(self, number: int, path: str) -> bool:
        """Whether there is a file that GRUB can open."""
        try:
            self.read(number, path, 1)
        except UnreadableError:
            return False
        return True

    @property
    def _prefix(self) -> list[process.Arg]:
        return ["-c", str(len(self._images)), *self._images]

    def _run(self, words: Sequence[str], what: str) -> bytes:
        return process.run([_FSTEST, *self._prefix, *words], what=what, ok=_STATUSES).stdout

    def _file_command(
        self, words: Sequence[process.Arg], number: int, path: str, *more: process.Arg
    ) -> bytes:
        if number not in self._devices:
            raise UnreadableError("unknown file system")
        device = self._devices[number]
        done = process.run(
            [_FSTEST, *words, f"({device}){path}", *more], what=f"reading {path}", ok=_STATUSES
        )
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            match = _REFUSAL.search(said[-1]) if said else None
            raise UnreadableError(match[1] if match else "GRUB cannot read it")
        return done.stdout


def _number(device: str, numbers: Sequence[int]) -> int | None:
    """The partition of a device name of GRUB's."""
    match = re.fullmatch(r"loop(\d+)(?:,(?:gpt|msdos)(\d+))?", device)
    if match is None:
        return None
    disk, partition = match.groups()
    if numbers:  # each disk is a copy of one partition
        return None if partition else numbers[int(disk)]
    return int(partition or 0)
