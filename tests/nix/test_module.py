"""nix/module.nix, evaluated with a stand-in for nixpkgs and its module system.

Without these tests, a variant can give another image than its target takes, or lose an option.
"""

import json
from typing import Any

import pytest

from assembler.formats.registry import FORMATS
from assembler.formats.targets import TARGETS
from nixpkgslib.facts import ending, facts
from tests.support.nix_eval import evaluate, refused
from tests.support.places import REPOSITORY

SYSTEM = "/nix/store/00000000000000000000000000000000-nixos-system"
ARM = "aarch64-linux"
# The variants, and the file that each of them is.
VARIANTS = {
    "amazon": "vhd", "azure": "vhd", "digital-ocean": "raw.gz", "google-compute": "raw.tar.gz",
    "hetzner": "raw.zst", "hyperv": "vhdx", "kubevirt": "qcow2", "libvirt": "qcow2",
    "linode": "raw.gz", "oci": "qcow2", "openstack": "qcow2", "proxmox": "vma", "qemu": "qcow2",
    "qemu-efi": "qcow2", "raw": "qcow2", "raw-efi": "qcow2", "virtualbox": "ova", "vmware": "vmdk",
}  # fmt: skip


def variant(name: str, wanted: str, configuration: str = "", platform: str = "x86_64-linux") -> str:
    """The expression of an attribute of a variant's configuration."""
    nixpkgs = REPOSITORY / "tests/support/nixpkgs"
    return f"""
      let
        pkgs = import {nixpkgs} {{ system = "{platform}"; }};
        user = {{ lib, ... }}: {{ image.assemble.copyChannel = lib.mkDefault false; }};
        nixos = pkgs.evalModules [
          {nixpkgs}/nixos/modules/system.nix (source + /nix/module.nix) user
          ({{ lib, ... }}: {{ {configuration} }})
        ];
        made = nixos.extendModules {{ modules = [ nixos.config.image.modules.{name} ]; }};
        faults = builtins.filter (one: !one.assertion) made.config.assertions;
      in {wanted}"""


def options(name: str, configuration: str = "") -> dict[str, Any]:
    """The options that the command gets, and their values."""
    words = evaluate(variant(name, "made.config.system.build.image.arguments", configuration))
    found: dict[str, Any] = {}
    while words:
        option = words.pop(0)
        found[option] = words.pop(0) if words and not words[0].startswith("--") else True
    return found


def faults(name: str, configuration: str = "", platform: str = "x86_64-linux") -> list[str]:
    wanted = "map (one: one.message) faults"
    return list(evaluate(variant(name, wanted, configuration, platform)))


def test_the_facts_are_those_of_the_program() -> None:
    """Otherwise a new target or format is unknown to the module."""
    assert json.loads((REPOSITORY / "nix/module/facts.json").read_text()) == facts()


def test_every_target_is_a_variant() -> None:
    variants = evaluate("builtins.attrNames (import (source + /nix/module/variants.nix))")
    assert variants == [*VARIANTS]
    assert {*TARGETS} < {*VARIANTS}


@pytest.mark.parametrize(("name", "end"), VARIANTS.items())
def test_the_image_of_a_variant(name: str, end: str) -> None:
    """It is where the module promises; and nixpkgs' own paths and images are gone."""
    wanted = """{
      inherit (made.config.image) filePath extension;
      inherit (made.config.system.build.image) fileName name;
    }"""
    assert evaluate(variant(name, wanted)) == {
        "filePath": f"nixos-image.{end}", "extension": end, "fileName": f"nixos-image.{end}",
        "name": f"nixos-image-{name}",
    }  # fmt: skip
    made = options(name)
    assert made["--system"] == SYSTEM
    assert made.get("--target") == (name if name in TARGETS else None)
    assert ending(FORMATS[made["--format"]]) == end
    assert faults(name) == []


def test_a_derivation_of_nix() -> None:
    drv = evaluate(variant("raw", "made.config.system.build.image.drvPath"), "--read-write-mode")
    assert drv.endswith("-nixos-image-raw.drv")


def test_options_for_all_variants_and_for_one() -> None:
    configuration = """
      image.assemble = {
        size = "8G"; additionalSpace = 100; bootSize = "1G"; sectorSize = 4096; label = "here";
        partitionTable = "efi"; bootLoader = "systemd-boot"; checksum = true; blockMap = true;
        format = "raw"; extraArgs = [ "--seed" "x" ];
      };
      image.modules.amazon = { image.assemble.format = lib.mkForce "vmdk-stream"; };
    """
    made = options("raw", configuration)
    assert made == {
        "--system": SYSTEM, "--size": "8G", "--additional-space": "100M", "--boot-size": "1G",
        "--label": "here", "--partition-table": "efi", "--boot-loader": "systemd-boot",
        "--sector-size": "4096", "--format": "raw", "--checksum": True, "--bmap": True,
        "--seed": "x",
    }  # fmt: skip
    assert options("amazon", configuration)["--format"] == "vmdk-stream"


def test_options_of_nixpkgs_are_honoured() -> None:
    assert options("proxmox", 'proxmox.partitionTableType = "hybrid";').items() >= {
        "--partition-table": "hybrid", "--additional-space": "700M", "--boot-size": "300M",
    }.items()  # fmt: skip
    assert options("hyperv", "virtualisation.diskSize = 4096;")["--size"] == "4096M"
    assert options("raw", 'image.format = "vpc";')["--format"] == "vhd"
    image = "made.config.system.build.image.contents"
    row = 'amazonImage.contents = [ { source = "/a"; target = "/b"; } ];'
    assert json.loads(evaluate(variant("amazon", image, row))) == [{"source": "/a", "target": "/b"}]


def test_options_of_nixpkgs_without_a_meaning_are_named() -> None:
    wanted = "made.config.warnings"
    assert evaluate(variant("proxmox", wanted)) == []
    [line] = evaluate(variant("proxmox", wanted, "proxmox.qemuConf.cores = 4;"))
    assert line.startswith("proxmox.qemuConf.cores is set, and has no meaning for an image that")


def test_a_channel_unless_nix_has_none() -> None:
    channel = "image.assemble.copyChannel = true;"
    wanted = "made.config.system.build.image.arguments"
    [path] = [
        word for word in evaluate(variant("raw", wanted, channel), "--read-write-mode")
        if word.endswith("-nixos-26.11")
    ]  # fmt: skip
    assert options("raw", f"{channel} nix.channel.enable = false;").get("--channel") is None
    assert path.startswith("/nix/store/")


@pytest.mark.parametrize(
    ("name", "configuration", "words"),
    [
        ("raw", 'fileSystems."/".fsType = "xfs";', "has the type xfs, and ext4 alone is made"),
        ("raw", "boot.loader.limine.enable = true;", "boot.loader.limine is enabled, and its"),
        (
            "azure",
            'image.assemble.format = "qcow2";',
            "the target azure takes vhd, not qcow2: ",
        ),
    ],
)
def test_what_cannot_be_is_an_assertion(name: str, configuration: str, words: str) -> None:
    [line] = faults(name, configuration)
    assert line.startswith("image.assemble: ")
    assert words in line


def test_a_target_without_machines_for_the_system() -> None:
    words = "the target linode has machines for x86_64-linux only, and the system is for "
    assert faults("linode", platform=ARM) == [f"image.assemble: {words}{ARM}"]


@pytest.mark.parametrize(
    ("setting", "guess"),
    [
        ('format = "qcow";', "qcow2"), ('target = "amazn";', "amazon"),
        ('partitionTable = "gpt";', "efi"), ('bootLoader = "grup";', "grub"),
    ],
)  # fmt: skip
def test_a_word_that_does_not_exist(setting: str, guess: str) -> None:
    wanted = "made.config.system.build.image.arguments"
    line, *_ = refused(variant("raw", wanted, f"image.assemble.{setting}"))
    assert line.startswith(f"image.assemble.{setting.split(maxsplit=1)[0]} is ")
    assert line.endswith(f"; did you mean {guess}?")
