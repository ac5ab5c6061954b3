"""nix/assemble-image.nix, evaluated with a stand-in for nixpkgs.

Without these tests, an argument can fail to reach the command, or a default be another one.
"""

import tomllib

from tests.support.nix_eval import evaluate
from tests.support.places import REPOSITORY

_IMAGE = "import (source + /nix/assemble-image.nix) { inherit pkgs; }"


def test_nixpkgs_gives_what_is_not_given(demo_system: str) -> None:
    """Evaluated with a stand-in for nixpkgs, for there is none here to build with."""
    printed = evaluate(
        f"""
        let image = {_IMAGE}
          {{ toplevel = builtins.storePath "{demo_system}"; generations."7" = "{demo_system}";
             diskSize = 4096; }};
        in {{ inherit (image) assemble searchPath builder arguments; }}
        """
    )
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    assert printed["assemble"] == f"/nix/store/assemble-{version}/bin/assemble"
    assert printed["searchPath"] == "/nix/store/coreutils/bin"
    assert printed["builder"] == "/nix/store/bash/bin/bash"
    assert printed["arguments"][:4] == ["--system", demo_system, "--size", "4096M"]
    assert printed["arguments"][-2:] == ["--generation", f"7={demo_system}"]


def test_kvm_is_not_asked_for(demo_system: str) -> None:
    image = f"""({_IMAGE} {{ toplevel = builtins.storePath "{demo_system}"; }})"""
    assert not evaluate(f"{image}.drvAttrs ? requiredSystemFeatures")
