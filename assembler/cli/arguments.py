"""Reads the arguments of the commands: one line for a wrong argument, and a readable --help."""

import argparse
import re
import shlex
import shutil
import textwrap
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID

from assembler.disk.layout import PartitionGuid
from assembler.disk.tables import Table
from assembler.errors import RequestError, none_of
from assembler.filesystems.protocol import Subvolume
from assembler.root.skeleton import ProfileGeneration
from assembler.units import SECTOR_SIZES, parse_size

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

_PACKAGE = "assemble"
_HANGING = 4  # columns by which the second line of a paragraph is indented
_NARROW, _NARROWEST = 60, 24  # columns
# The commands of this package, and what each does.
_COMMANDS = {
    "assemble": "turn a Nix closure into a disk image",
    "prepare-root": "fill a directory with a NixOS root",
    "check-image": "check disk images",
}

_MAKES = """\
0: it is done
1: this host or a tool failed
2: the request is wrong; every problem is printed, and nothing is made"""
_CHECKS = """\
0: sound
1: an image is unsound, or this host or a tool failed
2: a file is no disk image, or the arguments are wrong"""
_ENDED = "129, 130, 143: ended by SIGHUP, SIGINT (Ctrl-C), SIGTERM"
_EPOCH = (
    "SOURCE_DATE_EPOCH: seconds since 1970, the time of all files outside the store (default: 1)"
)
_TMPDIR = "TMPDIR: directory for temporary files (default: /tmp)"
_SIZES = "N is a number of bytes, or of K, M, G or T, which are powers of 1024: 512M is 512 MiB."


class Parser(argparse.ArgumentParser):
    """The arguments of one command. The modules `options` and `disk_options` add groups.

    `summary` is what the command does, in a few words. `notes` has what --help shows after the
    options: for each heading its lines, of which those with a colon are "word: meaning".
    """

    def __init__(
        self, command: str, usage: str, description: str, examples: str, *, makes: bool = True
    ) -> None:
        """`makes`: whether the command makes something, with sizes and times to choose."""
        self.summary = _COMMANDS[command]
        self.notes = {
            "exit status": [*(_MAKES if makes else _CHECKS).splitlines(), _ENDED],
            "environment": [*([_EPOCH] if makes else []), _TMPDIR],
            "examples": examples.splitlines(),
            "other commands": [
                f"{name}: {_COMMANDS[name]}" for name in _COMMANDS if name != command
            ],
        }
        super().__init__(
            prog=command,
            usage=textwrap.fill(
                f"{command} {usage}", _columns() - len("usage: "), subsequent_indent=" " * 7
            ),
            description=description,
            epilog="\n\n".join(
                ([_SIZES] if command == _PACKAGE else [])
                + ["\n  ".join([f"{heading}:", *lines]) for heading, lines in self.notes.items()]
            ),
            formatter_class=_Formatter,
            allow_abbrev=False,
            add_help=False,
        )
        self.color = False  # Python 3.14 would colour words

    def read(self, argv: Sequence[str] | None) -> argparse.Namespace:
        """Read arguments, of sys.argv where none are given; raises RequestError for wrong ones.

        An unknown argument is reported before a missing one.
        """
        needed = [action for action in self._actions if action.required]
        for action in needed:
            action.required = False
        given, unknown = self.parse_known_args(argv)
        if unknown and unknown[0] in _COMMANDS:
            self.error(f"{unknown[0]} is a command of its own: `{shlex.join(unknown)}`")
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        if absent := [action for action in needed if getattr(given, action.dest) is None]:
            names = ", ".join("/".join(one.option_strings) or str(one.metavar) for one in absent)
            self.error(f"the following arguments are required: {names}")
        return given

    def error(self, message: str) -> NoReturn:
        """Raise RequestError with what is wrong, and the hint."""
        message = message.removeprefix("argument ")
        raise RequestError([message, f"`{self.prog} --help` tells what can be given"])

    def _print_message(self, message: str, file: "SupportsWrite[str] | None" = None) -> None:
        # argparse would ignore that the stream failed.
        print(message, end="", file=file)


def _columns() -> int:
    """The width of the terminal; a number too small for any terminal is ignored."""
    return max(_NARROWEST, shutil.get_terminal_size().columns)


class _Formatter(argparse.HelpFormatter):
    """Wraps each line of a text by itself; on a narrow terminal, help is below its option."""

    def __init__(self, prog: str) -> None:
        width = _columns() - 2
        super().__init__(prog, max_help_position=24 if width > _NARROW else 6, width=width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = []
        for line in text.splitlines():
            margin = indent + " " * (len(line) - len(line.lstrip()))
            hanging = margin + " " * _HANGING if margin else indent
            lines += textwrap.wrap(
                line.strip(),
                width,
                initial_indent=margin,
                subsequent_indent=hanging,
                break_on_hyphens=False,
            ) or [""]
        return "\n".join(lines)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


def version(command: str) -> str:
    """The name of a command with the version of this package."""
    try:
        number = metadata.version(_PACKAGE)
    except metadata.PackageNotFoundError:  # it runs without being installed
        number = "(version unknown)"
    return f"{_PACKAGE} {number}" if command == _PACKAGE else f"{command} ({_PACKAGE} {number})"


def listed(words: Iterable[str]) -> str:
    """Words as a list in a sentence."""
    *most, last = words
    return f"{', '.join(most)} or {last}"


class OneOf:
    """Takes one of some words only; `make` turns the word into a value."""

    def __init__(self, words: Iterable[str], make: Callable[[str], Any] = str) -> None:
        self.words = [str(word) for word in words]
        self._make = make

    def __call__(self, text: str) -> Any:
        """Read an argument; argparse prints the error."""
        if text not in self.words:
            raise argparse.ArgumentTypeError(f"{text!r}{none_of(self.words)}")
        return self._make(text)


sector_size = OneOf(map(str, SECTOR_SIZES), int)  # bytes
table = OneOf(Table, Table)


def path(text: str) -> Path:
    """A file or a directory; an empty word would be the working directory."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty")
    return Path(text)


def size(text: str) -> int:
    """A size in bytes."""
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def size_or_auto(text: str) -> int | None:
    """A size in bytes, None for `auto`."""
    return None if text == "auto" else size(text)


def uuid(text: str) -> UUID:
    """A UUID, in upper or lower case."""
    if not re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text.lower()):
        example = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"
        raise argparse.ArgumentTypeError(f"{text!r} is not a UUID, as in {example}")
    if not (found := UUID(text)).int:
        raise argparse.ArgumentTypeError(f"{text} stands for no UUID")
    return found


def partition_guid(text: str) -> PartitionGuid:
    """The GUID of a partition: N=GUID."""
    number, separator, guid = text.partition("=")
    if not separator or not re.fullmatch("[0-9]{1,3}", number):
        raise argparse.ArgumentTypeError(f"{text} is not N=GUID with a number N")
    return int(number), uuid(guid)


def subvolume(text: str) -> Subvolume:
    """A subvolume: NAME=PATH."""
    name, separator, place = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text} is not NAME=PATH")
    return name, place if place == "/" else place.rstrip("/")


def generation(text: str) -> ProfileGeneration:
    """A generation: N=PATH."""
    number, separator, path = text.partition("=")
    if not separator or not re.fullmatch("[0-9]{1,20}", number):
        raise argparse.ArgumentTypeError(f"{text} is not N=PATH with a number N")
    return int(number), path
