"""The documents: what they link to, name and promise exists.

Without these tests, the documents keep dead links and options that are gone.
"""

import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

import assembler
from assembler.cli.check_report import facts_of_no_image
from assembler.cli.parsers import assemble_parser, check_image_parser, prepare_root_parser
from tests.support.helpers import output
from tests.support.nix_eval import evaluate
from tests.support.places import ASSEMBLE, REPOSITORY
from tests.support.systems import make_system

DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md")])
ARCHITECTURE = (REPOSITORY / "docs/architecture.md").read_text()
API = (REPOSITORY / "docs/python-api.md").read_text()
# Options of other programs that documents name.
OTHERS = {
    "--dump-db", "--export", "--requisites", "--include-outputs", "--query", "--deriver", "--json",
    "--chmod", "--guestfs", "--install-bootloader", "--strict", "--firmware", "--efidisk",
    "--image-variant", "--unique", "--compression",
}  # fmt: skip


def name(file: Path) -> str:
    """A document's path in the repository."""
    return str(file.relative_to(REPOSITORY))


def anchors(file: Path) -> set[str]:
    """What the headings of a document can be linked by."""
    headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("file", DOCUMENTS, ids=name)
def test_relative_links_lead_to_files_and_headings(file: Path) -> None:
    broken = []
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", file.read_text()):
        path, _, anchor = link.partition("#")
        target = file.parent / path if path else file
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_document_can_be_found_from_the_readme() -> None:
    linked = re.findall(r"\]\(([^)#\s]+)", (REPOSITORY / "README.md").read_text())
    assert {name(file) for file in DOCUMENTS} - {"README.md"} <= {*linked}


def test_all_keys_of_a_report_are_explained() -> None:
    """A script's author finds no key that is not in the table."""
    text = (REPOSITORY / "docs/commands.md").read_text().partition("`--json` prints a list")[2]
    table = text.partition("| --- | --- |")[2].partition("\n\n")[0]
    keys = re.findall("`([a-z]+)`", "\n".join(re.findall(r"^\| ([^|]*)", table, re.MULTILINE)))
    assert {*keys} == {*facts_of_no_image("x", [])}


def test_the_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= 110


def test_every_option_is_in_the_documents_and_no_other() -> None:
    """Without this test a new option goes undescribed, and one that is gone stays."""
    parsers = assemble_parser(), prepare_root_parser(), check_image_parser()
    options = {
        option
        for parser in parsers
        for option in parser._option_string_actions
        if option.startswith("--")
    }
    # The recipes are full of other programs; a test below runs their commands of ours.
    foreign = ("CHANGELOG.md", "recipes.md", "fleet.md")
    texts = [file.read_text() for file in DOCUMENTS if file.name not in foreign]
    named = {*re.findall(r"(?<![\w-])--[a-z][a-z-]+", "\n".join(texts))}
    assert options - named == set()
    assert named - options - OTHERS == set()


def test_the_architecture_lists_the_rooms_in_the_order_of_the_contract() -> None:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    [contract] = [one for one in contracts if one["type"] == "layers"]
    rows = re.findall(r"^\| (`.*?`(?:, `.*?`)*) \|", ARCHITECTURE, re.MULTILINE)
    rooms = [re.sub(r"/$|\.py$", "", room) for row in rows for room in re.findall("`(.*?)`", row)]
    layers = [layer for entry in contract["layers"] for layer in re.split(r" [|:] ", entry)]
    assert [room for room in rooms if room in layers] == layers


def test_the_architecture_names_files_that_exist() -> None:
    """What comes with a change, such as a new file, has no name there yet."""
    spans = re.findall(r"`([\w/]+(?:/|\.py))`", ARCHITECTURE)
    places = [REPOSITORY, REPOSITORY / "assembler", *(REPOSITORY / "assembler").iterdir()]
    assert [one for one in spans if not any((place / one).exists() for place in places)] == []


def test_the_example_of_the_python_interface_runs(tmp_path: Path) -> None:
    """On a system in a store of its own: only where the closure comes from is changed."""
    system = make_system(tmp_path / "store")
    (tmp_path / "result").symlink_to(system.toplevel)
    [example] = re.findall("^```python\n(.*?)^```$", API, re.MULTILINE | re.DOTALL)
    place = f'store=Path("{system.root}"), closures=(Path("{system.registration}"),)'
    script = example.replace('system="./result"', f'system="./result", {place}')
    assert script != example
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    loader, esp, root, verdict = done.stdout.splitlines()
    assert (loader, verdict) == ("boot loader: grub", "sound")
    assert esp == "partition 1: FAT (EFI system partition), 64 MiB"
    assert root.startswith("partition 2: ext4")


def test_the_recipes_ask_for_what_their_targets_take(tmp_path: Path) -> None:
    """Without a warning, on a system in a store of its own."""
    system = make_system(tmp_path / "store")
    text = (REPOSITORY / "docs/recipes.md").read_text()
    commands = re.findall(r"^    assemble (.*?)(?: \|.*)?$", text, re.MULTILINE)
    assert len(commands) > 5
    for command in commands:
        options = shlex.split(command.replace(" --system ./result", ""))
        argv = [ASSEMBLE, *options, "--plan", "-q", *system.options]
        done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True)
        printed = [line for line in done.stderr.splitlines() if "writes nothing there" not in line]
        assert (done.returncode, printed) == (0, []), command


def test_the_example_of_a_fleet_gives_each_machine_its_images() -> None:
    names = "builtins.mapAttrs (_: builtins.mapAttrs (_: one: one.name))"
    stand_in = f"nixpkgs={REPOSITORY}/tests/support/nixpkgs"
    example = "import (source + /docs/examples/fleet.nix)"
    images = 'builtins.mapAttrs (_: one: removeAttrs one [ "recurseForDerivations" ])'
    found = evaluate(f"{names} ({images} ({example}))", "-I", stand_in)
    assert found == {
        "database": {"hetzner": "nixos-image-hetzner"},
        "web": {"amazon": "nixos-image-amazon", "qemu-efi": "nixos-image-qemu-efi"},
    }


def test_nix_build_finds_all_images_of_the_example_of_a_fleet() -> None:
    """Without a mark, nix-build passes over a set within a set: nothing is built, status 0."""
    argv = ["nix-instantiate", f"{REPOSITORY}/docs/examples/fleet.nix"]
    found = output(*argv, "-I", f"nixpkgs={REPOSITORY}/tests/support/nixpkgs")
    assert len(found.split()) == 3


def test_the_python_interface_is_described_and_nothing_else() -> None:
    rows = re.findall(r"^\| (`.*?`(?:, `.*?`)*) \|", API, re.MULTILINE)
    named = {one for row in rows for one in re.findall(r"`(\w+)", row)}
    settings = {one.name for spec in (assembler.Spec, assembler.RootSpec) for one in fields(spec)}
    assert settings - named == set()
    assert named - settings <= {*assembler.__all__}
    assert [one for one in assembler.__all__ if one not in API] == []
