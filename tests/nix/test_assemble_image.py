"""nix/assemble-image.nix, evaluated with a stand-in for nixpkgs.

Without these tests, an argument can fail to reach the command, or a default be another one.
"""

import tomllib

from tests.support.nix_eval import evaluate, refused
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


def test_values_that_cannot_be_are_refused_at_once() -> None:
    """At evaluation: a wrong word would be found by the builder only, when all else is built."""
    arguments = """
      toplevel = "/nix/store/x"; partitionTableType = "efii"; bootLoader = "grup";
      sectorSize = 1024; diskSize = "lots"; bootSize = "auto"; additionalSpace = -1;
      contents = [ { sourc = ./x; } ];
    """
    assert refused(f"{_IMAGE} {{ {arguments} }}") == [
        f"assemble-image.nix: {line}"
        for line in (
            'diskSize is "lots", which is no number of MiB and no size such as "8G", '
            'and not "auto"',
            'additionalSpace is -1, which is no number of MiB and no size such as "8G"',
            'bootSize is "auto", which is no number of MiB and no size such as "8G"',
            'partitionTableType is "efii", which is none of efi, efixbootldr, hybrid, legacy, '
            "legacy+boot, legacy+gpt, none; did you mean efi?",
            'bootLoader is "grup", which is none of grub, none, system, systemd-boot; '
            "did you mean grub?",
            "sectorSize is 1024, which is none of 512, 4096",
            'a key of contents is "sourc", which is none of source, target, mode, user, group, '
            "xattrs; did you mean source?",
            "a row of contents lacks a source or a target",
        )
    ]
