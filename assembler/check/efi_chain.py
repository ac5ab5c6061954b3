"""Follow the boot chains for UEFI, from the program for removable media on the ESP.

Where there is none for removable media, those that an installed system has a boot entry for.

Names: UEFI specification, 3.5.1.1. shim starts the file beside itself that its DEFAULT_LOADER names
(shim, README.md).
"""

from collections.abc import Iterable
from contextlib import suppress
from enum import Enum

from assembler.binaries.core_image import CoreImageError, read_efi_core
from assembler.binaries.pe import PeError
from assembler.check.boot_chain import BootChain, BootDisk, BrokenError, Trail
from assembler.check.boot_code import check_efi_core
from assembler.check.efi_code import Program, check_program
from assembler.check.entry_files import EntryReader
from assembler.check.grub_chain import prefix_of, start_grub, walk_menu
from assembler.check.grub_reader import UnreadableError
from assembler.check.loader_entries import default_of, read_entries
from assembler.check.part import Part
from assembler.disk.tables import PartitionType
from assembler.machines import DEFAULT, Machine
from assembler.units import SECTOR

_DIRECTORY = "/EFI/BOOT"
_MAX_TABLE = 1 << 16  # bytes
_ESP_TYPES = (PartitionType.ESP, "ef")  # in a GPT, in an MBR
_SYSTEMD_BOOT = b"LoaderInfo: systemd-boot"
_COPY = "/EFI/systemd/systemd-boot{}.efi"
_SHIM = b"UEFI shim"


def system_partition(disk: BootDisk) -> Part | None:
    """The EFI system partition."""
    return next((part for part in disk.partitions if part.type_guid in _ESP_TYPES), None)


class EfiNeed(Enum):
    """How a disk must boot by UEFI."""

    NO = "it need not: something else boots it, or nothing"
    BY_ENTRY = "nothing else boots it, and the firmware may have a boot entry"
    BY_ITSELF = "any firmware must start it, and finds nothing but the programs in /EFI/BOOT"


def walk_efi(disk: BootDisk, esp: Part, need: EfiNeed) -> list[BootChain]:
    """Walk along the boot chains for UEFI, one for each machine that there is a program for.

    Programs for boot entries count if there is none in /EFI/BOOT. They may be broken unless the
    disk needs one of them. An empty /EFI/BOOT is a fault on every disk without other programs.
    """
    walked = _walk_all(disk, esp, _removable(disk, esp))
    if not walked and need is not EfiNeed.BY_ITSELF:
        remark = "it needs a boot entry in the firmware"
        walked = _walk_all(disk, esp, _installed(disk, esp), remark)
        broken = [trail for _, trail in walked if trail.fault]
        is_needed = need is EfiNeed.BY_ENTRY and len(broken) == len(walked)
        for trail in [] if is_needed else broken:
            trail.excuse(f"broken: {trail.fault}")
    if not walked and (need is not EfiNeed.NO or _has_directory(disk, esp)):
        return [_without_programs(disk, esp)]
    return [trail.chain for _, trail in walked]


def _walk_all(
    disk: BootDisk, esp: Part, programs: Iterable[tuple[str, Machine]], *remarks: str
) -> list[tuple[Machine, Trail]]:
    """The chains that begin with programs; `remarks` are about each."""
    walked = []
    for path, machine in programs:
        trail = Trail("UEFI" if machine is DEFAULT else f"UEFI ({machine.facts.words})")
        with trail.walked():
            _walk(trail, disk, esp, path, machine)
        trail.remarks += remarks
        walked.append((machine, trail))
    _judge(walked)
    return walked


def _without_programs(disk: BootDisk, esp: Part) -> BootChain:
    """The chain of a disk that firmware finds no program on."""
    trail = Trail("UEFI")
    with trail.walked():
        raise BrokenError(
            f"{esp.where}: it has no {DEFAULT.boot_program}, nor a program for another machine"
            if disk.reader.file_system(esp.number)
            else f"{esp.where}: it has no file system that GRUB reads"
        )
    return trail.chain


def _removable(disk: BootDisk, esp: Part) -> list[tuple[str, Machine]]:
    """Programs that any firmware starts, by path and machine."""
    there = {name.upper() for name in disk.reader.names(esp.number, _DIRECTORY)}
    return [
        (f"/{machine.boot_program}", machine)
        for machine in Machine
        if machine.boot_program.rpartition("/")[2] in there
    ]


def _has_directory(disk: BootDisk, esp: Part) -> bool:
    """Whether there is a directory for programs that any firmware starts."""
    above, _, name = _DIRECTORY.rpartition("/")
    return name in {one.rstrip("/").upper() for one in disk.reader.names(esp.number, above)}


def is_empty(disk: BootDisk, esp: Part) -> bool:
    """Whether the EFI system partition is empty."""
    return disk.reader.file_system(esp.number) is not None and not disk.reader.names(
        esp.number, "/"
    )


def _installed(disk: BootDisk, esp: Part) -> list[tuple[str, Machine]]:
    """Programs that systems installed beside EFI/BOOT, by path and machine: shim, or a loader."""
    found = []
    for directory in disk.reader.names(esp.number, "/EFI"):
        if not directory.endswith("/"):
            continue
        there = {name.lower(): name for name in disk.reader.names(esp.number, f"/EFI/{directory}")}
        for machine in Machine:
            names = [f"{loader}{machine}.efi" for loader in ("shim", "grub", "systemd-boot")]
            name = next((there[name] for name in names if name in there), None)
            if name is not None:
                found.append((f"/EFI/{directory}{name}", machine))
    return found


def _judge(walked: list[tuple[Machine, Trail]]) -> None:
    """Excuse faults of programs for other machines, if there is one for the system's machine."""
    fitting = {machine.facts.linux for machine, trail in walked if not trail.fault}
    fits = any(not trail.foreign for _, trail in walked)
    for machine, trail in walked:
        if trail.foreign and fits:
            trail.excuse(trail.foreign)
        elif trail.fault and fitting and machine.facts.linux not in fitting:
            trail.excuse(f"not for this system: {trail.fault}")


def _walk(trail: Trail, disk: BootDisk, esp: Part, path: str, machine: Machine) -> None:
    directory = path.rpartition("/")[0]
    program = _program(disk, esp, path, machine)
    if _SHIM in program.data:
        trail.links.append(f"{esp.where}, {path} (shim)")
        directory = _after_fallback(trail, disk, esp, directory, machine)
        path = f"{directory}/grub{machine}.efi"
        program = _program(disk, esp, path, machine)
    where = f"{esp.where}, {path}"
    if _SYSTEMD_BOOT in program.data:
        trail.links.append(f"{where} (systemd-boot)")
        _compare_copies(disk, esp, path, program, machine)
        _walk_entries(trail, disk, esp, machine)
        return
    try:
        core = read_efi_core(program.data)
    except CoreImageError as error:
        if b"GRUB" in program.data and program.pe.section("mods") is not None:
            raise BrokenError(f"{where}: {error}") from None
        trail.links.append(f"{where} (neither GRUB nor systemd-boot, not followed)")
        return
    trail.links.append(f"{where} (GRUB)")
    shell = start_grub(disk, core, started_from=esp.number, directory=directory)
    if not program.signed:  # otherwise its signature shows whether it is whole
        try:
            check_efi_core(disk, prefix_of(shell), core.platform, program.data)
        except BrokenError as error:
            raise BrokenError(f"{where}: {error}") from None
    walk_menu(trail, disk, core.platform, shell)


def _compare_copies(
    disk: BootDisk, esp: Part, path: str, program: Program, machine: Machine
) -> None:
    """Compare systemd-boot with its other copy, which `bootctl install` makes."""
    for other in (f"/{machine.boot_program}", _COPY.format(machine)):
        with suppress(UnreadableError):
            copy = disk.reader.read(esp.number, other)
            if len(copy) == len(program.data) and copy != program.data:
                raise BrokenError(f"{esp.where}: {path} and {other} differ")


def _after_fallback(
    trail: Trail, disk: BootDisk, esp: Part, directory: str, machine: Machine
) -> str:
    """The directory in which shim starts the next program.

    A shim in EFI/BOOT starts fallback where that lies beside it (shim, should_use_fallback), which
    in turn starts the first program that a BOOT*.CSV in another directory names (fallback.c).
    """
    if directory != _DIRECTORY:
        return directory
    beside = [name.lower() for name in disk.reader.names(esp.number, _DIRECTORY)]
    if f"fb{machine}.efi" not in beside:
        return _DIRECTORY
    trail.links.append(f"{_DIRECTORY}/fb{machine}.efi (fallback)")
    table = f"BOOT{machine.upper()}.CSV"
    for name in disk.reader.names(esp.number, "/EFI"):
        directory = f"/EFI/{name.rstrip('/')}"
        if name.upper() != "BOOT/" and disk.reader.exists(esp.number, f"{directory}/{table}"):
            text = disk.reader.read(esp.number, f"{directory}/{table}", _MAX_TABLE)
            path = f"{directory}/{text.decode('utf-16', errors='replace').partition(',')[0]}"
            trail.links.append(f"{path} (shim)")
            if _SHIM not in _program(disk, esp, path, machine).data:
                raise BrokenError(f"{esp.where}, {path}: it is not shim")
            return directory
    raise BrokenError(f"{esp.where}: fallback finds no {table} in any directory of /EFI")


def _program(disk: BootDisk, esp: Part, path: str, machine: Machine) -> Program:
    try:
        program = check_program(disk.reader.read(esp.number, path), loader=True)
    except (UnreadableError, PeError) as error:
        raise BrokenError(f"{esp.where}, {path}: {error}") from None
    if program.pe.machine is not machine:
        words = f"it is for {program.pe.machine.facts.words}, not for {machine.facts.words}"
        raise BrokenError(f"{esp.where}, {path}: {words}")
    return program


def _walk_entries(trail: Trail, disk: BootDisk, esp: Part, machine: Machine) -> None:
    boot = [part for part in disk.partitions if part.type_guid == PartitionType.XBOOTLDR]
    # systemd-boot looks for a GPT in units of 512 bytes (systemd, src/boot/efi/part-discovery.c).
    parts = [esp, *(boot if disk.sector_size == SECTOR else [])]
    try:
        entries = read_entries(disk.reader, tuple(part.number for part in parts))
        default, remark = default_of(disk.reader, esp.number, entries)
    except UnreadableError as error:
        raise BrokenError(f"loader/entries: {error}") from None
    if default is None:
        where = " or ".join(part.where for part in parts)
        size = f"sectors of {disk.sector_size} bytes"
        unseen = boot and disk.sector_size != SECTOR
        why = f"; systemd-boot does not find those in {boot[0].where} on {size}" if unseen else ""
        raise BrokenError(f"there are no entries in loader/entries in {where}{why}")
    count = len(entries)
    trail.links.append(f"{count} {'entry' if count == 1 else 'entries'} in loader/entries")
    trail.remarks += [remark] if remark else []
    EntryReader(disk, machine, efi=True).check(trail, entries, default)
