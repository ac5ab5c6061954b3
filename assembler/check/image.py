"""Read a finished image back, where possible with tools that had no part in writing it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from assembler.check.bios_chain import has_boot_code, has_core_image, lacks_signature, walk_bios
from assembler.check.boot_chain import BootChain, BootDisk
from assembler.check.efi_chain import EfiNeed, is_empty, system_partition, walk_efi
from assembler.check.grub_chain import walk_bare
from assembler.check.grub_reader import GrubReader
from assembler.check.kinds import not_a_file, not_raw, without_table
from assembler.check.part import Part
from assembler.check.partition_table import DiskTable, read_table
from assembler.check.parts import check_part, has_file_system
from assembler.check.unpack import UnpackedImage, unpack_image
from assembler.disk.tables import PartitionType
from assembler.errors import HostError, RequestError, TooSlowError, reason, word_problems
from assembler.formats.registry import FORMATS, RAW, promised
from assembler.formats.target import Candidate, Start, Weight, findings
from assembler.formats.targets import TARGETS
from assembler.host.room import require_some_room, temporary, watched
from assembler.host.scratch import plain_name, scratch_directory
from assembler.host.temporary import temporary_directory
from assembler.machines import DEFAULT, Machine
from assembler.units import SECTOR

_NO_SIGNATURE = "boot sector: it has no signature 55 aa, without which there is no partition table"


@dataclass(frozen=True, slots=True)
class Report:
    """What `check_image` found; `faults` is empty for a good image."""

    size: int  # bytes of the disk; 0 where its format is damaged
    parts: tuple[Part, ...]
    faults: tuple[str, ...]
    chains: tuple[BootChain, ...] = ()  # none where a file system is damaged
    image: str = ""  # its name, as the caller has it
    sector_size: int = SECTOR  # bytes
    formats: tuple[str, ...] = ()  # in which the raw image is, the outermost first
    warnings: tuple[str, ...] = ()  # what its target takes, with something to know about it

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong with the image."""
        return not self.faults

    @property
    def starts(self) -> set[Start]:
        """What starts the disk: firmware whose chain is whole, or a GRUB from outside."""
        walked = [chain.firmware for chain in self.chains if not chain.fault]
        return {start for start in Start for one in walked if one.startswith(start)}

    @property
    def platform(self) -> str | None:
        """The platform of the system that the disk starts, as Nix calls it; None if none starts."""
        whole = [chain.firmware for chain in self.chains if not chain.fault]
        named = [machine for one in whole for machine in Machine if machine.facts.words in one]
        machines = [one for one in named if one.facts.has_systems]
        if len(named) < len(whole):  # the usual machine is not named
            machines = [DEFAULT]
        return machines[0].facts.nix if machines else None

    @property
    def kernel_params(self) -> list[str] | None:
        """The kernel's parameters in the entries that start by themselves; None without one."""
        started = [entry for chain in self.chains for entry in chain.entries if entry.default]
        kernels = [load for entry in started for load, _ in entry.files if load.is_kernel]
        return [word for load in kernels for word in load.arguments] if kernels else None


def check_image(
    image: Path,
    *,
    bios: bool = False,
    efi: bool = False,
    boots: bool = True,
    target: str | None = None,
) -> Report:
    """Check partition table, file systems and boot chains of an image.

    An image in an output format is unpacked to TMPDIR first, without its holes.

    With `bios` it must boot by BIOS, with `efi` by UEFI; otherwise it is enough that anything
    boots it, and without `boots` nothing need. A chain that is there and broken is a fault all
    the same, but for those that need an entry in the firmware. An image without a table that
    begins with a file system is checked as one, with the menu that a GRUB from outside finds there:
    such boots by nothing of its own.

    With `target`, one of TARGETS, what that asks of an image must hold, too.

    Nothing is written to it; its name may be any. Partitions of other kinds are not looked
    into. Raises RequestError, with what it is, for what is no raw disk image; HostError when it
    cannot be read, a tool is missing, or TMPDIR has `?` or `@` in it.
    """
    if problems := word_problems("target", target, [*TARGETS, None]):
        raise RequestError(problems)
    _refuse(image, image, not_a_file)
    tmp = temporary(temporary_directory())
    with plain_name(image) as alias, scratch_directory() as scratch, watched(tmp):
        unpacked = unpack_image(alias, image, Path(scratch))
        found = Report(0, (), ())
        if unpacked.raw is not None:
            try:
                _refuse(unpacked.raw, image, not_raw)
                found = _check(unpacked.raw, image, Path(scratch), bios=bios, efi=efi, boots=boots)
            except RequestError:
                if not unpacked.faults:  # a damaged format may hold anything
                    raise
        faults = (*_name_faults(image, unpacked), *unpacked.faults, *found.faults)
        found = replace(found, formats=unpacked.formats, faults=faults)
        if target is not None and unpacked.raw is not None:
            found = _for_target(target, found, image)
        if found.faults:  # an incomplete copy looks like a damaged image
            require_some_room(tmp)
    # The tools name the file by its alias; the user knows it by its own name.
    faults = tuple(fault.replace(str(alias), str(image)) for fault in found.faults)
    return replace(found, faults=faults, image=str(image))


def _name_faults(image: Path, unpacked: UnpackedImage) -> list[str]:
    """Whether a file has another format than the one that its name promises.

    Names of raw images promise nothing: many give them to QCOW2, too.
    """
    expected = promised(image.name)
    found = FORMATS[next(iter(unpacked.formats), RAW.name)]
    if not expected or RAW in expected or found in expected:
        return []
    return [f"the name is one for the format {expected[0].name}, and the format is {found.name}"]


def _for_target(name: str, found: Report, file: Path) -> Report:
    """What was found, and where it is not as a target takes it."""
    made = next(iter(found.formats), RAW.name)
    image = Candidate(
        format=made,
        file=(made, file.stat().st_size),
        size=found.size,
        sector_size=found.sector_size,
        platform=found.platform,
        starts=found.starts or None,
        kernel_params=found.kernel_params,
    )
    hints, asked = list[str](), list[str]()
    for one in findings(TARGETS[name], image):
        remedy = f": {one.remedy}" if one.remedy else ""
        (hints if one.weight is Weight.HINT else asked).append(f"{name} {one.words}{remedy}")
    return replace(found, faults=(*found.faults, *asked), warnings=tuple(hints))


def _refuse(file: Path, image: Path, look: Callable[[Path], str]) -> None:
    """Raise RequestError with the words of `look` for a file, called `image`, that is not raw."""
    try:
        words = look(file)
    except FileNotFoundError:
        raise RequestError(f"{image} does not exist") from None
    except OSError as error:
        raise HostError(f"cannot read {reason(error)}") from None
    if words:
        if not file.samefile(image):  # it is unpacked
            raise RequestError(f"{image} holds no raw disk image: what it holds is {words}")
        kind = _promised(file, image)
        what = f"an image in the format {kind}" if kind else "a raw disk image"
        raise RequestError(f"{image} is not {what}: it is {words}")


def _promised(file: Path, image: Path) -> str:
    """The format that an image's name promises; empty if that is raw, or `file` is unpacked."""
    kind = next(iter(promised(image.name)), RAW)
    return "" if kind is RAW or not file.samefile(image) else kind.name


def _check(
    alias: Path, image: Path, scratch: Path, *, bios: bool, efi: bool, boots: bool
) -> Report:
    size = alias.stat().st_size
    table = read_table(alias)
    if table is None and has_file_system(alias):
        table = DiskTable("", SECTOR, (Part(0, "", "", 0, size),))
    if table is None and lacks_signature(alias):
        return Report(size, (), (_NO_SIGNATURE,))
    if table is None:
        _refuse(alias, image, without_table)
        kind = _promised(alias, image)
        other = f"is not an image in the format {kind}, and " if kind else ""
        raise RequestError(f"{image} {other}has no partition table that sfdisk can read")
    if not table.whole:
        return Report(size, table.parts, table.faults, sector_size=table.sector_size)
    with ThreadPoolExecutor() as pool:
        checked = tuple(pool.map(lambda part: check_part(alias, part, scratch), table.parts))
    faults = [*table.faults]
    faults += [f"{part.where}: {part.fault}" for part in checked if part.fault]
    chains: tuple[BootChain, ...] = ()
    # GRUB's drivers do not check what they read, and would only repeat the fault.
    if (table.kind or boots) and not any(part.fault for part in checked):
        try:
            chains = _walk(alias, table, scratch, bios=bios, efi=efi, boots=boots)
        except TooSlowError as error:
            chains = (BootChain("", (), (), str(error).splitlines()[0]),)
        faults += [chain.fault for chain in chains if chain.fault]
    return Report(size, checked, tuple(faults), chains, sector_size=table.sector_size)


def _walk(
    image: Path, table: DiskTable, scratch: Path, *, bios: bool, efi: bool, boots: bool
) -> tuple[BootChain, ...]:
    """Walk along all boot chains that the image has, or must have."""
    parts = [part for part in table.parts if part.type_guid != PartitionType.BIOS_BOOT]
    reader = GrubReader(image, scratch, parts, table.sector_size)
    disk = BootDisk(image, table.kind, table.parts, reader, table.sector_size)
    if not table.kind:
        bare = walk_bare(disk)
        return () if bare is None else (bare,)
    chains = []
    if bios or has_boot_code(disk) or has_core_image(disk):
        chains.append(walk_bios(disk))
    esp = system_partition(disk)
    is_last = boots and not chains
    need = EfiNeed.BY_ITSELF if efi else EfiNeed.BY_ENTRY if is_last else EfiNeed.NO
    if esp is not None and (efi or not is_empty(disk, esp)):
        chains += walk_efi(disk, esp, need)
    elif efi:
        chains.append(BootChain("UEFI", (), (), "UEFI: there is no EFI system partition"))
    if not chains and boots:
        what = "is empty" if esp is not None else "is not there"
        why = f"the boot sector has no code, and the EFI system partition {what}"
        chains.append(BootChain("", (), (), f"nothing boots this disk: {why}"))
    return tuple(chains)
