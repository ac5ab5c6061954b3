"""Walk from a core image of GRUB's to the files that its menu loads."""

import re
from collections.abc import Sequence

from assembler.binaries.core_image import CoreImage
from assembler.check.boot_chain import BootChain, BootDisk, BrokenError, Trail
from assembler.check.entry_files import EntryReader
from assembler.check.grub.script import ScriptError
from assembler.check.grub.shell import Shell
from assembler.check.grub_syntax import syntax_fault
from assembler.check.menu import Entry, Location, location_words
from assembler.machines import GRUB_FOR_BIOS, Machine, machine_of_grub

_TABLE_MODULES = {"gpt": "part_gpt", "dos": "part_msdos"}
_DIRECTORY = "/boot/grub"
_SHOWN = 5  # of many parts of a menu that are not followed
# Platforms of a GRUB from outside, one for each kind of kernel.
_OUTSIDE = (GRUB_FOR_BIOS, *(one.facts.grub for one in Machine if not one.facts.has_bios))


def start_grub(disk: BootDisk, core: CoreImage, *, started_from: int, directory: str = "") -> Shell:
    """Let `core` of a partition (0: the disk) and a directory there read its menu.

    Raises BrokenError.
    """
    device = f"hd0,{started_from}" if started_from else "hd0"
    home = f"({device})"
    prefix = core.prefix or ""
    variables = {
        "root": device,
        "prefix": prefix if prefix.startswith("(") else home + prefix,
        "cmdpath": home + directory,
        "grub_platform": core.platform.rpartition("-")[2],
        "grub_cpu": core.platform.rpartition("-")[0],
    }
    shell = Shell(disk.reader, variables)
    if core.config is not None:
        _run(disk, shell, core.config)
    if not shell.files and not shell.entries and not shell.faults:
        if not shell.unfollowed:
            _check_prefix(disk, core, prefix_of(shell))
        _run(disk, shell, "normal")
    return shell


def prefix_of(shell: Shell) -> Location:
    """The directory with GRUB's files, such as modules."""
    return shell.place(shell.variables.get("prefix", ""))


def walk_menu(trail: Trail, disk: BootDisk, platform: str, shell: Shell) -> None:
    """Walk on from the menu that a GRUB for `platform` read. Raises BrokenError."""
    words = [location_words(disk.reader.file_systems, place) for place in shell.files]
    trail.links += words
    for place, name in zip(shell.files, words, strict=True):
        if fault := syntax_fault(disk.reader, place):
            raise BrokenError(f"{name}: {fault}")
    if not shell.unfollowed:
        _walk_entries(trail, disk, platform, shell, words)
        return
    trail.leave_out(", ".join([*dict.fromkeys(shell.unfollowed)][:_SHOWN]))
    try:
        _walk_entries(trail, disk, platform, shell, words)
    except BrokenError as error:  # the part that is not followed may mend it
        trail.remarks.append(f"perhaps broken: {error}")


def _walk_entries(
    trail: Trail, disk: BootDisk, platform: str, shell: Shell, words: Sequence[str]
) -> None:
    default = default_entry(shell.entries, shell.variables.get("default", ""))
    if default is None:
        if shell.faults:  # GRUB itself would go on, with what it has
            raise BrokenError(shell.faults[0])
        raise BrokenError(f"{words[-1] if words else 'GRUB'}: its menu has no entries")
    if shell.empty:
        raise BrokenError(f"{words[-1]}: its submenu {shell.empty[0]!r} has no entries")
    count = len(shell.entries)
    trail.links.append(f"{count} {'entry' if count == 1 else 'entries'}")
    EntryReader(disk, machine_of_grub(platform)).check(trail, shell.entries, default)


def default_entry(entries: Sequence[Entry], wanted: str) -> Entry | None:
    """The entry that starts by itself: that of the variable `default`, else the first."""
    steps = (wanted or "0").split(">")
    if all(re.fullmatch("[0-9]{1,6}", step) for step in steps):
        numbers = tuple(int(step) for step in steps)
        match = [one for one in entries if one.numbers[: len(numbers)] == numbers]
    else:
        match = [one for one in entries if steps[-1] in (one.titles[-1], one.identity)]
    return next(iter(match or entries), None)


def walk_bare(disk: BootDisk) -> BootChain | None:
    """Walk the menu of a file system without a partition table, as a GRUB from outside does.

    None where there is no menu.
    """
    if not disk.reader.exists(0, f"{_DIRECTORY}/grub.cfg"):
        return None
    trail = Trail("GRUB from outside")
    for platform in _OUTSIDE:
        trail = Trail(trail.firmware)
        with trail.walked():
            shell = Shell(disk.reader, {"root": "hd0", "prefix": f"(hd0){_DIRECTORY}"})
            _run(disk, shell, "normal")
            walk_menu(trail, disk, platform, shell)
        if not trail.foreign:
            break
    return trail.chain


def _run(disk: BootDisk, shell: Shell, text: str) -> None:
    try:
        shell.run(text)
    except ScriptError as error:
        file = location_words(disk.reader.file_systems, shell.files[-1]) if shell.files else ""
        raise BrokenError(f"{file or 'what is built into GRUB'}: {error}") from None


def _check_prefix(disk: BootDisk, core: CoreImage, place: Location) -> None:
    """Check that GRUB can read its prefix with the modules in its core image."""
    if core.memdisk:
        return
    if place.number is None:
        raise BrokenError(f"GRUB's prefix {place.path}: {place.fault}")
    one = disk.reader.file_system(place.number)
    if one is None:
        raise BrokenError(
            f"GRUB's prefix {place.path}: partition {place.number} has no file system of GRUB's"
            if place.number
            else f"GRUB's prefix {place.path}: it is on no partition"
        )
    needed = [one.driver, *([_TABLE_MODULES[disk.table]] if place.number else [])]
    for module in needed:
        if module not in core.modules:
            raise BrokenError(f"GRUB's core image lacks the module {module}, to read {one.where}")
    modules = f"{place.path}/{core.platform}"
    if "normal" not in core.modules:
        path = f"{modules}/normal.mod"
        if not disk.reader.exists(place.number, path):
            raise BrokenError(
                f"{location_words(disk.reader.file_systems, Location(place.number, path))}: "
                "the module is neither there nor in GRUB's core image"
            )
