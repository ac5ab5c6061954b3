"""flake.nix and the template's, evaluated with a stand-in for nixpkgs.

Without these tests, an output that docs/nix.md names can be missing or have no value.
"""

import re
from typing import Any

from tests.support.nix_eval import evaluate
from tests.support.places import REPOSITORY

_FLAKE = """
  let
    stand-in = source + /tests/support/nixpkgs;
    evalConfig = import (stand-in + /nixos/lib/eval-config.nix);
    nixpkgs = {
      lib = pkgs.lib // {
        nixosSystem = { modules }: evalConfig { system = null; inherit modules; };
      };
      legacyPackages = pkgs.lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] (
        system: import stand-in { inherit system; }
      );
    };
    flake = (import (source + /flake.nix)).outputs { self = flake; inherit nixpkgs; };
  in
"""
SYSTEMS = ["aarch64-linux", "x86_64-linux"]


def outputs(wanted: str) -> Any:
    return evaluate(f"{_FLAKE} {wanted}")


def test_every_output_is_described() -> None:
    page = (REPOSITORY / "docs/nix.md").read_text()
    table = page.split("The flake has")[1].split("##")[0]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    described = {*re.findall(r"`([A-Za-z]+)", "".join(rows))}
    assert described == {*outputs("builtins.attrNames flake")}


def test_the_commands_are_programs_of_the_package() -> None:
    """`nix run` takes the app `default`."""
    wanted = "builtins.mapAttrs (_: builtins.mapAttrs (_: one: one.program)) flake.apps"
    programs = {name: f"/bin/{name}" for name in ("assemble", "check-image", "prepare-root")}
    programs["default"] = "/bin/assemble"
    found = outputs(wanted)
    assert [*found] == SYSTEMS
    for apps in found.values():
        assert {name: "/bin/" + path.rpartition("/")[2] for name, path in apps.items()} == programs


def test_checks_build_the_package_and_an_image_of_the_template() -> None:
    wanted = "builtins.mapAttrs (_: builtins.mapAttrs (_: one: one.name)) flake.checks"
    found = outputs(wanted)
    assert [*found] == SYSTEMS
    for checks in found.values():
        assert [*checks] == ["image", "package"]
        assert checks["image"] == "nixos-image-qemu-efi"


def test_the_default_of_the_template_is_one_of_its_images() -> None:
    wanted = """
      let
        machine = (import (source + /nix/template/flake.nix)).outputs {
          inherit nixpkgs;
          self = machine;
          assemble = flake;
        };
      in builtins.mapAttrs (_: images: images.default.name) machine.packages"""
    assert outputs(wanted) == dict.fromkeys(SYSTEMS, "nixos-image-qemu-efi")


def test_what_it_hands_on_are_the_files_of_nix() -> None:
    wanted = """[
      (builtins.isFunction (flake.lib.assembleImage { inherit pkgs; }))
      (builtins.functionArgs flake.lib.makeDiskImage == builtins.functionArgs (
        import (source + /nix/make-disk-image.nix)))
      (builtins.pathExists flake.nixosModules.default)
      (builtins.pathExists (flake.templates.default.path + "/flake.nix"))
      ((flake.overlays.default pkgs pkgs).assemble.outPath
        == flake.packages.x86_64-linux.default.outPath)
    ]"""
    assert outputs(wanted) == [True] * 5
