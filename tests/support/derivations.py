"""A system in a store below a directory, with derivations that Nix made."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assembler.store.registration import PathInfo, format_registration
from tests.support.helpers import nix_store, output, real_info

_EXPRESSION = """
let
  make = name: attributes:
    derivation ({ inherit name; system = "x86_64-linux"; builder = "/bin/sh"; } // attributes);
  source = make "source.tar" {
    outputHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    outputHashAlgo = "sha256";
  };
  tool = make "tool" { outputs = [ "out" "dev" ]; inherit source; };
in
make "nixos-system-tiny" { tool = tool.dev; script = builtins.toFile "script" "true"; }
"""


@dataclass(frozen=True)
class Built:
    """A system that refers to nothing, as if built in the store below `root`."""

    root: Path
    system: str
    derivation: str
    derivations: tuple[str, ...]
    outputs: tuple[str, ...]  # of all derivations, the system among them

    @property
    def closure(self) -> set[str]:
        """What it takes to build the system, as nix-store lists it."""
        question = ["--query", "--requisites", "--include-outputs", self.derivation]
        return set(nix_store(self.root, *question).decode().split())


def instantiate(root: Path, expression: str, **settings: str) -> str:
    """The store derivation of an expression, in the store below `root`."""
    options = [word for pair in settings.items() for word in ("--option", *pair)]
    done = subprocess.run(
        ["nix-instantiate", "--store", f"local?root={root}", *options, "-E", expression],
        env={**os.environ, "NIX_CONFIG": "build-users-group ="},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def make_built(root: Path, *, unbuilt: Sequence[str] = ()) -> Built:
    """Instantiate a system and register all outputs but those with a name out of `unbuilt`.

    They are files that we write: an ordinary user cannot have Nix build in such a store.
    """
    derivation = instantiate(root, _EXPRESSION)
    inputs = nix_store(root, "--query", "--requisites", derivation).decode().split()
    derivations = [path for path in inputs if path.endswith(".drv")]
    lines, every = b"", []
    for drv in derivations:
        for path in nix_store(root, "--query", "--outputs", drv).decode().split():
            every.append(path)
            if path[44:] in unbuilt:
                continue
            (root / path[1:]).write_text(path[44:])
            lines += register(real_info(root, path), drv)
    nix_store(root, "--load-db", stdin=lines)
    [system] = nix_store(root, "--query", "--outputs", derivation).decode().split()
    return Built(root, system, derivation, tuple(derivations), tuple(every))


def register(info: PathInfo, deriver: str) -> bytes:
    """What `--load-db` reads of a store path whose deriver is known."""
    path, nar_hash, size, _, *references = format_registration([info]).decode().splitlines()
    lines = [path, nar_hash, size, deriver, *references]
    return "".join(line + "\n" for line in lines).encode()


def binding(root: Path, derivation: str) -> dict[str, str]:
    """Output name → path, as Nix reads a derivation."""
    shown = output("nix", "--extra-experimental-features", "nix-command", "--store",
        f"local?root={root}", "show-derivation", derivation,
    )  # fmt: skip
    [shown_derivation] = json.loads(shown).values()
    return {name: out["path"] for name, out in shown_derivation["outputs"].items() if "path" in out}
