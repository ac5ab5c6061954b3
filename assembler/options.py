"""The options of the commands, in the groups that `--help` shows."""

import argparse
from pathlib import Path

from assembler.appliance.accelerator import Accelerator
from assembler.spec import LABEL_MAX
from assembler.units import MIB, parse_size
from assembler.writers.protocol import Subvolume


def add_root_options(parser: argparse.ArgumentParser) -> None:
    """Add what goes in: system, closure, store and further paths."""
    group = parser.add_argument_group("what goes in")
    group.add_argument(
        "--system", required=True, metavar="PATH", help="toplevel store path, generation 1"
    )
    group.add_argument(
        "--closure",
        type=Path,
        action="append",
        default=[],
        metavar="SOURCE",
        help="registration file or closureInfo directory; may be repeated "
        "(default: ask the live store)",
    )
    group.add_argument(
        "--store",
        type=Path,
        default=Path("/"),
        metavar="DIR",
        help="the files of /nix/store lie in DIR/nix/store",
    )
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
        "--boot-size",
        type=_size,
        default=256 * MIB,
        metavar="N[KMGT]",
        help="size of the EFI system partition (default: 256M)",
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
    group.add_argument(
        "--boot-loader",
        choices=("grub", "system"),
        default="grub",
        help="GRUB by this tool, or the system's own installer in an appliance (default: grub)",
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


def _size_or_auto(text: str) -> int | None:
    return None if text == "auto" else _size(text)
