"""The options of the commands, in the groups that `--help` shows."""

import argparse
from collections.abc import Iterable
from pathlib import Path

from assembler import arguments
from assembler.appliance.accelerator import Accelerator
from assembler.arguments import Parser, one_of
from assembler.disk.layout import Table
from assembler.spec import LABEL_MAX
from assembler.units import MIB, SECTOR
from assembler.writers.sharing import CopyMode

LOADERS = ("grub", "systemd-boot", "system", "none")


def add_out_options(parser: Parser) -> None:
    """Add where the image goes, and what is told of it."""
    group = parser.add_argument_group("what comes out")
    group.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="raw image to write; one that is there is replaced when the new one is complete",
    )
    group.add_argument(
        "--plan", action="store_true", help="print what would be made, and write nothing"
    )
    group.add_argument(
        "--json", action="store_true", help="print the result, or with --plan the plan, as JSON"
    )


def add_images(parser: Parser) -> None:
    """Add the images that check-image reads."""
    group = parser.add_argument_group("what is read")
    group.add_argument(
        "images", type=Path, nargs="+", metavar="FILE", help="raw image to read; may be several"
    )
    group.add_argument("--json", action="store_true", help="print what is found as JSON, a list")


def add_directory_options(parser: Parser) -> None:
    """Add the directory that prepare-root fills, and how."""
    group = parser.add_argument_group("what comes out")
    group.add_argument("root", type=Path, metavar="ROOT", help="directory to fill")
    group.add_argument(
        "--copy-mode",
        type=one_of(CopyMode),
        default=CopyMode.AUTO,
        metavar="MODE",
        help="how file data gets into ROOT: reflink shares it, hardlink makes further names of the "
        "very same files, copy shares nothing (default: auto, reflinks where they can be made)",
    )
    group.add_argument(
        "--force",
        action="store_true",
        help="fill a directory that is neither empty nor a prepared root, or this machine's own",
    )


def add_root_options(parser: Parser) -> argparse._ArgumentGroup:
    """Add what goes in: system, closure, store, further paths, generations, channel."""
    group = parser.add_argument_group("what goes in")
    group.add_argument(
        "--system",
        required=True,
        metavar="PATH",
        help="toplevel store path that is booted, or a link to it, such as ./result",
    )
    group.add_argument(
        "--closure",
        type=Path,
        action="append",
        default=[],
        metavar="SOURCE",
        help="closureInfo directory, registration, exportReferencesGraph, structured attributes "
        "(JSON), or an export; - is standard input; may be repeated (default: ask the live store)",
    )
    group.add_argument(
        "--check-hashes",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="hash store paths while they are read, and compare with the registration (default: "
        "those that come with a --closure)",
    )
    group.add_argument(
        "--store",
        type=Path,
        default=Path("/"),
        metavar="DIR",
        help="the files of /nix/store lie in DIR/nix/store",
    )
    _add_further_paths(group)
    return group


def _add_further_paths(group: argparse._ArgumentGroup) -> None:
    """Add what is on the machine besides the system."""
    group.add_argument(
        "--additional-path",
        action="append",
        default=[],
        metavar="PATH",
        help="one more store path, or a link to it, with its closure; may be repeated",
    )
    group.add_argument(
        "--include-build-deps",
        action="store_true",
        help="the derivations and outputs that it takes to rebuild the system offline, too",
    )
    group.add_argument(
        "--generation",
        type=arguments.generation,
        action="append",
        default=[],
        metavar="N=PATH",
        help="generation of the system profile, with its closure; may be repeated (default: "
        "--system is generation 1, or one more than the last that is given)",
    )
    group.add_argument(
        "--channel",
        metavar="PATH",
        help="store path with root's channels, as nixos/ in it, with its closure",
    )
    group.add_argument(
        "--configuration",
        type=Path,
        metavar="FILE",
        help="what becomes /etc/nixos/configuration.nix",
    )


def add_disk_options(parser: Parser, goes_in: argparse._ArgumentGroup) -> None:
    """Add the disk and what is on it; `goes_in` is the group for what goes in."""
    goes_in.add_argument(
        "--contents",
        type=Path,
        metavar="FILE",
        help="JSON list of {source, target, user, group, mode, xattrs}",
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
        default="ext4",
        metavar="KIND",
        help=f"root file system: {_listed(LABEL_MAX)} (default: ext4)",
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
    """Add what the disk is called."""
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
        "--seed",
        default="",
        metavar="TEXT",
        help="gives all UUIDs that are not given other values, the same for the same text",
    )


def add_boot_options(parser: Parser) -> None:
    """Add how the disk boots."""
    group = parser.add_argument_group("how it boots")
    group.add_argument(
        "--partition-table",
        type=arguments.table,
        metavar="KIND",
        help=f"{_listed(Table)}: legacy and legacy+boot are MBRs, none is a bare file system, the "
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
        help="size of the EFI system partition; with efixbootldr and legacy+boot, of the partition "
        "for kernels "
        "(default: 256M)",
    )
    group.add_argument(
        "--boot-loader",
        type=one_of(LOADERS),
        metavar="KIND",
        help=f"{_listed(LOADERS)}: GRUB or systemd-boot by this tool, or the system's own "
        "installer in an appliance (default: what the system is configured with, or grub; none "
        "without a partition table)",
    )
    group.add_argument(
        "--efi-binary",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="EFI program to use as it is, such as a signed shim and the signed GRUB it starts; "
        "may be repeated",
    )
    group.add_argument(
        "--rs-codes",
        action="store_true",
        help="guard GRUB's core image for BIOS with Reed-Solomon codes, as grub-install does",
    )


def add_writer_options(parser: Parser) -> None:
    """Add how it is written."""
    group = parser.add_argument_group("how it is written")
    group.add_argument(
        "--writer",
        type=one_of(("auto", "direct", "guestfs")),
        default="auto",
        metavar="KIND",
        help="direct makes ext4 without a virtual machine, guestfs any file system in a libguestfs "
        "appliance (default: auto, direct where it can)",
    )
    group.add_argument(
        "--accelerator",
        type=one_of(Accelerator),
        default="auto",
        metavar="KIND",
        help="kvm or tcg: whether the appliance uses KVM (default: auto, where it works)",
    )


def add_messages(parser: Parser) -> None:
    """Add how much is said."""
    group = parser.add_argument_group("messages")
    group.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="draw progress bars (default: on a terminal)",
    )
    group.add_argument("-v", "--verbose", action="count", default=0, help="say more; twice: all")
    group.add_argument("-q", "--quiet", action="store_true", help="say nothing but errors")
    group.add_argument("-h", "--help", action="help", help="show this help and end")
    group.add_argument(
        "--version",
        action="version",
        version=arguments.version(parser.prog),
        help="show the version and end",
    )


def _listed(words: Iterable[str]) -> str:
    """Words as a sentence has them."""
    *most, last = words
    return f"{', '.join(most)} or {last}"
