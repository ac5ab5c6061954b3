"""What the package installs besides the programs: man pages and completions.

Without these tests, an installed package can lack its man pages and completions.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from assembler.cli.arguments import OneOf, Parser
from assembler.cli.parsers import assemble_parser, check_image_parser, prepare_root_parser
from tests.support.helpers import output
from tests.support.places import REPOSITORY

PARSERS = {
    parser.prog: parser
    for parser in (assemble_parser(), prepare_root_parser(), check_image_parser())
}


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory share/ of an installed package, built without the network."""
    source = tmp_path_factory.mktemp("source")
    for name in ("LICENSE", "README.md", "pyproject.toml", "setup.py", "assemble_start.py"):
        shutil.copy(REPOSITORY / name, source)
    shutil.copytree(REPOSITORY / "assembler", source / "assembler")
    prefix = tmp_path_factory.mktemp("prefix")
    output(
        sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install",
        "--no-index", "--no-deps", "--no-build-isolation", "--ignore-installed",
        "--prefix", prefix, source,
    )  # fmt: skip
    return prefix / "share"


def long_options(parser: Parser) -> list[str]:
    """All options of a command, without short names."""
    return re.findall(r"--[a-z][a-z-]+", " ".join(parser._option_string_actions))


@pytest.mark.parametrize("command", PARSERS)
def test_a_man_page_has_every_option_and_pleases_groff(share: Path, command: str) -> None:
    """Without this test a page could lose options, or print warnings at each reader."""
    page = share / f"man/man1/{command}.1"
    done = subprocess.run(
        ["groff", "-ww", "-man", "-Tascii", "-P-c", page], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    text = re.sub(r".\x08", "", done.stdout)  # bold and underlined characters are struck twice
    assert [name for name in long_options(PARSERS[command]) if name not in text] == []
    assert f"{command} - {PARSERS[command].summary}" in text
    for heading in ("SYNOPSIS", "EXIT STATUS", "ENVIRONMENT", "EXAMPLES", "SEE ALSO"):
        assert re.search(f"^{heading}$", text, re.MULTILINE)


def bash_completes(file: Path, *words: str) -> list[str]:
    """What bash offers for the last of some words."""
    script = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        'function=$(complete -p "$1" | sed "s/.*-F //; s/ .*//"); "$function"; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    return output("bash", "-c", script, "bash", file, *words).decode().split()


@pytest.mark.parametrize("command", PARSERS)
def test_bash_completes_options_and_files(share: Path, command: str) -> None:
    file = share / f"bash-completion/completions/{command}"
    assert bash_completes(file, command, "--verb") == ["--verbose"]
    assert {*long_options(PARSERS[command])} <= {*bash_completes(file, command, "--")}


def test_bash_completes_the_words_that_an_option_takes(share: Path) -> None:
    completions = share / "bash-completion/completions"
    assemble, parser = completions / "assemble", PARSERS["assemble"]
    asked = 0
    for name, action in parser._option_string_actions.items():
        if isinstance(action.type, OneOf):
            asked += 1
            assert bash_completes(assemble, "assemble", name, "") == action.type.words
    assert asked >= 5
    assert bash_completes(assemble, "assemble", "--boot-loader", "sy") == ["systemd-boot", "system"]
    start = f"{REPOSITORY}/pyproj"
    found = [f"{REPOSITORY}/pyproject.toml"]
    assert bash_completes(assemble, "assemble", "--out", start) == found
    assert bash_completes(completions / "check-image", "check-image", start) == found


def test_completions_of_two_commands_do_not_disturb_each_other(share: Path) -> None:
    """Functions of the same name would give one command the options of the other."""
    completions = share / "bash-completion/completions"
    script = 'source "$1"; complete -p "${1##*/}"; source "$2"; complete -p "${2##*/}"'
    lines = output("bash", "-c", script, "bash", *(completions / one for one in PARSERS))
    functions = re.findall(r"-F (\S+)", lines.decode())
    assert len(functions) == len({*functions}) == 2


@pytest.mark.parametrize("command", PARSERS)
def test_fish_completes(share: Path, command: str) -> None:
    file = share / f"fish/vendor_completions.d/{command}.fish"
    script = f"source {file}; complete -C '{command} --'"
    lines = output("fish", "--no-config", "-c", script).decode().splitlines()
    assert {*long_options(PARSERS[command])} <= {line.split("\t")[0] for line in lines}


@pytest.mark.parametrize("command", PARSERS)
def test_zsh_reads_its_completions(share: Path, command: str) -> None:
    file = share / f"zsh/site-functions/_{command}"
    assert output("zsh", "-n", file) == b""
    assert file.read_text().startswith(f"#compdef {command}\n")
