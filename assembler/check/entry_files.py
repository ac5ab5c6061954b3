"""Read the files of menu entries: kernel, initial RAM disks, and init in the root.

For the entry that starts by itself every byte of kernel and initial RAM disks is read. For other
generations of the system only the beginnings are read, so that a hundred of them take less than a
minute. Other entries, such as other systems or a reboot, are not followed.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from filecmp import cmp
from pathlib import Path
from typing import BinaryIO

from assembler.binaries.decompress import PayloadError
from assembler.binaries.kernel_files import check_initrd, check_kernel, check_whole_kernel
from assembler.binaries.pe import PeError, read_pe
from assembler.check.boot_chain import BootDisk, BrokenError, ForeignError, Trail
from assembler.check.efi_code import check_program
from assembler.check.grub_reader import GrubFileSystem, UnreadableError
from assembler.check.menu import CheckedEntry, Entry, Load, Location, location_words
from assembler.filesystems.fat.kind import FAT
from assembler.filesystems.registry import ROOT_KINDS
from assembler.machines import Machine
from assembler.units import format_size

_HEADER = 4096  # bytes: what check_kernel looks at, and more
_EFI_PROGRAM = b"MZ"
_MAX_PROGRAM = 128 << 20  # bytes, which are held in memory
_STORE = "/nix/store/"
_HASHED = re.compile(r"/nix/store/[0-9a-z]{32}-[^/]+/")
# Where a generation has its kernel: in the store, or where NixOS copies those.
_GENERATION = re.compile(r"/(?:[0-9a-z]{32}-[^/]+/|kernels/[^/]+$|EFI/nixos/)", re.IGNORECASE)
# Such a copy: /boot/kernels of NixOS's GRUB, EFI/nixos of its systemd-boot.
_COPY = re.compile(r".*/([0-9a-z]{32}-[^/]+)-([^/-]+?)(?:\.efi)?")
_OTHERS_KERNELS = ("multiboot", "multiboot2", "chainloader")  # not Linux
_WITH_SUBVOLUMES = [one.grub_module for one in ROOT_KINDS.values() if one.has_subvolumes]


class _ForeignKernelError(PayloadError):
    """The kernel is for another kind of machine."""

    def __init__(self, words: str, machine: str) -> None:
        super().__init__(words)
        self.machine = machine


@dataclass(frozen=True, slots=True)
class EntryReader:
    """Checks entries for one kind of machine, `machine`."""

    disk: BootDisk
    machine: Machine
    efi: bool = False  # whether kernels are started as EFI programs

    def check(self, trail: Trail, entries: Sequence[Entry], default: Entry) -> None:
        """Check all entries, the default first, and note the results. Raises BrokenError."""
        try:
            self._check_all(trail, entries, default)
        finally:
            trail.entries = [self._checked(entry, default) for entry in entries]

    def _check_all(self, trail: Trail, entries: Sequence[Entry], default: Entry) -> None:
        results = ", ".join(self._check(default, whole=True))
        trail.details.append(f'"{default.title}": {results}')
        if default.unfollowed:
            trail.leave_out(f"entry {default.title!r}: {default.unfollowed}")
        others = [entry for entry in entries if entry is not default]
        generations = [entry for entry in others if self._is_generation(entry)]
        if odd := [entry for entry in generations if entry.unfollowed]:
            trail.leave_out(f"entry {odd[0].title!r}: {odd[0].unfollowed}")
        generations = [entry for entry in generations if not entry.unfollowed]
        self.disk.reader.fetch(self._beginnings(generations))
        for entry in generations:
            self._check(entry, whole=False)
        if generations:
            words = "the files are there, their beginnings read"
            trail.details.append(f"{_more(len(generations))}: {words}")
        if rest := len(others) - len(generations):
            trail.details.append(f"{_more(rest)}: not followed")

    def _checked(self, entry: Entry, default: Entry) -> CheckedEntry:
        sizes = [
            self.disk.reader.known_size(load.place.number, load.place.path) for load in entry.loads
        ]
        return CheckedEntry(
            entry.title,
            default=entry is default,
            followed=(entry is default or self._is_generation(entry)) and not entry.unfollowed,
            files=tuple(zip(entry.loads, sizes, strict=True)),
            init=_init_of(entry),
        )

    def _is_generation(self, entry: Entry) -> bool:
        """Whether it starts a kernel of the system's own, on this disk."""
        kernel = next((load for load in entry.loads if load.is_kernel), None)
        return (
            kernel is not None
            and not self._leads_away(kernel)
            and kernel.place.number is not None
            and _GENERATION.search(kernel.place.path) is not None
        )

    def _leads_away(self, kernel: Load) -> bool:
        """Whether it is another boot loader: systemd-boot starts these as it starts kernels."""
        return kernel.command == "chainloader" and not self.efi

    def _beginnings(self, entries: Iterable[Entry]) -> Iterator[tuple[int, str, int]]:
        """What will be read for entries: partition, path, and how many bytes."""
        for entry in entries:
            for load in entry.loads:
                if load.place.number is not None:
                    yield load.place.number, load.place.path, _HEADER
            kernel = next(load for load in entry.loads if load.is_kernel)
            if (init := _init_of(entry)) is not None:
                for number, path in self._candidates(init, kernel.place):
                    yield number, path, 1
                    break

    def _check(self, entry: Entry, *, whole: bool) -> list[str]:
        if entry.unfollowed:
            return ["not followed"]
        results: list[str] = []
        try:
            kernel = next((load for load in entry.loads if load.is_kernel), None)
            if kernel is None:
                raise BrokenError("it loads no kernel")
            if self._leads_away(kernel) and (kernel.place.number is None or kernel.place.is_blocks):
                return ["not followed"]
            for load in entry.loads:
                results.append(self._load(load, whole=whole))
            results += self._init(entry, kernel.place)
        except ForeignError as error:
            words = f"entry {entry.title!r}: {error}"
            raise (ForeignError(words, error.summary) if whole else BrokenError(words)) from None
        except BrokenError as error:
            raise BrokenError(f"entry {entry.title!r}: {error}") from None
        return results

    def _load(self, load: Load, *, whole: bool) -> str:
        where = location_words(self.disk.reader.file_systems, load.place)
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
                if load.is_kernel:
                    self._check_header(load, file.read(_HEADER), size)
                if copy not in self.disk.whole:
                    self._check_whole(load, file, size)
                    self._compare_with_store(load.place, copy)
                    self.disk.whole.add(copy)
        except _ForeignKernelError as error:
            loader = "systemd-boot" if self.efi else "GRUB"
            summary = f"{loader} for {self.machine.facts.words}: the kernel is for {error.machine}"
            raise ForeignError(f"{where}: {error}", summary) from None
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
            if pe.machine is not self.machine:
                theirs = pe.machine.facts.words
                words = f"it is for {theirs}, not for {self.machine.facts.words}"
                raise _ForeignKernelError(words, theirs)
        elif load.is_kernel and load.command not in _OTHERS_KERNELS:
            machine = check_kernel(header, size)
            if machine not in (None, self.machine.facts.linux):
                words = f"it is a kernel for {machine}, not for {self.machine.facts.words}"
                raise _ForeignKernelError(words, machine or "another machine")

    def _check_whole(self, load: Load, file: BinaryIO, size: int) -> None:
        """Read a kernel or an initial RAM disk to its end; raises PayloadError."""
        if load.command.startswith("initrd"):
            check_initrd(file)
        if not load.is_kernel:
            return
        if load.command not in _OTHERS_KERNELS:
            check_whole_kernel(file)
        elif not self.efi:
            return
        file.seek(0)
        if file.read(2) == _EFI_PROGRAM and size <= _MAX_PROGRAM:
            file.seek(0)
            try:
                check_program(file.read(), loader=False)
            except PeError as error:
                raise PayloadError(str(error)) from None

    def _compare_with_store(self, place: Location, copy: Path) -> None:
        """Compare a file that NixOS copied to where a boot loader reads with the one in the store.

        The copy is named after the store path and the file there. One of another size had secrets
        appended. Raises PayloadError.
        """
        named = _COPY.fullmatch(place.path)
        if named is None:
            return
        path = f"{_STORE}{named[1]}/{named[2]}"
        for root in self._roots(place):
            with suppress(UnreadableError):
                own = self.disk.reader.copy(root.number, path)
                if own.stat().st_size == copy.stat().st_size and not cmp(own, copy, shallow=False):
                    raise PayloadError(f"it differs from {path} in {root.where}")

    def _init(self, entry: Entry, kernel: Location) -> list[str]:
        """The program that the kernel starts, by its parameter init=; it must be in a root."""
        init = _init_of(entry)
        if init is None:
            if any(load.command == "linux" for load in entry.loads) and self._is_generation(entry):
                raise BrokenError("its kernel has no parameter init=")
            return []
        for number, path in self._candidates(init, kernel):
            if self.disk.reader.exists(number, path):
                return ["init"]
        where = ", ".join(one.where for one in self._roots(kernel)) or "this disk"
        raise BrokenError(f"init {init}: it is not in {where}")

    def _roots(self, kernel: Location) -> list[GrubFileSystem]:
        """The file systems that may be the root, that with the kernel first."""
        roots = [one for one in self.disk.reader.file_systems if one.driver != FAT.grub_module]
        return sorted(roots, key=lambda one: one.number != kernel.number)

    def _candidates(self, init: str, kernel: Location) -> Iterator[tuple[int, str]]:
        """Where init may be: partitions and paths."""
        for one in self._roots(kernel):
            yield one.number, init
            if one.driver in _WITH_SUBVOLUMES:
                yield from ((one.number, path) for path in self._below(one.number, init, kernel))

    def _below(self, number: int, init: str, kernel: Location) -> Iterator[str]:
        """Where init may be in a file system with subvolumes: GRUB reads it from the top level."""
        inside = init.removeprefix(_STORE)
        store_path = re.match(r"(.*/)[0-9a-z]{32}-[^/]+/", kernel.path)
        if kernel.number == number and store_path is not None:
            yield store_path[1] + inside
        for name in self.disk.reader.names(number, "/"):
            if name.endswith("/"):
                yield f"/{name.rstrip('/')}{init}"
                yield f"/{name}{init.removeprefix('/nix/')}"
                yield f"/{name}{inside}"


def _init_of(entry: Entry) -> str | None:
    """The program that the kernel starts, by its parameter init=, if it has one."""
    words = [word for load in entry.loads for word in load.arguments]
    return next((word[5:] for word in reversed(words) if word.startswith("init=/")), None)


def _more(count: int) -> str:
    return f"{count} more {'entry' if count == 1 else 'entries'}"
