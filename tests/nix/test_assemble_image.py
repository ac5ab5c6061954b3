"""nix/assemble-image.nix, evaluated with a stand-in for nixpkgs.

Without these tests, an argument can fail to reach the command, or a default be another one.
"""

import json
import tomllib

from tests.support.helpers import output
from tests.support.places import REPOSITORY

_EXPRESSION = REPOSITORY / "nix/assemble-image.nix"

_PKGS = """
let
  package = name: { outPath = "/nix/store/" + name; type = "derivation"; inherit name; };
  pkgs = {
    bash = package "bash"; coreutils = package "coreutils";
    stdenv.hostPlatform.system = "x86_64-linux";
    callPackage = file: more: (import file) (builtins.intersectAttrs
      (builtins.functionArgs (import file)) (pkgs // more));
    lib = {
      removePrefix = prefix: text:
        builtins.substring (builtins.stringLength prefix) (builtins.stringLength text) text;
      makeBinPath = builtins.concatMap (one: [ "${one}/bin" ]);
      makeLibraryPath = builtins.concatMap (one: [ "${one}/lib" ]);
      importTOML = file: builtins.fromTOML (builtins.readFile file);
      licenses.mit = "MIT"; platforms.linux = [ "x86_64-linux" ];
    };
    python3Packages = {
      cffi = package "cffi"; pyparted = package "pyparted"; tqdm = package "tqdm";
      setuptools = package "setuptools"; shtab = package "shtab";
      argparse-manpage = package "argparse-manpage";
      buildPythonApplication = about: package "${about.pname}-${about.version}" // about;
    };
    dosfstools = package "dosfstools"; e2fsprogs = package "e2fsprogs"; grub2 = package "grub2";
    grub2_efi = package "grub2_efi"; mtools = package "mtools"; nix = package "nix";
    pigz = package "pigz"; qemu-utils = package "qemu-utils"; util-linux = package "util-linux";
    xz = package "xz"; zstd = package "zstd";
  };
in
"""


def test_nixpkgs_gives_what_is_not_given(demo_system: str) -> None:
    """Evaluated with a stand-in for nixpkgs, for there is none here to build with."""
    question = f"""
      let image = import {_EXPRESSION} {{ inherit pkgs; }}
        {{ toplevel = builtins.storePath "{demo_system}"; generations."7" = "{demo_system}";
           diskSize = 4096; }};
      in {{ inherit (image) assemble searchPath builder arguments; }}
    """
    printed = json.loads(
        output("nix-instantiate", "--eval", "--strict", "--json", "-E", _PKGS + question)
    )
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    assert printed["assemble"] == f"/nix/store/assemble-{version}/bin/assemble"
    assert printed["searchPath"] == "/nix/store/coreutils/bin"
    assert printed["builder"] == "/nix/store/bash/bin/bash"
    assert printed["arguments"][:4] == ["--system", demo_system, "--size", "4096M"]
    assert printed["arguments"][-2:] == ["--generation", f"7={demo_system}"]


def test_kvm_is_not_asked_for(demo_system: str) -> None:
    question = f"""(import {_EXPRESSION} {{ inherit pkgs; }}
        {{ toplevel = builtins.storePath "{demo_system}"; }}).drvAttrs ? requiredSystemFeatures"""
    assert output("nix-instantiate", "--eval", "-E", _PKGS + question).strip() == b"false"


def test_the_package_has_the_program_and_nothing_that_is_built_beside_it() -> None:
    question = f"builtins.readDir (pkgs.callPackage {REPOSITORY}/nix/package.nix {{ }}).src"
    printed = output(
        "nix-instantiate",
        "--eval",
        "--read-write-mode",
        "--strict",
        "--json",
        "-E",
        _PKGS + question,
    )
    assert json.loads(printed) == {
        "LICENSE": "regular", "README.md": "regular", "assemble_start.py": "regular",
        "assembler": "directory", "pyproject.toml": "regular", "setup.py": "regular",
    }  # fmt: skip
