"""Evaluate Nix expressions with the stand-in for nixpkgs."""

import json
from typing import Any

from tests.support.helpers import output
from tests.support.places import REPOSITORY

_NIXPKGS = REPOSITORY / "tests/support/nixpkgs"


def evaluate(expression: str, *options: str) -> Any:
    """The value of an expression in which `pkgs` is the stand-in and `source` the repository."""
    text = f"let pkgs = import {_NIXPKGS} {{ }}; source = {REPOSITORY}; in {expression}"
    return json.loads(
        output("nix-instantiate", *options, "--eval", "--strict", "--json", "-E", text)
    )
