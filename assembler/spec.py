"""What the user asks for: values, and which of them cannot be right on any host.

`assembler.plan.request` looks up what they name.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

from assembler.appliance.accelerator import Accelerator
from assembler.boot.grub.loader import GrubLoader
from assembler.boot.loaders import LOADERS
from assembler.boot.no_loader import NoLoader
from assembler.boot.protocol import BootLoader
from assembler.disk.layout import PartitionGuid, gpt_problems
from assembler.disk.tables import FOR_EFI, FOR_EFI_ALONE, LayoutRules, Table
from assembler.errors import Message, RequestError, Setting, word_problems
from assembler.filesystems.fat.fat import boot_size_problems
from assembler.filesystems.kind import RootKind
from assembler.filesystems.protocol import WRITERS, Subvolume
from assembler.filesystems.registry import DEFAULT, ROOT_KINDS, root_kind_problems, use_problems
from assembler.filesystems.subvolumes import subvolume_problems
from assembler.formats.format import Format
from assembler.formats.registry import FORMATS, output_format, sidecar_problems
from assembler.formats.targets import TARGETS
from assembler.root.skeleton import ProfileGeneration, generation_problems, generation_setting
from assembler.root.store_only import store_only_problems
from assembler.store.sources import STANDARD_INPUT
from assembler.tree.linux import MAX_TIME
from assembler.units import MIB, SECTOR, SECTOR_SIZES, format_size, round_up, unit_words, write_size


@dataclass(frozen=True, slots=True, kw_only=True)
class RootSpec:
    """The root to prepare: a system, its closure and where the closure is found.

    Store paths may also be links to one, such as "./result", when they are asked for.
    """

    system: str
    closures: tuple[Path, ...] = ()
    store: Path = Path("/")  # the directory whose nix/store has the files
    additional_paths: tuple[str, ...] = ()
    check_hashes: bool | None = None  # None: those whose hash the live store has not given
    generations: tuple[ProfileGeneration, ...] = ()  # of the system profile
    channel: str | None = None  # store path of root's channels
    configuration: Path | None = None  # what becomes /etc/nixos/configuration.nix
    include_build_deps: bool = False  # the derivations and all outputs that build the system
    epoch: int = 1  # seconds since 1970: the time of all files outside the store

    @property
    def other_paths(self) -> list[str]:
        """The store paths beside the system whose closures are on the machine, too."""
        return [*self.additional_paths, *self.profile_paths[1:]]

    @property
    def profile_paths(self) -> list[str]:
        """The store paths that the machine's profiles name, the system first."""
        channels = [] if self.channel is None else [self.channel]
        return [self.system, *(path for _, path in self.generations), *channels]

    @property
    def named_paths(self) -> list[tuple[Setting, str]]:
        """Each store path that the user names, with the setting that names it."""
        return [
            (Setting("system", self.system), self.system),
            *((Setting("additional_paths", path), path) for path in self.additional_paths),
            *((generation_setting(number, path), path) for number, path in self.generations),
            *((Setting("channel", path), path) for path in [self.channel] if path is not None),
        ]

    def problems(self) -> list[str]:
        """Return one line for each value that cannot be right on any host."""
        lines = generation_problems(self.generations)
        if self.closures.count(STANDARD_INPUT) > 1:
            stdin = Setting("closures", STANDARD_INPUT)
            lines.append(Message(stdin, ": standard input can be read only once"))
        if not 0 <= self.epoch <= MAX_TIME:
            lines.append(
                Message(Setting("epoch", self.epoch), " is not a time that Linux can hold")
            )
        return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A disk image to assemble. Sizes are in bytes."""

    root: RootSpec
    out: Path
    target: str | None = None  # where the image is to run: gives what is left open below
    bmap: bool = False  # whether a block map is written beside the image
    checksum: bool = False  # whether its SHA-256 is written beside the image
    format: str | None = None  # None: what the name of `out` promises, or raw
    contents: Path | None = None
    store_only: bool = False  # whether the root file system is a store, without a root around it
    size: int | None = None  # of the whole image; None: what the contents need
    additional_space: int = 512 * MIB  # free in the root file system, where size is None
    partition_table: Table | None = None  # None: what suits the boot loader and the sectors
    sector_size: int = SECTOR  # bytes in a logical block of the disk
    layout: LayoutRules = LayoutRules.OWN
    boot_size: int = 256 * MIB  # of the ESP, or the XBOOTLDR partition; in nixpkgs' layout its end
    label: str | None = None  # of the root file system; None: what the system mounts, or "nixos"
    root_uuid: UUID | None = None  # of the root file system; None: what the system mounts, or any
    root_partuuid: str | None = None  # a GUID, or with an MBR signature-number; None: the same
    disk_guid: UUID | None = None  # of a GPT; None: any
    partition_guids: tuple[PartitionGuid, ...] = ()  # in a GPT; others: as `disk_guid`
    seed: str = ""  # varies all UUIDs that are not given
    file_system: str = DEFAULT.name  # of the root
    subvolumes: tuple[Subvolume, ...] = ()  # of a btrfs: (name, place)
    writer: str = "auto"
    boot_loader: str | None = None  # None: the system's, where there is a partition table
    efi_binaries: tuple[Path, ...] = ()  # EFI programs to take as they are
    accelerator: Accelerator = Accelerator.AUTO

    def __post_init__(self) -> None:
        """Refuse words that are none of those which a field takes; raises RequestError.

        Paths and members of enums may be given as `str`, too.
        """
        object.__setattr__(self, "out", Path(self.out))
        lines = [
            *word_problems("target", self.target, [*TARGETS, None]),
            *word_problems("format", self.format, [*FORMATS, None]),
            *root_kind_problems(self.file_system),
            *word_problems("partition_table", self.partition_table, [*Table, None]),
            *word_problems("sector_size", self.sector_size, SECTOR_SIZES),
            *word_problems("layout", self.layout, [*LayoutRules]),
            *word_problems("writer", self.writer, WRITERS),
            *word_problems("boot_loader", self.boot_loader, [*LOADERS, None]),
            *word_problems("accelerator", self.accelerator, [*Accelerator]),
        ]
        if lines:
            raise RequestError(lines)
        object.__setattr__(self, "accelerator", Accelerator(self.accelerator))
        object.__setattr__(self, "layout", LayoutRules(self.layout))
        if self.store_only and self.boot_loader is None:
            object.__setattr__(self, "boot_loader", NoLoader.name)
        if self.partition_table is not None:
            object.__setattr__(self, "partition_table", Table(self.partition_table))

    def with_target(self) -> "Spec":
        """Return the request with what its target gives for what was left open."""
        if self.target is None:
            return self
        target = TARGETS[self.target]
        by_table = target.table is not None and self.partition_table is None
        return replace(
            self,
            format=self.format or target.formats[0],
            partition_table=target.table if by_table else self.partition_table,
            boot_loader=self.boot_loader or (target.boot_loader if by_table else None),
        )

    @property
    def size_unit(self) -> int:
        """The size of the image is a multiple of so many bytes."""
        target = TARGETS.get(self.target or "")
        return max(self.output_format.unit, 1 if target is None else target.unit)

    @property
    def table(self) -> Table:
        """The partition table: the one asked for, else the one that most machines can boot."""
        if self.partition_table is not None:
            return self.partition_table
        by_bios = self.boot_loader is None or LOADERS[self.boot_loader].starts_by_bios
        return Table.HYBRID if by_bios and self.sector_size == SECTOR else Table.EFI

    @property
    def loader(self) -> str:
        """The boot loader: the one asked for, else GRUB, or none on a bare file system.

        `assembler.plan.resolve` decides what the system decides instead.
        """
        if self.boot_loader is not None:
            return self.boot_loader
        return GrubLoader.name if self.table.has_partitions else NoLoader.name

    @property
    def loader_type(self) -> type[BootLoader]:
        """The class of the boot loader, with everything that needs no lookup."""
        return LOADERS[self.loader]

    @property
    def output_format(self) -> Format:
        """The output format: the one asked for, or what the name of `out` promises."""
        return output_format(self.format, self.out)

    @property
    def boots_efi(self) -> bool:
        """Whether this tool makes the disk boot by UEFI."""
        return self.table.boots_efi and self.loader_type.is_made_here

    @property
    def kind(self) -> RootKind:
        """The kind of the root file system."""
        return ROOT_KINDS[self.file_system]

    @property
    def has_label_that_fits(self) -> bool:
        """Whether the label, if one is given, is one that the root file system can have."""
        if self.label is None:
            return True
        fits = not self.kind.label_fault(self.label)
        return fits and self.label != "" and self.label.isprintable()

    @property
    def writes_in_appliance(self) -> bool:
        """Whether the guestfs writer makes the root file system."""
        return self.writer == "guestfs" or (self.writer == "auto" and self.kind.direct is None)

    @property
    def needs_appliance(self) -> bool:
        """Whether anything is done in an appliance."""
        return self.writes_in_appliance or self.loader_type.has_installer

    def problems(self) -> list[str]:
        """Return one line for each value that cannot be right on any host, the root's included."""
        lines = self.root.problems() + self._file_system_problems() + self.boot_problems()
        if self.additional_space < 0:
            lines.append(Message(Setting("additional_space"), " is less than 0"))
        lines += boot_size_problems(self.boot_size, self.layout) + self._size_problems()
        asked = [name for name, one in (("bmap", self.bmap), ("checksum", self.checksum)) if one]
        lines += sidecar_problems(asked, self.output_format, self.out)
        target, made = TARGETS.get(self.target or ""), self.output_format
        is_told = target is not None and not target.has_large_sectors  # with the target's name
        if self.sector_size != SECTOR and not made.has_large_sectors and not is_told:
            why = " is for disks with sectors of 512 bytes, not "
            sectors = Setting("sector_size", self.sector_size)
            lines.append(Message(Setting("format", made.name), why, sectors))
        return lines

    def _size_problems(self) -> list[str]:
        """One line for a size that is not a whole number of units: of the target, or the format."""
        unit = max(MIB, self.size_unit)
        if self.size is None or (self.size > 0 and self.size % unit == 0):
            return []
        exact = Setting("size", f"{format_size(self.size)} ({self.size} bytes)")
        whole, by = f" is not a whole number of {unit_words(unit)}, ", Message("as every image has")
        if self.output_format.unit == unit:
            by = Message("which ", Setting("format", self.output_format.name), " takes")
        elif self.size_unit == unit:
            by = Message("which ", Setting("target", self.target), " takes")
        take = Setting("size", write_size(round_up(max(self.size, 1), unit)))
        return [Message(exact, whole, by, ": take ", take)]

    def boot_problems(self) -> list[str]:
        """One line for each reason why the boot loader does not go with the other settings."""
        kind = self.table
        table, sectors = Setting("partition_table", kind), Setting("sector_size", self.sector_size)
        lines = [*self.loader_type.disk_problems(kind, self.sector_size)]
        if self.sector_size != SECTOR and kind.boots_bios:
            why = " is for BIOS, which starts no disk with "
            lines.append(Message(table, why, sectors, f": take {FOR_EFI_ALONE}"))
        if self.efi_binaries and not (self.loader_type.takes_efi_programs and kind.boots_efi):
            grub = Setting("boot_loader", GrubLoader.name)
            why = f" and a partition table with an EFI system partition: {FOR_EFI}"
            lines.append(Message(Setting("efi_binaries"), " is for ", grub, why))
        return lines

    def _file_system_problems(self) -> list[str]:
        lines = self._kind_problems(self.kind)
        lines += gpt_problems(self.table, self.disk_guid, self.partition_guids)
        if self.store_only:
            lines += store_only_problems(self.root, self.contents, self.subvolumes, self.loader)
        return lines + subvolume_problems(self.subvolumes)

    def _kind_problems(self, kind: RootKind) -> list[str]:
        """One line for each setting that a kind of file system cannot have."""
        lines, limits = list[str](), kind.limits
        if max(self.size or 0, self.additional_space) > limits.size:
            end = f" end at {format_size(limits.size)}, as {kind.title}"
            lines.append(Message(Setting("size"), " and ", Setting("additional_space"), end))
        if limits.time < (epoch := self.root.epoch) <= MAX_TIME:
            why = f" is not a time that {kind.title} can hold"
            lines.append(Message(Setting("epoch", epoch), why))
        if not self.has_label_that_fits:
            label = Setting("label", repr(self.label))
            lines.append(Message(label, f" is not 1 to {kind.label_bytes} printable bytes"))
        return lines + use_problems(kind, self.writer, self.subvolumes)
