"""nix/make-disk-image.nix, evaluated with a stand-in for nixpkgs.

Without these tests, an argument of nixpkgs' function can be missing, have another default, or get
lost on its way to the command.
"""

from typing import Any

import pytest

from tests.support.nix_eval import evaluate, refused

# As in nixpkgs, nixos/lib/make-disk-image.nix; true for arguments with a default.
ARGUMENTS = {
    "pkgs": False, "lib": False, "config": False, "diskSize": True, "additionalSpace": True,
    "bootSize": True, "contents": True, "partitionTableType": True, "installBootLoader": True,
    "touchEFIVars": True, "OVMF": True, "efiFirmware": True, "efiVariables": True, "fsType": True,
    "label": True, "configFile": True, "postVM": True, "memSize": True, "onlyNixStore": True,
    "name": True, "format": True, "baseName": True, "deterministic": True, "rootGPUID": True,
    "rootFSUID": True, "copyChannel": True, "additionalPaths": True,
}  # fmt: skip
ROOT = "F222513B-DED1-49FA-B591-20CE86A2FE7F"
FIRST, SECOND = "1C06F03B-704E-4657-B9CD-681A087A2FDC", "970C694F-AFD0-4B99-B750-CDB7A329AB6F"
DISK = "97FD5997-F390-0B4A-A3F8-D106C1723AEA"  # what sgdisk 1.0.9 and 1.0.10 make of 35 characters
SYSTEM = "/nix/store/00000000000000000000000000000000-nixos-system"


def image(arguments: str = "", loaders: str = "grub.enable = true;") -> str:
    """The expression of an image of a system with these boot loaders."""
    return f"""
      import (source + /nix/make-disk-image.nix) {{
        inherit pkgs; inherit (pkgs) lib; copyChannel = false;
        config = {{
          boot.loader = {{ {loaders} }};
          system.build.toplevel = "{SYSTEM}";
          system.build.nixos-install = "/nix/store/nixos-install";
        }};
        {arguments}
      }}"""


def options(arguments: str = "", loaders: str = "grub.enable = true;") -> dict[str, Any]:
    """The options that the command gets, and their values; a list where one comes repeatedly."""
    words = evaluate(f"({image(arguments, loaders)}).arguments")
    found: dict[str, Any] = {}
    while words:
        option = words.pop(0)
        value = words.pop(0) if words and not words[0].startswith("--") else True
        if option == "--partition-guid":
            value = [*found.get(option, []), value]
        found[option] = value
    return found


def test_the_arguments_are_those_of_nixpkgs() -> None:
    function = "builtins.functionArgs (import (source + /nix/make-disk-image.nix))"
    assert evaluate(function) == ARGUMENTS


def test_defaults() -> None:
    assert options() == {
        "--system": SYSTEM, "--size": "auto", "--additional-space": "512M", "--boot-size": "256M",
        "--label": "nixos", "--partition-table": "legacy", "--sector-size": "512",
        "--format": "raw", "--layout": "nixpkgs", "--root-uuid": ROOT,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("table", "guids"),
    [
        (
            "legacy+gpt",
            [FIRST, SECOND],
        ),  # nixpkgs means the root by a third GUID, and there is none
        ("efi", [FIRST, ROOT]),
        ("efixbootldr", [FIRST, SECOND, ROOT]),
        ("hybrid", [FIRST, SECOND, ROOT]),
    ],
)
def test_a_gpt_has_the_guids_of_nixpkgs(table: str, guids: list[str]) -> None:
    asked = f'partitionTableType = "{table}";'
    found = options(asked)
    assert found["--partition-guid"] == [f"{n}={guid}" for n, guid in enumerate(guids, 1)]
    assert found["--disk-guid"] == DISK
    derived = options(f"{asked} deterministic = false;")
    assert not {"--partition-guid", "--disk-guid", "--root-uuid"} & derived.keys()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("diskSize = 4096;", {"--size": "4096M"}),
        ('diskSize = "4096"; bootSize = "1.5G";', {"--size": "4096M", "--boot-size": "1.5G"}),
        ("installBootLoader = false;", {"--boot-loader": "none"}),
        ('partitionTableType = "none";', {"--boot-loader": "grub", "--partition-table": "none"}),
        ('additionalPaths = [ "/nix/store/x" ];', {"--additional-path": "/nix/store/x"}),
        ('configFile = "/nix/store/c";', {"--configuration": "/nix/store/c"}),
        (
            "onlyNixStore = true; installBootLoader = false;",
            {"--store-only": True, "--label": "nix-store", "--boot-loader": "none"},
        ),
        ("memSize = 4096; rootFSUID = null; deterministic = false;", {"--label": "nixos"}),
    ],
)
def test_arguments_become_options(arguments: str, expected: dict[str, Any]) -> None:
    assert expected.items() <= options(arguments).items()


@pytest.mark.parametrize(
    ("format", "file", "option", "word"),
    [
        ("raw", "x.img", "raw", "raw"),
        ("qcow2", "x.qcow2", "qcow2", "qcow2"),
        ("qcow2-compressed", "x.qcow2", "qcow2-compressed", "qcow2"),
        ("vdi", "x.vdi", "vdi", "vdi"),
        ("vpc", "x.vhd", "vhd-dynamic", "vpc"),
    ],
)
def test_an_image_has_the_name_that_nixpkgs_gives_it(
    format: str, file: str, option: str, word: str
) -> None:
    made = image(f'baseName = "x"; format = "{format}";')
    found = evaluate(f"let i = {made}; in {{ inherit (i) fileName arguments args name; }}")
    assert (found["fileName"], found["name"]) == (file, "nixos-disk-image")
    assert found["arguments"][found["arguments"].index("--format") + 1] == option
    assert f'echo "file {word}-image $diskImage" >> $out/nix-support/hydra' in found["args"][1]


def test_a_system_without_a_menu_gets_none_on_a_bare_file_system() -> None:
    assert "--boot-loader" not in options('partitionTableType = "none";', "")


def test_the_channel_is_nixpkgs_itself() -> None:
    """Its name and its files."""
    asked = 'copyChannel = true; config = { boot.loader = { }; system = { build.toplevel = "/x"; '
    asked += 'nixos = { version = "26.11pre"; versionSuffix = "pre"; }; }; };'
    expression = image().replace("copyChannel = false;", asked).partition("config = {\n")[0] + "}"
    words = evaluate(f"({expression}).arguments", "--read-write-mode")
    assert words[words.index("--channel") + 1].endswith("-nixos-26.11pre")


def test_nothing_is_evaluated_that_is_not_used() -> None:
    """Firmware is a large package, and on some platforms there is none."""
    broken = 'OVMF = throw "firmware"; memSize = throw "memory";'
    assert options(broken)["--size"] == "auto"
    with_vars = 'partitionTableType = "efi"; touchEFIVars = true;'
    assert refused(f"({image(broken + with_vars)}).args") == ["firmware"]


def test_no_machine_is_started() -> None:
    assert not evaluate(f"({image()}) ? requiredSystemFeatures")


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (
            'partitionTableType = "legcy+gpt"; format = "qcow";',
            [
                'partitionTableType is "legcy+gpt", which is none of legacy, legacy+boot, none, '
                "efi, efixbootldr, hybrid, legacy+gpt; did you mean legacy+gpt?",
                'format is "qcow", which is none of qcow2, qcow2-compressed, raw, vdi, vhdx, vmdk, '
                "vpc; did you mean qcow2?",
            ],
        ),
        (
            'fsType = "xfs"; partitionTableType = "none"; rootFSUID = null;',
            [
                'fsType is "xfs", and only ext4 is made without a virtual machine: take ext4, or '
                "nixpkgs' make-disk-image",
                "rootFSUID is null: set it, or deterministic = false",
            ],
        ),
        (
            'diskSize = "8G"; additionalSpace = "lots"; bootSize = "256MiB";',
            [
                'diskSize is "8G", which is neither "auto" nor a number of MiB',
                'additionalSpace is "lots", which is no size such as "512M" or "1G"',
                'bootSize is "256MiB", which is no size such as "256M" or "1G"',
            ],
        ),
        (
            'contents = [ { source = ./x; target = "/a"; user = "1"; usr = ""; } { mode = ""; } ];',
            [
                'a key of contents is "usr", which is none of source, target, mode, user, group, '
                "xattrs; did you mean user?",
                "the row of contents for /a has one of user and group: set both, or none",
                "a row of contents lacks a source or a target",
            ],
        ),
        (
            'rootGPUID = "7"; partitionTableType = "efi";',
            ['rootFSUID is "7", which is no UUID', 'rootGPUID is "7", which is no GUID'],
        ),
        (
            "touchEFIVars = true; onlyNixStore = true; configFile = ./x;",
            [
                "touchEFIVars is for a GPT: set partitionTableType to efi, efixbootldr, hybrid, "
                "legacy+gpt",
                "onlyNixStore is for the store alone: leave contents and configFile out, and set "
                "installBootLoader = false",
            ],
        ),
    ],
)
def test_what_cannot_be_is_refused_at_once(arguments: str, lines: list[str]) -> None:
    assert refused(image(arguments)) == [f"make-disk-image.nix: {line}" for line in lines]


def test_a_boot_loader_that_needs_a_machine_to_be_installed() -> None:
    loaders = "grub.enable = false; limine.enable = true;"
    [line] = refused(image("", loaders))
    assert line.startswith("make-disk-image.nix: boot.loader.limine is enabled, and its installer ")
    assert options("installBootLoader = false;", loaders)["--boot-loader"] == "none"


def test_an_argument_that_there_is_not() -> None:
    [line] = refused(image("partitionTable = 1;"))
    assert "called with unexpected argument 'partitionTable'" in line
