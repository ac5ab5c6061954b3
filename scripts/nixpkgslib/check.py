"""Evaluate what nix/ has against a nixpkgs, row by row."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
_EXPRESSION = Path(__file__).with_name("check.nix")
_FUNCTION = "nixos/lib/make-disk-image.nix"
_KINDS = ("package", "function", "variant", "variant, systemd-boot")
_SITES = "call of make-disk-image"
_CALL = re.compile(r"import [^ ;]*/lib/make-disk-image\.nix")
_MODULES = ("nixos/modules", "nixos/maintainers")  # whose calls are of images of a configuration
_LONGEST = 300  # characters of an error


class NixError(Exception):
    """An expression has no value; the message is Nix's own, in one line."""


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was evaluated."""

    kind: str
    name: str
    value: str  # a derivation, or what is the same; empty if there is a fault
    fault: str = ""


def check(nixpkgs: Path) -> list[Row]:
    """Evaluate all rows, on all processors. Raises NixError if nixpkgs itself has no value."""
    with _tree(nixpkgs) as tree:
        arguments = {"nixpkgs": nixpkgs, "tree": tree, "source": REPOSITORY}
        called = " ".join(f"{name} = {_path(path)};" for name, path in arguments.items())
        checks = f"import {_path(_EXPRESSION)} {{ {called} }}"
        kinds = " ".join(f'"{kind}"' for kind in _KINDS)
        names = json.loads(
            _evaluate(f"map (kind: builtins.attrNames ({checks}).${{kind}}) [ {kinds} ]")
        )
        asked = [
            (kind, name, f'({checks})."{kind}"."{name}"')
            for kind, ones in zip(_KINDS, names, strict=True)
            for name in ones
        ]
        sites = call_sites(nixpkgs)
        if not sites:
            raise NixError(f"no file in {' and '.join(_MODULES)} calls make-disk-image")
        asked += [(_SITES, site, f'({checks}).site "{site}"') for site in sites]
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            return list(pool.map(lambda one: _row(*one), asked))


def call_sites(nixpkgs: Path) -> list[str]:
    """The modules of a nixpkgs that call make-disk-image, by their paths in it."""
    files = [file for top in _MODULES for file in sorted((nixpkgs / top).rglob("*.nix"))]
    found = [file for file in files if _CALL.search(file.read_text(errors="replace"))]
    return [str(file.relative_to(nixpkgs)) for file in found]


def is_nixpkgs(path: Path) -> bool:
    """Whether a directory has what is evaluated here."""
    return all((path / file).exists() for file in ("default.nix", _FUNCTION))


@contextmanager
def _tree(nixpkgs: Path) -> Iterator[Path]:
    """A copy of nixpkgs' directory nixos with our function in it; the rest are links.

    A copy, because Nix takes a relative path from where the links of a file lead to.
    """
    with tempfile.TemporaryDirectory(prefix="check-nixpkgs-") as directory:
        tree = Path(directory).resolve()
        shutil.copytree(nixpkgs / "nixos", tree / "nixos", symlinks=True)
        for entry in nixpkgs.iterdir():
            if entry.name not in ("nixos", ".git"):
                (tree / entry.name).symlink_to(entry)
        function = tree / _FUNCTION
        function.parent.chmod(0o755)
        function.unlink()
        function.write_text(f"import {_path(REPOSITORY / 'nix/make-disk-image.nix')}\n")
        yield tree


def _row(kind: str, name: str, expression: str) -> Row:
    try:
        return Row(kind, name, json.loads(_evaluate(expression)))
    except NixError as error:
        return Row(kind, name, "", str(error))


def _evaluate(expression: str) -> str:
    argv = ["nix-instantiate", "--eval", "--strict", "--json", "-E", expression]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        # Newer releases of Nix print the cause last, and older ones first. A thrown text of many
        # lines follows its own line, which ends with an apostrophe.
        found = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        found = found or ["no message"]
        errors = [at for at, line in enumerate(found) if line.startswith("error: ")]
        at = (errors or [-1])[-1]
        cause = found[at].removeprefix("error: ")
        if cause.endswith((": '", ":")) and found[at + 1 :]:
            cause += " ".join(found[at + 1 : at + 5])
        raise NixError(cause[:_LONGEST])
    return done.stdout


def _path(path: Path) -> str:
    """A path in Nix, which has no spaces and such in a bare one."""
    return f"(/. + {json.dumps(str(path))})"
