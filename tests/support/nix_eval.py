"""Evaluate Nix expressions with the stand-in for nixpkgs."""

import json
import subprocess
from typing import Any

from tests.support.helpers import output
from tests.support.places import REPOSITORY

_NIXPKGS = REPOSITORY / "tests/support/nixpkgs"


def evaluate(expression: str, *options: str) -> Any:
    """The value of an expression in which `pkgs` is the stand-in and `source` the repository."""
    return json.loads(output(*_command(expression, *options)))


def refused(expression: str) -> list[str]:
    """The lines of the error with which Nix refuses an expression."""
    done = subprocess.run(_command(expression), capture_output=True, text=True)
    assert done.returncode, done.stdout
    lines = done.stderr.partition("error: ")[2].partition("\n\n")[0].splitlines()
    return [line.strip() for line in lines]


def _command(expression: str, *options: str) -> list[str]:
    text = f"let pkgs = import {_NIXPKGS} {{ }}; source = {REPOSITORY}; in {expression}"
    return ["nix-instantiate", *options, "--eval", "--strict", "--json", "-E", text]
