"""Walk from a core image of GRUB's, however it was started, to what its menu offers."""

from assembler.binaries.core_image import CoreImage
from assembler.binaries.machine import BIOS, Machine, machine_of_grub
from assembler.check.chain import BrokenError, Chain, Disk, Trail
from assembler.check.entries import EntryReader
from assembler.check.grub.menu import Location, default_entry, device_name, location_words
from assembler.check.grub.script import ScriptError
from assembler.check.grub.shell import Shell
from assembler.check.grub.syntax import syntax_fault

_TABLE_MODULES = {"gpt": "part_gpt", "dos": "part_msdos"}
_DIRECTORY = "/boot/grub"
_OUTSIDE = (BIOS, Machine.AA64.names.grub)  # platforms, one for each kind of kernel


def start_grub(disk: Disk, core: CoreImage, *, started_from: int, directory: str = "") -> Shell:
    """Let `core`, which came from a partition (0: the disk) and a directory there, read its menu.

    Raises BrokenError.
    """
    home = f"({device_name(started_from)})"
    prefix = core.prefix or ""
    variables = {
        "root": device_name(started_from),
        "prefix": prefix if prefix.startswith("(") else home + prefix,
        "cmdpath": home + directory,
        "grub_platform": core.platform.rpartition("-")[2],
        "grub_cpu": core.platform.rpartition("-")[0],
    }
    shell = Shell(disk.reader, variables)
    if core.config is not None:
        _run(disk, shell, core.config)
    if not shell.files and not shell.entries and not shell.faults:
        _check_prefix(disk, core, prefix_of(shell))
        _run(disk, shell, "normal")
    return shell


def prefix_of(shell: Shell) -> Location:
    """The directory with GRUB's files, such as modules."""
    return shell.place(shell.variables.get("prefix", ""))


def walk_menu(trail: Trail, disk: Disk, platform: str, shell: Shell) -> None:
    """Walk on from the menu that a GRUB for `platform` read. Raises BrokenError."""
    words = [location_words(disk.reader.file_systems, place) for place in shell.files]
    trail.links += words
    default = default_entry(shell.entries, shell.variables.get("default", ""))
    if default is None:
        if shell.faults:  # GRUB itself would go on, with what it has
            raise BrokenError(shell.faults[0])
        raise BrokenError(f"{words[-1] if words else 'GRUB'}: its menu has no entries")
    for place, name in zip(shell.files, words, strict=True):
        if fault := syntax_fault(disk.reader, place):
            raise BrokenError(f"{name}: {fault}")
    if shell.empty:
        raise BrokenError(f"{words[-1]}: its submenu {shell.empty[0]!r} has no entries")
    count = len(shell.entries)
    trail.links.append(f"{count} {'entry' if count == 1 else 'entries'}")
    EntryReader(disk, machine_of_grub(platform)).check(trail, shell.entries, default)


def walk_bare(disk: Disk) -> Chain | None:
    """What a GRUB from outside does with the menu of a file system without a partition table.

    None where there is no menu.
    """
    if not disk.reader.exists(0, f"{_DIRECTORY}/grub.cfg"):
        return None
    trail = Trail("GRUB from outside")
    for platform in _OUTSIDE:
        trail = Trail(trail.firmware)
        with trail.walked():
            shell = Shell(disk.reader, {"root": device_name(0), "prefix": f"(hd0){_DIRECTORY}"})
            _run(disk, shell, "normal")
            walk_menu(trail, disk, platform, shell)
        if not trail.foreign:
            break
    return trail.chain


def _run(disk: Disk, shell: Shell, text: str) -> None:
    try:
        shell.run(text)
    except ScriptError as error:
        file = location_words(disk.reader.file_systems, shell.files[-1]) if shell.files else ""
        raise BrokenError(f"{file or 'what is built into GRUB'}: {error}") from None


def _check_prefix(disk: Disk, core: CoreImage, place: Location) -> None:
    """Whether GRUB can read where its prefix leads, with the modules that it has at that time."""
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
