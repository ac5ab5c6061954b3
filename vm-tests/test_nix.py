"""Nix in the booted machine: it verifies, builds, collects, and rebuilds the system offline.

The tests share one boot of an image that has the build-time closure, in this order; each can also
run alone.

Without these tests, Nix on the machine can find its store damaged, or need the network for a
rebuild.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from qemu import Machine
from tests.support.places import REPOSITORY

# Without KVM on two busy cores a boot takes ten seconds and hashing the store sixty.
BOOT_SECONDS = 180
COMMAND_SECONDS = 60
BUILD_SECONDS = 300
MEMORY = 1024  # MiB

PROFILE = "/nix/var/nix/profiles/system"
LINKS = ("", "-1-link", "-2-link")
AS_USER = "setpriv --reuid 1000 --regid 100 --init-groups env HOME=/home/user NIX_REMOTE=daemon"
# The steps that `nix-store --verify --check-contents` names; all else would be a fault.
STEPS = {
    "reading the Nix store...",
    "checking path existence...",
    "checking link hashes...",
    "checking store hashes...",
}

CONFIGURATION = """\
{ ... }@changes:
let
  inputs = builtins.fromJSON (builtins.readFile ./inputs.json);
in
import ./demo-system (
  {
    debs = map (deb: deb // { src = builtins.storePath deb.src; }) inputs.debs;
    bootstrap = builtins.storePath inputs.bootstrap;
  }
  // changes
)
"""
CHANGES = "--argstr label 23.05.second --argstr bootModules 'virtio_pci virtio_blk ext4'"

# The kernel's word for who a builder is.
WHO_BUILDS = """\
derivation {
  name = "who-builds";
  system = "x86_64-linux";
  builder = "/bin/sh";
  args = [
    "-c"
    ''
      while read -r key id _; do
        case $key in Uid: | Gid:) echo $id ;; esac
      done < /proc/self/status > $out
    ''
  ];
}
"""


def ask(*argv: str | Path) -> str:
    """What a program of the host prints."""
    return subprocess.run(argv, capture_output=True, check=True, text=True, timeout=60).stdout


@pytest.fixture(scope="module")
def derivation(demo_system: str) -> str:
    """The demo system's own."""
    return ask("nix-store", "--query", "--deriver", demo_system).strip()


@pytest.fixture(scope="module")
def closure(derivation: str) -> set[str]:
    """The build-time closure, which the system's own is part of, as the host's Nix lists it."""
    listed = ask("nix-store", "--query", "--requisites", "--include-outputs", derivation)
    return set(listed.split())


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What will be /etc/nixos: the demo's expression, and the store paths of what it is made of."""
    directory = tmp_path_factory.mktemp("configuration") / "nixos"
    demo = REPOSITORY / "scripts" / "demo-system"
    shutil.copytree(demo, directory / "demo-system")
    build = REPOSITORY / "build"
    arguments = ["--arg", "debs", f"{build}/debs", "--arg", "bootstrap", f"{build}/bootstrap"]
    evaluate = ["nix-instantiate", "--eval", "--strict", "--json", str(demo), "--attr", "inputs"]
    (directory / "inputs.json").write_text(ask(*evaluate, *arguments))
    (directory / "default.nix").write_text(CONFIGURATION)
    (directory / "who-builds.nix").write_text(WHO_BUILDS)
    return directory


@pytest.fixture(scope="module")
def image(
    assemble_command: Path,
    demo_system: str,
    configuration: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The demo system with what built it, and with its configuration in /etc/nixos."""
    assert os.geteuid() != 0, "an image made by root proves nothing"
    out = tmp_path_factory.mktemp("image") / "disk.raw"
    contents = out.with_name("contents.json")
    contents.write_text(json.dumps([{"source": str(configuration), "target": "/etc/nixos"}]))
    subprocess.run(
        [
            *(assemble_command, "--out", out, "--system", demo_system),
            *("--include-build-deps", "--contents", contents),
        ],
        check=True,
        timeout=600,
    )
    return out


@pytest.mark.parametrize("option", ["", "--include-build-deps"])
def test_only_with_the_build_time_closure_the_configuration_can_be_evaluated(
    *,
    assemble_command: Path,
    demo_system: str,
    derivation: str,
    configuration: Path,
    tmp_path: Path,
    option: str,
) -> None:
    prepare_root = str(assemble_command.with_name("prepare-root"))
    command = [prepare_root, str(tmp_path), "--system", demo_system, *option.split()]
    subprocess.run(command, check=True, timeout=600)
    store = ["--store", f"local?root={tmp_path}", "--option", "substituters", ""]
    done = subprocess.run(
        ["nix-instantiate", *store, configuration],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    ask("chmod", "-R", "u+w", tmp_path)
    shutil.rmtree(tmp_path)  # some 500 MB
    if option:
        assert done.stdout.strip() == derivation
    else:
        assert done.returncode != 0
        assert re.search("error: path '/nix/store/.*-bootstrap-tools' does not exist", done.stderr)


@pytest.fixture(scope="module")
def machine(image: Path) -> Iterator[Machine]:
    """The machine, booted; what it writes stays in the image."""
    with Machine(image, memory=MEMORY, keep=True) as machine:
        machine.wait_for(r"^demo: ready", timeout=BOOT_SECONDS)
        yield machine


def test_nix_finds_no_fault_in_the_store(machine: Machine) -> None:
    printed = machine.run("nix-store --verify --check-contents", timeout=BUILD_SECONDS)
    assert set(printed.splitlines()) <= STEPS


def test_an_ordinary_user_builds_through_the_daemon_as_a_build_user(machine: Machine) -> None:
    printed = machine.run(
        f"cd /home/user && {AS_USER} nix-build --no-out-link /etc/nixos/who-builds.nix",
        timeout=COMMAND_SECONDS,
    )
    output = printed.splitlines()[-1]
    assert output.endswith("-who-builds")
    uid, gid = machine.run(f"cat {output}", timeout=COMMAND_SECONDS).split()
    assert 30001 <= int(uid) <= 30008
    assert gid == "30000"
    owners = machine.run(f"stat -c '%u:%g %a' /nix/store {output}", timeout=COMMAND_SECONDS)
    assert owners.splitlines() == ["0:30000 1775", "0:0 444"]
    connections = machine.run("cat /run/nix-daemon.log", timeout=COMMAND_SECONDS)
    assert re.search(r"accepted connection from pid \d+, user user", connections)


def test_a_collection_takes_what_was_added_and_nothing_of_the_closure(
    machine: Machine, closure: set[str], derivation: str
) -> None:
    added = machine.run("date > /tmp/added && nix-store --add /tmp/added", timeout=COMMAND_SECONDS)
    machine.run(f"nix-store --check-validity {added} && test -e {added}", timeout=COMMAND_SECONDS)
    collected = machine.run("nix-collect-garbage", timeout=BUILD_SECONDS)
    assert f"deleting '{added}'" in collected
    invalid = f"nix-store --check-validity --print-invalid {added}"
    assert machine.run(invalid, timeout=COMMAND_SECONDS) == added
    left = machine.run("ls -1 /nix/store", timeout=COMMAND_SECONDS).splitlines()
    assert set(left) == {PurePosixPath(path).name for path in closure}
    question = f"nix-store --query --requisites --include-outputs {derivation}"
    assert set(machine.run(question, timeout=COMMAND_SECONDS).split()) == closure


def test_the_configuration_gives_the_very_same_system(
    machine: Machine, demo_system: str, derivation: str
) -> None:
    evaluated = machine.run("nix-instantiate /etc/nixos 2>/dev/null", timeout=COMMAND_SECONDS)
    assert evaluated == derivation
    built = machine.run("nix-build --no-out-link /etc/nixos", timeout=COMMAND_SECONDS)
    assert built == demo_system  # and not a word of anything that had to be built


@pytest.fixture(scope="module")
def rebuilt(machine: Machine) -> list[str]:
    """What nix-build prints for a changed configuration; the new toplevel comes last."""
    command = f"nix-build --no-out-link /etc/nixos {CHANGES}"
    return machine.run(command, timeout=BUILD_SECONDS).splitlines()


def test_a_changed_configuration_is_built_offline(
    machine: Machine, demo_system: str, rebuilt: list[str]
) -> None:
    assert machine.run("ls /sys/class/net", timeout=COMMAND_SECONDS) == "lo"
    settings = machine.run("nix show-config", timeout=COMMAND_SECONDS).splitlines()
    assert "substituters =" in [line.rstrip() for line in settings]

    log = "\n".join(rebuilt)
    built = re.findall(r"^building '/nix/store/[^-]*-(.*)\.drv'", log, re.MULTILINE)
    assert [re.sub(r"-linux-.*", "", name) for name in sorted(built)] == [
        "etc",
        "initrd",
        "nixos-system-demo-23.05.second",
    ]
    assert not re.search("(?i)substitut|fetch|copying path|download|https?:", log), log

    toplevel = rebuilt[-1]
    assert toplevel != demo_system
    machine.run(f"nix-store --check-validity {toplevel}", timeout=COMMAND_SECONDS)
    version = machine.run(f"cat {toplevel}/nixos-version", timeout=COMMAND_SECONDS)
    assert version == "23.05.second"


def test_the_rebuilt_system_boots_as_generation_2(
    image: Path, machine: Machine, demo_system: str, rebuilt: list[str]
) -> None:
    toplevel = rebuilt[-1]
    machine.run(f"nix-env --profile {PROFILE} --set {toplevel}", timeout=COMMAND_SECONDS)
    machine.run(f"{PROFILE}/bin/switch-to-configuration boot", timeout=COMMAND_SECONDS)
    machine.write("exit\n")
    machine.wait_off(timeout=COMMAND_SECONDS)

    with Machine(image, memory=MEMORY) as again:
        again.wait_for(f"^demo: ready {re.escape(toplevel)}$", timeout=BOOT_SECONDS)
        started = again.run("cat /proc/cmdline", timeout=COMMAND_SECONDS).split()
        assert f"init={toplevel}/init" in started
        links = "/run/current-system " + " ".join(f"{PROFILE}{end}" for end in LINKS)
        assert again.run(f"readlink {links}", timeout=COMMAND_SECONDS).split() == [
            toplevel,
            "system-2-link",
            demo_system,
            toplevel,
        ]
        label = again.run("cat /etc/os-release", timeout=COMMAND_SECONDS)
        assert "NixOS 23.05.second" in label
        faults = again.run("nix-store --verify", timeout=BUILD_SECONDS)
        assert set(faults.splitlines()) <= STEPS
