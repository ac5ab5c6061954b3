"""The options of `assemble` for the disk: what is on it, how it boots, how it is written."""

import argparse

from assembler.appliance.accelerator import Accelerator
from assembler.boot import loaders as boot_loaders
from assembler.cli import arguments
from assembler.cli.arguments import OneOf, Parser, listed
from assembler.disk.tables import LayoutRules, Table, tables_that
from assembler.filesystems.protocol import WRITERS
from assembler.filesystems.registry import DEFAULT, ROOT_KINDS
from assembler.units import MIB, SECTOR

LOADERS = (*boot_loaders.LOADERS,)


def add_disk_options(parser: Parser, goes_in: argparse._ArgumentGroup) -> None:
    """Add the disk and what is on it; `goes_in` is the group for what goes in."""
    goes_in.add_argument(
        "--contents",
        type=arguments.path,
        metavar="FILE",
        help="JSON list of {source, target, user, group, mode, xattrs}",
    )
    goes_in.add_argument(
        "--store-only",
        action="store_true",
        help="nothing but the store paths: the root file system is what a machine mounts at "
        "/nix/store, without a database and a boot loader",
    )
    group = parser.add_argument_group("the disk")
    group.add_argument(
        "--size",
        type=arguments.size_or_auto,
        default=None,
        metavar="N",
        help="size of the whole image, or auto: what goes in and --additional-space (default: "
        "auto)",
    )
    group.add_argument(
        "--additional-space",
        type=arguments.size,
        default=512 * MIB,
        metavar="N",
        help="free space in the root file system with --size auto (default: 512M)",
    )
    _add_names(group)
    group.add_argument(
        "--filesystem",
        default=DEFAULT.name,
        metavar="KIND",
        help=f"root file system: {listed(ROOT_KINDS)} (default: {DEFAULT.name})",
    )
    group.add_argument(
        "--subvolume",
        type=arguments.subvolume,
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="with btrfs: put what is below PATH into the subvolume NAME; may be repeated",
    )


def _add_names(group: argparse._ArgumentGroup) -> None:
    """Add the names of the disk."""
    group.add_argument(
        "--label",
        metavar="NAME",
        help="label of the root file system (default: the one by which the system mounts it, or "
        "nixos)",
    )
    group.add_argument(
        "--root-uuid",
        type=arguments.uuid,
        metavar="UUID",
        help="UUID of the root file system (default: the one by which the system mounts it, or "
        "one that the same input gives again)",
    )
    group.add_argument(
        "--root-partuuid",
        type=str.lower,
        metavar="GUID",
        help="UUID of the root partition; in an MBR the disk's signature, 8 hexadecimal digits, "
        "and the partition's number (default: as with --root-uuid)",
    )
    group.add_argument(
        "--disk-guid",
        type=arguments.uuid,
        metavar="GUID",
        help="GUID of the disk in a GPT (default: one that the same input gives again)",
    )
    group.add_argument(
        "--partition-guid",
        type=arguments.partition_guid,
        action="append",
        default=[],
        metavar="N=GUID",
        help="GUID of partition N in a GPT; may be repeated (default: as with --disk-guid)",
    )
    group.add_argument(
        "--seed",
        default="",
        metavar="TEXT",
        help="gives all UUIDs that are not given other values, the same for the same text",
    )


def add_boot_options(parser: Parser) -> None:
    """Add how the disk boots."""
    group = parser.add_argument_group("how it boots")
    _add_partitions(group)
    group.add_argument(
        "--boot-loader",
        type=OneOf(LOADERS),
        metavar="KIND",
        help=f"{listed(LOADERS)}: GRUB or systemd-boot by this tool, or the system's own "
        "installer in an appliance (default: what the system is configured with, or grub; none "
        "without a partition table)",
    )
    group.add_argument(
        "--efi-binary",
        type=arguments.path,
        action="append",
        default=[],
        metavar="FILE",
        help="EFI program to use as it is, such as a signed shim and the signed GRUB it starts; "
        "may be repeated",
    )


def _add_partitions(group: argparse._ArgumentGroup) -> None:
    """Add the partition table, and the places of its partitions."""
    mbrs = tables_that(lambda table: table.is_mbr, "and")
    bare = tables_that(lambda table: not table.has_partitions)
    boot_tables = tables_that(lambda table: table.has_boot_partition, "and")
    group.add_argument(
        "--partition-table",
        type=arguments.table,
        metavar="KIND",
        help=f"{listed(Table)}: {mbrs} are MBRs, {bare} is a bare file system, the "
        "others are GPTs "
        "(default: hybrid, for BIOS and UEFI; efi with systemd-boot or sectors of 4096 bytes)",
    )
    group.add_argument(
        "--sector-size",
        type=arguments.sector_size,
        default=SECTOR,
        metavar="BYTES",
        help="512 or 4096: sectors of the disk that the image is for (default: 512)",
    )
    group.add_argument(
        "--boot-size",
        type=arguments.size,
        default=256 * MIB,
        metavar="N",
        help=f"size of the EFI system partition; with {boot_tables}, of the partition "
        "for kernels (default: 256M)",
    )
    group.add_argument(
        "--layout",
        type=OneOf(LayoutRules),
        default=LayoutRules.OWN,
        metavar="KIND",
        help="own or nixpkgs: to the sector as nixpkgs' make-disk-image, where --boot-size tells "
        "in which MiB that partition ends (default: own)",
    )


def add_writer_options(parser: Parser) -> None:
    """Add how it is written."""
    group = parser.add_argument_group("how it is written")
    group.add_argument(
        "--writer",
        type=OneOf(WRITERS),
        default="auto",
        metavar="KIND",
        help="direct makes ext4 without a virtual machine, guestfs any file system in a libguestfs "
        "appliance (default: auto, direct where it can)",
    )
    group.add_argument(
        "--accelerator",
        type=OneOf(Accelerator),
        default="auto",
        metavar="KIND",
        help="kvm or tcg: whether the appliance uses KVM (default: auto, where it works)",
    )
