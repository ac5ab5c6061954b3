"""Read files inside an image with GRUB's own file-system drivers, which grub-fstest holds.

Source of its output and exit statuses: GRUB, util/grub-fstest.c and grub-core/commands/ls.c. `ls`
always exits with 0 and prints nothing for a missing file; `cat` and `cp` fail. Its time and its
output are bounded, since the image may be damaged, or made to do harm.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from assembler.check.part import Part, time_limit
from assembler.copying.sparse import copy_sparse
from assembler.errors import TooSlowError
from assembler.filesystems.registry import KINDS
from assembler.host import process
from assembler.units import MIB, SECTOR, format_size

_FSTEST = "grub-fstest"
_STATUSES = (*range(-64, 0), 0, 1)  # a driver that a damaged file system kills has read nothing
_SECONDS, _RATE = 60, 64 * MIB  # at most for each time it runs, and for each second bytes more
_MAX_RUNS = 4000  # a menu of a thousand generations needs no more
_MAX_PATH = 4096  # bytes, as in Linux
_MAX_PROGRAM = 128 * MIB  # that is held in memory: GRUB has a hundredth
_MAX_COPY = 2048 * MIB  # GRUB finds no room in memory for more
_DEVICE = re.compile(
    r"(?:Device|Partition) (loop(\d+)(?:,(?:gpt|msdos)(\d+))?): Filesystem type (.*)"
)
_DETAILS = re.compile(
    r"(?P<kind>\S+)(?: - Label `(?P<label>.*)')?(?: - Last modification time [^,]*?)?"
    r"(?:, UUID (?P<uuid>\S+))?(?: - Partition start at| - Sector size).*"
)
# Size or DIR, the time unless GRUB cannot show it, and the name. GRUB 2.12 also lists what it
# cannot open, with question marks for the size.
_ROW = re.compile(r"(?:DIR|\d+) +\d{14,} (?P<timed>.+)|(?:DIR|\d+) *(?P<name>.+)")
_REFUSAL = re.compile(r"error: (?:cannot open `.*?': )?(.*?)\.?$")
_MODULES = {"ext*": "ext2"}  # GRUB's drivers whose module has another name
_TITLES = {kind.grub_module: kind.title for kind in KINDS}


class UnreadableError(ValueError):
    """GRUB cannot read a file; the message is GRUB's own."""


@dataclass(frozen=True, slots=True)
class GrubFileSystem:
    """A file system that GRUB has a driver for."""

    number: int  # of the partition; 0 is the whole image
    driver: str  # GRUB's module
    label: str
    uuid: str

    def has(self, kind: str, value: str) -> bool:
        """Whether `search` finds it by a kind of name, --fs-uuid or --label."""
        return value == self.label if kind == "--label" else value.lower() == self.uuid.lower()

    @property
    def where(self) -> str:
        """The file system in a message."""
        kind = _TITLES.get(self.driver, self.driver)
        return f"partition {self.number} ({kind})" if self.number else f"the {kind}"


class GrubReader:
    """The file systems of an image, as GRUB reads them; each answer of GRUB is kept.

    GRUB's tool has sectors of 512 bytes alone: for other disks it gets sparse copies of
    `places`, in `scratch`, where files that are read whole are put as well. Raises HostError where
    grub-fstest is missing.
    """

    def __init__(
        self, image: Path, scratch: Path, places: Sequence[Part] = (), sector_size: int = SECTOR
    ) -> None:
        self._scratch = scratch
        size = image.stat().st_size
        self._limit = time_limit(_SECONDS, size, _RATE)
        self._max_copy = min(_MAX_COPY, size)
        self._runs = 0
        self._stuck: TooSlowError | None = None
        self._images = [image]
        if sector_size != SECTOR:
            self._images = [scratch / f"partition-{place.number}" for place in places]
            for place, copy in zip(places, self._images, strict=True):
                copy_sparse(image, copy, place.start, place.size)
        self._devices: dict[int, str] = {}  # GRUB's names of partitions, by their numbers
        self._copies: dict[tuple[int, str], Path] = {}
        self._reads: dict[tuple[int, str, int], bytes | UnreadableError] = {}
        self._names: dict[tuple[int, str], list[str]] = {}
        copied = None if sector_size == SECTOR else [place.number for place in places]
        self.file_systems = tuple(sorted(self._probe(copied), key=lambda one: one.number))

    def _probe(self, copied: Sequence[int] | None) -> Iterator[GrubFileSystem]:
        """The file systems of the image, or those of its partitions with `copied` numbers."""
        words = [*self._prefix, "ls", "--", "-l"]
        printed = self._run(words, "asking GRUB for file systems").stdout if self._images else b""
        for device, disk, partition, more in _DEVICE.findall(printed.decode(errors="replace")):
            details = _DETAILS.fullmatch(more)
            if details is not None and not (copied and partition):
                number = copied[int(disk)] if copied else int(partition or 0)
                driver = _MODULES.get(details["kind"], details["kind"])
                self._devices[number] = device
                yield GrubFileSystem(number, driver, details["label"] or "", details["uuid"] or "")

    def file_system(self, number: int) -> GrubFileSystem | None:
        """What is in a partition, None where it is nothing that GRUB reads."""
        return next((one for one in self.file_systems if one.number == number), None)

    def read(self, number: int | None, path: str, limit: int = 0) -> bytes:
        """A file, or its first `limit` bytes; links are followed. Raises UnreadableError.

        Without a number of a partition there is no file.
        """
        if number is None:
            raise UnreadableError("no partition of this disk")
        key = number, path, limit
        found = self._reads.get(key)
        if found is None:
            found = self._read(*key)
        if limit:  # whole files, such as EFI programs, may be large
            self._reads[key] = found
        if isinstance(found, UnreadableError):
            raise UnreadableError(str(found))
        return found

    def _read(self, number: int, path: str, limit: int) -> bytes | UnreadableError:
        length = limit or _MAX_PROGRAM + 1
        try:
            data = self._file_command(["-n", str(length), *self._prefix, "cat"], number, path)
        except UnreadableError as error:
            return error
        if not limit and len(data) == length:
            return UnreadableError(f"it is larger than {format_size(_MAX_PROGRAM)}")
        return data

    def fetch(self, wanted: Iterable[tuple[int, str, int]]) -> None:
        """Read many files ahead, by partition, path and limit, on all processors."""

        def fetch_one(one: tuple[int, str, int]) -> None:
            with suppress(UnreadableError):  # `read` raises it again
                self.read(*one)

        with ThreadPoolExecutor() as pool:
            list(pool.map(fetch_one, dict.fromkeys(wanted)))

    def copy(self, number: int, path: str) -> Path:
        """A file, read whole and once: the path of its copy. Raises UnreadableError."""
        key = number, path
        if key not in self._copies:
            target = self._scratch / f"file-{len(self._copies)}"
            length = str(self._max_copy + 1)
            self._file_command(["-n", length, *self._prefix, "cp"], number, path, target)
            if target.stat().st_size > self._max_copy:
                target.unlink()
                raise UnreadableError(f"it is larger than {format_size(self._max_copy)}")
            self._copies[key] = target
        return self._copies[key]

    def known_size(self, number: int | None, path: str) -> int | None:
        """The bytes in a file that was read whole, None for any other."""
        copy = None if number is None else self._copies.get((number, path))
        return None if copy is None else copy.stat().st_size

    def names(self, number: int, directory: str) -> list[str]:
        """What is in a directory: directories end in a slash; nothing where there is none.

        Links to directories and dangling links are left out, as `ls -l` of GRUB 2.06 does.
        """
        if number not in self._devices or _path_fault(directory):
            return []
        where = f"({self._devices[number]}){directory.rstrip('/')}/"
        if (number, where) in self._names:
            return self._names[number, where]
        words = [*self._prefix, "ls", "--", "-l", os.fsencode(where)]
        printed = self._run(words, f"listing {directory}").stdout
        rows = map(_ROW.fullmatch, os.fsdecode(printed).split("\n"))
        found = [row["timed"] or row["name"] for row in rows if row is not None]
        self._names[number, where] = found
        return found

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

    def _run(self, words: Sequence[process.Arg], what: str) -> process.Done:
        """Run the tool; raises TooSlowError, and from then on at once."""
        self._runs += 1
        if self._runs > _MAX_RUNS:
            self._stuck = TooSlowError(f"more than {_MAX_RUNS} files are asked for by boot menus")
        if self._stuck is not None:
            raise self._stuck
        try:
            return process.run([_FSTEST, *words], what=what, ok=_STATUSES, limit=self._limit)
        except TooSlowError as error:
            self._stuck = error
            raise

    def _file_command(
        self, words: Sequence[process.Arg], number: int, path: str, *more: process.Arg
    ) -> bytes:
        if number not in self._devices:
            raise UnreadableError("unknown file system")
        if fault := _path_fault(path):
            raise UnreadableError(fault)
        where = os.fsencode(f"({self._devices[number]}){path}")
        done = self._run([*words, where, *more], f"reading {path}")
        if done.returncode:
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            match = _REFUSAL.search(lines[-1]) if lines else None
            raise UnreadableError(match[1] if match else "GRUB cannot read it")
        return done.stdout


def _path_fault(path: str) -> str:
    """Why there can be no file with a path."""
    if "\0" in path:
        return "its name has a NUL byte"
    return "its name is too long" if len(path.encode(errors="surrogatepass")) > _MAX_PATH else ""
