"""The parser of each command, for the command itself and for its man page and completions."""

from assembler.cli import disk_options, options
from assembler.cli.arguments import Parser


def assemble_parser() -> Parser:
    """Return the parser of `assemble`."""
    parser = Parser(
        "assemble",
        "--out FILE --system PATH [OPTION]...",
        "Turn a Nix closure into a bootable disk image, entirely in user space.",
        "assemble --out disk.raw --system ./result\n"
        "assemble --out disk.raw --system ./result --filesystem xfs\n"
        "assemble --out disk.raw --system ./result --plan",
    )
    options.add_out_options(parser)
    goes_in = options.add_root_options(parser)
    disk_options.add_disk_options(parser, goes_in)
    disk_options.add_boot_options(parser)
    disk_options.add_writer_options(parser)
    options.add_messages(parser)
    return parser


def prepare_root_parser() -> Parser:
    """Return the parser of `prepare-root`."""
    parser = Parser(
        "prepare-root",
        "ROOT --system PATH [OPTION]...",
        "Fill a directory with a NixOS root: skeleton, Nix database and store paths.",
        "prepare-root /mnt --system ./result",
    )
    options.add_directory_options(parser)
    options.add_root_options(parser)
    options.add_messages(parser)
    return parser


def check_image_parser() -> Parser:
    """Return the parser of `check-image`."""
    parser = Parser(
        "check-image",
        "FILE... [OPTION]...",
        "Check partition table, file systems and boot chains of disk images.",
        "check-image disk.raw\ncheck-image --json *.raw",
        makes=False,
    )
    options.add_images(parser)
    options.add_messages(parser)
    return parser
