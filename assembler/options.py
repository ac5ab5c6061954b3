"""The options of the commands, in the groups that `--help` shows."""

import argparse
import re
from pathlib import Path

from assembler.appliance.accelerator import Accelerator
from assembler.disk.layout import Table
from assembler.root.skeleton import Generation
from assembler.spec import LABEL_MAX
from assembler.units import MIB, SECTOR, parse_size
from assembler.writers.protocol import Subvolume


def add_root_options(parser: argparse.ArgumentParser) -> None:
    """Add what goes in: system, closure, store, further paths, generations, channel."""
    group = parser.add_argument_group("what goes in")
    group.add_argument(
        "--system", required=True, metavar="PATH", help="toplevel store path that is booted"
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


def _add_further_paths(group: argparse._ArgumentGroup) -> None:
    """Add what is on the machine besides the system."""
    group.add_argument(
        "--additional-path",
        action="append",
        default=[],
        metavar="PATH",
        help="one more store path, with its closure; may be repeated",
    )
    group.add_argument(
        "--include-build-deps",
        action="store_true",
        help="the derivations and outputs that it takes to rebuild the system offline, too",
    )
    group.add_argument(
        "--generation",
        type=_generation,
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


def add_disk_options(parser: argparse.ArgumentParser) -> None:
    """Add the disk and what is on it."""
    parser.add_argument_group("what goes in").add_argument(
        "--contents",
        type=Path,
        metavar="FILE",
        help="JSON list of {source, target, user, group, mode, xattrs}",
    )
    group = parser.add_argument_group("the disk")
    group.add_argument(
        "--size",
        type=_size_or_auto,
        default=None,
        metavar="auto|N[KMGT]",
        help="size of the whole image (default: auto, what goes in and --additional-space)",
    )
    group.add_argument(
        "--additional-space",
        type=_size,
        default=512 * MIB,
        metavar="N[KMGT]",
        help="free space in the root file system with --size auto (default: 512M)",
    )
    group.add_argument(
        "--label", default="nixos", help="label of the root file system (default: nixos)"
    )
    group.add_argument(
        "--filesystem",
        default="ext4",
        metavar="|".join(LABEL_MAX),
        help="root file system (default: ext4)",
    )
    group.add_argument(
        "--subvolume",
        type=_subvolume,
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="with btrfs: put what is below PATH into the subvolume NAME; may be repeated",
    )


def add_boot_options(parser: argparse.ArgumentParser) -> None:
    """Add how the disk boots."""
    group = parser.add_argument_group("how it boots")
    group.add_argument(
        "--partition-table",
        type=_table,
        metavar="|".join(Table),
        help="legacy is an MBR, none a bare file system, the others are GPTs (default: hybrid, for "
        "BIOS and UEFI; efi with systemd-boot or sectors of 4096 bytes)",
    )
    group.add_argument(
        "--sector-size",
        type=int,
        choices=(SECTOR, 4096),
        default=SECTOR,
        help="bytes in a sector of the disk that the image is for (default: 512)",
    )
    group.add_argument(
        "--boot-size",
        type=_size,
        default=256 * MIB,
        metavar="N[KMGT]",
        help="size of the EFI system partition; with efixbootldr, of the partition for kernels "
        "(default: 256M)",
    )
    group.add_argument(
        "--boot-loader",
        choices=("grub", "systemd-boot", "system", "none"),
        help="GRUB or systemd-boot by this tool, or the system's own installer in an appliance "
        "(default: what the system is configured with, or grub; none without a partition table)",
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


def add_writer_options(parser: argparse.ArgumentParser) -> None:
    """Add how it is written."""
    group = parser.add_argument_group("how it is written")
    group.add_argument(
        "--writer",
        choices=("auto", "direct", "guestfs"),
        default="auto",
        help="direct makes ext4 without a virtual machine, guestfs any file system in a libguestfs "
        "appliance (default: auto, direct where it can)",
    )
    group.add_argument(
        "--accelerator",
        choices=tuple(Accelerator),
        default="auto",
        help="whether the appliance uses KVM (default: auto, where it works)",
    )


def add_messages(parser: argparse.ArgumentParser) -> None:
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


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _subvolume(text: str) -> Subvolume:
    name, separator, place = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text} is not NAME=PATH")
    return name, place if place == "/" else place.rstrip("/")


def _generation(text: str) -> Generation:
    number, separator, path = text.partition("=")
    if not separator or not re.fullmatch("[0-9]{1,20}", number):
        raise argparse.ArgumentTypeError(f"{text} is not N=PATH with a number N")
    return int(number), path.rstrip("/")


def _table(text: str) -> Table:
    try:
        return Table(text)
    except ValueError:
        tables = ", ".join(Table)
        raise argparse.ArgumentTypeError(f"{text!r} is none of {tables}") from None


def _size_or_auto(text: str) -> int | None:
    return None if text == "auto" else _size(text)
