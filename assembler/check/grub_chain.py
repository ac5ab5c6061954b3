"""Walk from a core image of GRUB's to the files that its menu loads."""

import re
from collections.abc import Sequence

from assembler.binaries.core_image import CoreImage
from assembler.check.boot_chain import BootChain, BootDisk, BrokenError, Trail
from assembler.check.boot_code import check_prefix
from assembler.check.entry_files import EntryReader
from assembler.check.grub.environment import UNKNOWN
from assembler.check.grub.script import ScriptError
from assembler.check.grub.shell import Shell
from assembler.check.menu import Entry, Location, location_words
from assembler.machines import GRUB_FOR_BIOS, Machine, machine_of_grub

_DIRECTORY = "/boot/grub"
_SHOWN = 5  # of many parts of a menu that are not followed
# Platforms of a GRUB from outside, one for each kind of kernel.
_OUTSIDE = (GRUB_FOR_BIOS, *(one.facts.grub for one in Machine if not one.facts.has_bios))


def start_grub(disk: BootDisk, core: CoreImage, *, started_from: int, directory: str = "") -> Shell:
    """Let `core` of a partition (0: the disk) and a directory there read its menu.

    Raises BrokenError.
    """
    device = f"hd0,{started_from}" if started_from else "hd0"
    prefix = core.prefix or ""
    prefix = prefix if prefix.startswith("(") else f"({device}){prefix}"
    shell = _shell(
        disk, core.platform, root=device, prefix=prefix, cmdpath=f"({device}){directory}"
    )
    if core.config is not None:
        _run(disk, shell, core.config)
    if not shell.files and not shell.entries and not shell.faults:
        if not shell.unfollowed:
            check_prefix(disk, core, prefix_of(shell))
        _run(disk, shell, "normal")
    return shell


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
            shell = _shell(disk, platform, root="hd0", prefix=f"(hd0){_DIRECTORY}")
            _run(disk, shell, "normal")
            walk_menu(trail, disk, platform, shell)
        if not trail.foreign:
            break
    return trail.chain


def prefix_of(shell: Shell) -> Location:
    """The directory with GRUB's files, such as modules."""
    return shell.place(shell.variables.get("prefix", ""))


def _shell(disk: BootDisk, platform: str, **variables: str) -> Shell:
    cpu, _, firmware = platform.rpartition("-")
    return Shell(disk.reader, {**variables, "grub_cpu": cpu, "grub_platform": firmware})


def _run(disk: BootDisk, shell: Shell, text: str) -> None:
    try:
        shell.run(text)
    except ScriptError as error:
        file = location_words(disk.reader.file_systems, shell.files[-1]) if shell.files else ""
        raise BrokenError(f"{file or 'what is built into GRUB'}: {error}") from None


def walk_menu(trail: Trail, disk: BootDisk, platform: str, shell: Shell) -> None:
    """Walk on from the menu that a GRUB for `platform` read. Raises BrokenError."""
    words = [location_words(disk.reader.file_systems, place) for place in shell.files]
    trail.links += words
    default, sure = default_entry(shell.entries, shell.variables.get("default", ""))
    unfollowed = [*dict.fromkeys(shell.unfollowed), *([] if sure else ["its default entry"])]
    if unfollowed:
        trail.leave_out(", ".join(unfollowed[:_SHOWN]))
    try:
        if default is None:
            if shell.faults:  # GRUB itself would go on, with what it has
                raise BrokenError(shell.faults[0])
            raise BrokenError(f"{words[-1] if words else 'GRUB'}: its menu has no entries")
        if shell.empty:
            raise BrokenError(f"{words[-1]}: its submenu {shell.empty[0]!r} has no entries")
        count = len(shell.entries)
        trail.links.append(f"{count} {'entry' if count == 1 else 'entries'}")
        EntryReader(disk, machine_of_grub(platform)).check(trail, shell.entries, default)
    except BrokenError as error:
        if not unfollowed:
            raise
        trail.remarks.append(f"perhaps broken: {error}")  # what is not followed may mend it


def default_entry(entries: Sequence[Entry], wanted: str) -> tuple[Entry | None, bool]:
    """The entry that starts by itself, and whether that is sure.

    It is that of the variable `default`, else the first.
    """
    steps = (wanted or "0").split(">")
    sure = UNKNOWN not in wanted
    if all(re.fullmatch("[0-9]{1,6}", step) for step in steps):
        numbers = tuple(int(step) for step in steps)
        match = [one for one in entries if one.numbers[: len(numbers)] == numbers]
        sure = bool(match) or not any(-1 in one.numbers for one in entries)
    else:
        match = [one for one in entries if steps[-1] in (one.titles[-1], one.identity)]
    return next(iter(match or entries), None), sure
