"""Images that nix/make-disk-image.nix makes in Nix builds, read by other programs.

Without these tests, what nixpkgs' function gives besides an image can be missing, or an image can
have other partitions than that of nixpkgs.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.helpers import output
from tests.support.places import CHECK_IMAGE, COMMANDS, REPOSITORY
from tests.support.programs import run

FIRST, SECOND = "1C06F03B-704E-4657-B9CD-681A087A2FDC", "970C694F-AFD0-4B99-B750-CDB7A329AB6F"
DISK, ROOT = "97FD5997-F390-0B4A-A3F8-D106C1723AEA", "F222513B-DED1-49FA-B591-20CE86A2FE7F"
VARIABLES = "/usr/share/OVMF/OVMF_VARS_4M.fd"

# The path of the command does not change with its code: a word that is new in each run makes a new
# derivation.
EXPRESSION = """
let
  nixpkgs = import %(source)s/tests/support/nixpkgs { };
  commands.outPath = "%(commands)s";
  pkgs = nixpkgs // {
    buildPackages = nixpkgs // {
      callPackage = _: _: commands;
      python3Packages.virt-firmware = commands;
    };
  };
in
import %(source)s/nix/make-disk-image.nix {
  inherit pkgs;
  inherit (pkgs) lib;
  name = "image-%(word)s";
  config = {
    boot.loader.grub.enable = true;
    boot.loader.efi.canTouchEfiVariables = true;
    system = {
      build.toplevel = %(system)s;
      build.nixos-install = "/nix/store/nixos-install";
      nixos.version = "26.11pre";
      nixos.versionSuffix = "pre";
    };
  };
  %(arguments)s
}
"""

Build = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    """Build an image of a system, by a Nix expression for it, with some arguments.

    It is at `tmp_path`/result until the test ends.
    """
    link = tmp_path / "result"

    def image(system: str, arguments: str) -> "subprocess.CompletedProcess[str]":
        word = f"{os.getpid()}-{time.time_ns()}"
        file = tmp_path / "image.nix"
        file.write_text(
            EXPRESSION
            % {
                "source": REPOSITORY,
                "commands": COMMANDS.parent,
                "word": word,
                "system": system,
                "arguments": arguments,
            }
        )
        return run("nix-build", file, "--out-link", link)

    yield image
    if link.is_symlink():
        made = link.readlink()
        link.unlink()
        output("nix-store", "--delete", made)


def dump(image: Path) -> list[str]:
    """The partition table as sfdisk prints it, without the name of the file."""
    lines = output("/sbin/sfdisk", "--dump", image).decode().splitlines()
    return [line.replace(str(image), "").replace(" ", "") for line in lines if line]


def test_a_whole_system(build: Build, demo_system: str, tmp_path: Path) -> None:
    (tmp_path / "motd").write_text("hello\n")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "one").write_text("1")
    (tmp_path / "configuration.nix").write_text("{ }\n")
    done = build(
        f'builtins.storePath "{demo_system}"',
        f"""
        partitionTableType = "hybrid"; bootSize = "64M"; additionalSpace = "0M"; baseName = "x";
        configFile = {tmp_path}/configuration.nix;
        contents = [
          {{
            source = {tmp_path}/motd; target = "etc/motd";
            user = "7"; group = "users"; mode = "u=rw,go=";
          }}
          {{ source = "${{{tmp_path}/docs}}/*"; target = "/srv"; }}
        ];
        touchEFIVars = true; efiVariables = {VARIABLES};
        postVM = ''
          echo "$(sectorsToBytes 2) $(sectorsToKilobytes 8) $diskImage" > $out/after
          [ "$PWD" = "$HOME" ] && [[ $PATH == */nix/store/parted/bin:* ]]
        '';
        """,
    )
    assert done.returncode == 0, done.stderr
    out = (tmp_path / "result").readlink()
    image = out / "x.img"
    assert {one.name for one in out.iterdir()} == {"x.img", "efi-vars.fd", "nix-support", "after"}
    assert (out / "after").read_text() == f"1024 4 {image}\n"
    products = (out / "nix-support/hydra-build-products").read_text()
    assert products == f"file raw-image {image}\n"

    # As parted 3.6 and sgdisk make it with nixpkgs' commands.
    size = image.stat().st_size // 512
    root = 65 * 2048
    types = (
        "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
        "21686148-6449-6E6F-744E-656564454649",
        "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
    )
    assert dump(image)[-3:] == [
        f'1:start=16384,size={root - 16384},type={types[0]},uuid={FIRST},name="ESP"',
        f'2:start=34,size=2014,type={types[1]},uuid={SECOND},name="no-fs"',
        f'3:start={root},size={size - 2048 - root},type={types[2]},uuid={ROOT},name="primary"',
    ]
    assert f"label-id:{DISK}" in dump(image)
    printed = output("/sbin/blkid", "-p", "-O", str(root * 512), "-o", "export", image).decode()
    assert {"LABEL=nixos", f"UUID={ROOT.lower()}", "TYPE=ext4"} <= {*printed.splitlines()}
    place = f"{image}?offset={root * 512}"
    output("/sbin/e2fsck", "-fn", place)

    def debugfs(request: str) -> str:
        return output("/sbin/debugfs", "-R", request, place).decode()

    assert debugfs("cat /etc/motd") == "hello\n"
    assert "Mode:  0600" in (status := debugfs("stat /etc/motd"))
    assert "User:     7   Group:   100" in status
    assert debugfs("cat /srv/one") == "1"
    assert debugfs("cat /etc/nixos/configuration.nix") == "{ }\n"
    channel = debugfs("stat /nix/var/nix/profiles/per-user/root/channels-1-link")
    assert "-nixos-26.11pre" in channel
    checked = json.loads(output(CHECK_IMAGE, "--json", image))
    assert [(one["firmware"], one["fault"]) for one in checked[0]["chains"]] == [
        ("BIOS", None),
        ("UEFI", None),
    ]
    variables = (out / "efi-vars.fd").read_bytes()
    assert len(variables) == Path(VARIABLES).stat().st_size
    for text in ("BootOrder", "Boot0000", "NixOS-boot", "\\EFI\\BOOT\\BOOTX64.EFI"):
        assert text.encode("utf-16-le") + b"\0\0" in variables


def test_a_store_alone_that_grows(build: Build, tmp_path: Path) -> None:
    """In the format that qemu-img calls vpc."""
    (tmp_path / "system").mkdir()
    (tmp_path / "system" / "init").write_text("")
    done = build(
        f'builtins.path {{ path = {tmp_path}/system; name = "nixos-system"; }}',
        """
        partitionTableType = "none"; format = "vpc"; additionalSpace = "0M"; copyChannel = false;
        onlyNixStore = true; installBootLoader = false;
        """,
    )
    assert done.returncode == 0, done.stderr
    out = (tmp_path / "result").readlink()
    image = out / "nixos.vhd"
    products = (out / "nix-support/hydra-build-products").read_text()
    assert products == f"file vpc-image {image}\n"
    assert json.loads(output("qemu-img", "info", "--output=json", image))["format"] == "vpc"
    raw = tmp_path / "raw"
    output("qemu-img", "convert", "-O", "raw", image, raw)
    output("/sbin/e2fsck", "-fn", raw)
    listed = output("/sbin/debugfs", "-R", "ls /", raw).decode()
    assert "-nixos-system" in listed
    assert output("/sbin/blkid", "-p", "-s", "LABEL", "-o", "value", raw) == b"nix-store\n"


def test_a_build_that_fails_names_the_argument(
    build: Build, demo_system: str, tmp_path: Path
) -> None:
    """The command names options, which the user of the function did not write."""
    done = build(f'builtins.storePath "{demo_system}"', "diskSize = 64; copyChannel = false;")
    assert done.returncode
    assert "assemble: --size 64.0 MiB is too small: " in done.stderr
    lines = [line for line in done.stderr.splitlines() if "is the argument" in line]
    assert [line.strip(" >") for line in lines][-1] == "--size is the argument diskSize"
    assert not (tmp_path / "result").exists()
