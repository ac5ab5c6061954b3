"""The options of the commands, in the groups that `--help` shows."""

import argparse
from pathlib import Path

from assembler.cli import arguments
from assembler.cli.arguments import OneOf, Parser, listed
from assembler.copying.sharing import CopyMode
from assembler.formats.registry import FORMATS
from assembler.formats.targets import TARGETS


def add_out_options(parser: Parser) -> None:
    """Add options for the image's file and for the report."""
    group = parser.add_argument_group("what comes out")
    group.add_argument(
        "--out",
        type=arguments.path,
        required=True,
        metavar="FILE",
        help="image to write; one that is there is replaced when the new one is complete; - is "
        "standard output",
    )
    group.add_argument(
        "--format",
        type=OneOf(FORMATS),
        metavar="KIND",
        help=f"{listed(FORMATS)} (default: what FILE's name ends in, or raw)",
    )
    group.add_argument(
        "--target",
        type=OneOf(TARGETS),
        metavar="NAME",
        help=f"where the image is to run: {listed(TARGETS)}; decides the format, the partition "
        "table and the size where you leave them open",
    )
    group.add_argument(
        "--bmap",
        action="store_true",
        help="write FILE.bmap, too, by which bmaptool copies only what is used",
    )
    group.add_argument("--checksum", action="store_true", help="write SHA256SUMS beside FILE, too")
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
        "images",
        type=arguments.path,
        nargs="+",
        metavar="FILE",
        help="image to read, in any output format; may be several",
    )
    group.add_argument(
        "--target",
        type=OneOf(TARGETS),
        metavar="NAME",
        help=f"check what this taker asks, too: {listed(TARGETS)}",
    )
    group.add_argument("--json", action="store_true", help="print what is found as JSON, a list")


def add_directory_options(parser: Parser) -> None:
    """Add the directory that prepare-root fills, and how."""
    group = parser.add_argument_group("what comes out")
    group.add_argument("root", type=arguments.path, metavar="ROOT", help="directory to fill")
    group.add_argument(
        "--copy-mode",
        type=OneOf(CopyMode),
        default=CopyMode.AUTO,
        metavar="MODE",
        help="how file data gets into ROOT: reflink shares it, hardlink makes more names for the "
        "very same files, copy shares nothing (default: auto, reflinks where they can be made)",
    )
    group.add_argument(
        "--force",
        action="store_true",
        help="fill a directory that is neither empty nor a prepared root, or this machine's own",
    )


def add_root_options(parser: Parser) -> argparse._ArgumentGroup:
    """Add the options for the content: system, closure, store, generations, channel and so on."""
    group = parser.add_argument_group("what goes in")
    group.add_argument(
        "--system",
        required=True,
        metavar="PATH",
        help="toplevel store path that is booted, or a link to it, such as ./result",
    )
    group.add_argument(
        "--closure",
        type=arguments.path,
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
        type=arguments.path,
        default=Path("/"),
        metavar="DIR",
        help="the files of /nix/store lie in DIR/nix/store",
    )
    _add_other_paths(group)
    return group


def _add_other_paths(group: argparse._ArgumentGroup) -> None:
    """Add the options for what is on the machine beside the system."""
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
        type=arguments.path,
        metavar="FILE",
        help="what becomes /etc/nixos/configuration.nix",
    )


def add_messages(parser: Parser) -> None:
    """Add the options for how much is printed."""
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
