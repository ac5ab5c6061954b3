"""Adds man pages and shell completions to the package; pyproject.toml has all the rest.

Both are made from the commands' own parsers, as --help is.
"""

import os
import sys
from pathlib import Path

import shtab
from argparse_manpage.manpage import Manpage
from setuptools import Distribution, setup

sys.path.insert(0, str(Path(__file__).parent))
os.environ["COLUMNS"] = "10000"  # help texts stay on one line: roff and the shells break lines

from assembler.cli.arguments import OneOf, Parser
from assembler.cli.parsers import assemble_parser, check_image_parser, prepare_root_parser

PARSERS = (assemble_parser, prepare_root_parser, check_image_parser)
# What to complete for each placeholder. A PATH may be a link, such as ./result.
FILES = dict.fromkeys(("FILE", "PATH", "SOURCE"), shtab.FILE) | dict.fromkeys(
    ("DIR", "ROOT"), shtab.DIRECTORY
)
COMPLETIONS = {
    "bash": "bash-completion/completions/{}",
    "fish": "fish/vendor_completions.d/{}.fish",
    "zsh": "zsh/site-functions/_{}",
}


def man_page(parser: Parser, version: str) -> str:
    """Return the man page of a command: its options, then a section for each of its notes."""
    for action in parser._actions:
        if "--help" in action.option_strings:
            action.option_strings = ["-h, --help"]  # argparse-manpage leaves --help out
    parser.epilog = None
    page = Manpage(
        parser,
        {
            "description": parser.summary,
            "manual_title": "User Commands",
            "project_name": "assemble",
            "version": version,
        },
    )
    page.add_section("synopsis", "=", _roff(" ".join(page.synopsis)))
    for heading, lines in parser.notes.items():
        page.add_section(*_section(heading, lines))
    return str(page)


def _section(heading: str, lines: list[str]) -> tuple[str, str, str]:
    """Return a section's name, its position and its text in roff."""
    if heading == "other commands":
        names = [line.partition(":")[0] for line in lines]
        return "see also", "=", ",\n".join(f".BR {_roff(name)} (1)" for name in names)
    if heading == "examples":
        return heading, "=", "\n".join([".EX", *map(_roff, lines), ".EE"])
    parts = [line.partition(": ") for line in lines]
    texts = [f".TP\n.B {_roff(word)}\n{_roff(what)}" if what else word for word, _, what in parts]
    return heading, "=", "\n".join(texts)


def _roff(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-")


def completion(parser: Parser, shell: str) -> str:
    """Return a shell's completions of a command."""
    for action in parser._actions:
        if isinstance(action.type, OneOf):
            action.choices = action.type.words
        elif action.metavar in FILES:
            action.complete = FILES[action.metavar]
    return shtab.complete(parser, shell, root_prefix=parser.prog)


class InstallShare(Distribution().get_command_class("install_data")):
    """Writes man pages and completions where data files go: share/ of the prefix."""

    def run(self) -> None:
        """Write them; a wheel takes all that is below `install_dir`."""
        for make in PARSERS:
            command = make().prog
            files = {f"man/man1/{command}.1": man_page(make(), self.distribution.get_version())}
            for shell, place in COMPLETIONS.items():
                if shell in shtab.SUPPORTED_SHELLS:  # fish from release 1.9 on
                    files[place.format(command)] = completion(make(), shell)
            for name, text in files.items():
                file = Path(self.install_dir, "share", name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
                self.outfiles.append(str(file))


if __name__ == "__main__":
    # Without data files setuptools would not run install_data.
    setup(cmdclass={"install_data": InstallShare}, data_files=[("share", [])])
