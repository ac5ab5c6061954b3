"""The shape of the house: what docs/architecture.md and CONTRIBUTING.md promise of its code.

Without these tests, rooms import each other in circles, and files grow long unnoticed.
"""

import ast
import subprocess
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from assembler.cli.parsers import assemble_parser, check_image_parser, prepare_root_parser
from tests.support.places import COMMANDS, REPOSITORY


def test_imports_run_down_the_list_of_rooms_only() -> None:
    """pyproject.toml has the list; without this test an arrow that runs up goes unnoticed."""
    done = subprocess.run(
        [COMMANDS / "lint-imports", "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


FILES = sorted((REPOSITORY / "assembler").rglob("*.py"))


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def test_files_and_functions_are_short() -> None:
    """Without this test both grow until nobody reads them whole."""
    too_long = []
    for file in FILES:
        if len(file.read_text().splitlines()) > 280:
            too_long.append(str(file))
        for node in ast.walk(parsed(file)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
                lines = node.end_lineno - node.lineno + 1
                if lines > 50:
                    too_long.append(f"{file}:{node.lineno}: {node.name} has {lines} lines")
    assert too_long == []


def test_classes_have_names_of_their_own() -> None:
    """One name for two types sends a reader to the wrong file."""
    names = Counter(
        node.name
        for file in FILES
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


# Names of files of which several rooms, or several variants, have one for the same purpose.
ROLES = {"__init__.py", "kind.py", "loader.py", "protocol.py", "registry.py", "writer.py"}


def test_files_have_names_of_their_own() -> None:
    """Without this test a reader opens the wrong one of two files."""
    names = Counter(file.name for file in FILES if file.name not in ROLES)
    assert [name for name, count in names.items() if count > 1] == []


def test_functions_have_names_of_their_own() -> None:
    """But for those that are always called by the name of their module, too."""
    imported: dict[str, set[str]] = {}
    for file in FILES:
        for node in ast.walk(parsed(file)):
            if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                for alias in node.names:
                    if alias.name.islower() and node.module.startswith("assembler."):
                        imported.setdefault(alias.name, set()).add(node.module)
    assert {name: modules for name, modules in imported.items() if len(modules) > 1} == {}


def test_each_file_of_tests_has_its_reason() -> None:
    """Without this test, nobody knows which tests may go when the program changes."""
    files = [*REPOSITORY.glob("tests/**/test_*.py"), *REPOSITORY.glob("vm-tests/test_*.py")]
    silent = [
        str(file)
        for file in files
        if "\nWithout these tests, " not in (ast.get_docstring(parsed(file)) or "")
    ]
    assert silent == []


def test_only_the_command_line_names_its_flags() -> None:
    """A Python user knows no flags; `errors.Setting` names a setting for both."""
    parsers = (assemble_parser(), prepare_root_parser(), check_image_parser())
    options = {option for parser in parsers for option in parser._option_string_actions}
    flags = {option for option in options if option.startswith("--")}
    named = []
    for file in FILES:
        for text in _texts(parsed(file)):
            words = [word.strip(".,:;()'\"") for word in text.split()]
            if len(words) > 1 and not flags.isdisjoint(words) and "cli" not in file.parts:
                named.append(f"{file}: {text}")
    assert named == []


def _texts(tree: ast.Module) -> Iterator[str]:
    """All strings but docstrings."""
    expressions = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in expressions:
            yield from [node.value] if isinstance(node.value, str) else []
