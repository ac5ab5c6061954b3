"""Read what a menu entry loads: kernel, initial RAM disks, and init in the root.

Of the entry that starts by itself every byte of kernel and initial RAM disks is read; of the
others only the beginnings, so that a hundred generations take no minute.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from assembler.boot.payload import PayloadError, check_initrd, check_kernel
from assembler.boot.pe import PeError, read_pe
from assembler.check.chain import BrokenError, Disk, Trail
from assembler.check.grub_menu import Entry, Load, Location
from assembler.check.grub_reader import GrubReader, UnreadableError
from assembler.units import format_size

_HEADER = 4096  # bytes: what check_kernel looks at, and more
_STORE = "/nix/store/"
_HASHED = re.compile(r"/nix/store/[0-9a-z]{32}-[^/]+/")
_OTHERS_KERNELS = ("multiboot", "multiboot2", "chainloader")  # not Linux
_MACHINES = {"i386": "x86", "x86-64": "x86", "arm64": "arm64", "riscv64": "riscv64"}


@dataclass(frozen=True, slots=True)
class EntryReader:
    """Checks entries for one kind of machine, by a name of `boot.pe.MACHINES`."""

    disk: Disk
    machine: str
    efi: bool = False  # whether kernels are started as EFI programs

    def check(self, trail: Trail, entries: Sequence[Entry], default: Entry) -> None:
        """Check all entries, the default first, and tell of it. Raises BrokenError."""
        told = ", ".join(self._check(default, whole=True))
        trail.details.append(f'"{default.title}": {told}')
        others = [entry for entry in entries if entry is not default]
        for entry in others:
            self._check(entry, whole=False)
        if others:
            count = f"{len(others)} more {'entry' if len(others) == 1 else 'entries'}"
            trail.details.append(f"{count}: the files are there, their beginnings read")

    def _check(self, entry: Entry, *, whole: bool) -> list[str]:
        told: list[str] = []
        try:
            if not any(load.is_kernel for load in entry.loads):
                raise BrokenError("it loads no kernel")
            for load in entry.loads:
                told.append(self._load(load, whole=whole))
            told += self._init(entry)
        except BrokenError as error:
            raise BrokenError(f"entry {entry.title!r}: {error}") from None
        return told

    def _load(self, load: Load, *, whole: bool) -> str:
        where = location_words(self.disk.reader, load.place)
        path = load.place.path
        if load.place.number is None:
            raise BrokenError(f"{path}: {load.place.fault}")
        try:
            if not whole:
                self._check_header(load, self.disk.reader.read(load.place.number, path, _HEADER))
                return path
            copy = self.disk.reader.copy(load.place.number, path)
            size = copy.stat().st_size
            with copy.open("rb") as file:
                if not load.command.startswith("initrd"):
                    self._check_header(load, file.read(_HEADER), size)
                elif copy not in self.disk.whole:
                    check_initrd(file)
                    self.disk.whole.add(copy)
        except (UnreadableError, PayloadError) as error:
            raise BrokenError(f"{where}: {error}") from None
        if load.command.startswith("initrd"):
            return f"initrd ({format_size(size)})"
        return f"{_HASHED.sub('/nix/store/…/', path)} ({format_size(size)})"

    def _check_header(self, load: Load, header: bytes, size: int | None = None) -> None:
        if not header:
            raise PayloadError("it is empty")
        if self.efi and load.is_kernel:
            try:
                pe = read_pe(header, size if size is not None else sys.maxsize)
            except PeError as error:
                raise PayloadError(str(error)) from None
            if pe.machine != self.machine:
                raise PayloadError(f"it is for {pe.machine}, not for {self.machine}")
        elif load.is_kernel and load.command not in _OTHERS_KERNELS:
            machine = check_kernel(header, size)
            if machine not in (None, _MACHINES[self.machine]):
                raise PayloadError(f"it is a kernel for {machine}, not for {self.machine}")

    def _init(self, entry: Entry) -> list[str]:
        """The program that the kernel is told to start, which must be in a root."""
        words = [word for load in entry.loads for word in load.arguments]
        init = next((word[5:] for word in reversed(words) if word.startswith("init=/")), None)
        if init is None:
            return []
        kernel = next(load for load in entry.loads if load.is_kernel)
        systems = [one for one in self.disk.reader.file_systems if one.driver != "fat"]
        systems.sort(key=lambda one: one.number != kernel.place.number)
        for one in systems:
            for path in self._candidates(one.number, one.driver, init, kernel.place):
                if self.disk.reader.exists(one.number, path):
                    return ["init"]
        where = ", ".join(one.where for one in systems) or "this disk"
        raise BrokenError(f"init {init}: it is not in {where}")

    def _candidates(self, number: int, driver: str, init: str, kernel: Location) -> Iterator[str]:
        """Where init may be: GRUB reads a btrfs from its top level, whatever is mounted where."""
        yield init
        if driver != "btrfs":
            return
        inside = init.removeprefix(_STORE)
        store_path = re.match(r"(.*/)[0-9a-z]{32}-[^/]+/", kernel.path)
        if kernel.number == number and store_path is not None:
            yield store_path[1] + inside
        for name in self.disk.reader.names(number, "/"):
            if name.endswith("/"):
                yield f"/{name.rstrip('/')}{init}"
                yield f"/{name}{init.removeprefix('/nix/')}"
                yield f"/{name}{inside}"


def location_words(reader: GrubReader, place: Location) -> str:
    """A file in a message."""
    one = reader.file_system(place.number) if place.number is not None else None
    if one is None:
        where = f"partition {place.number}" if place.number else "the disk"
        return f"{where}, {place.path}"
    return f"{one.where}, {place.path}"
