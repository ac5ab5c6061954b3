"""Nix in the booted machine finds the generations, the channel and the configuration.

Without these tests, a machine can lack its older generations, its channel or its configuration.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from qemu import Machine

BOOT_SECONDS = 180
SCRIPT_SECONDS = 180

# Any derivation that nix-env can list, but need not build.
CHANNEL = """{ ... }: {
  tool = derivation {
    name = "tool-1.0"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ ];
  };
}
"""
CONFIGURATION = '{ ... }: { networking.hostName = "demo"; }\n'

SCRIPT = r"""#!/run/current-system/sw/bin/bash
set -eu
echo "nixpkgs: $(nix-instantiate --find-file nixpkgs)"
readlink -f "$(nix-instantiate --find-file nixpkgs)" | sed 's/^/resolved: /'
nix-env -qaP | tr -s ' ' | sed 's/^/available: /'
nix-env --profile /nix/var/nix/profiles/system --list-generations | tr -s ' ' |
  sed 's/^/generation: /'

nix-store --gc --print-roots | grep -v '^/proc' | sed 's/^/root: /'
nix-collect-garbage
ls -d /nix/var/nix/profiles/*/ /nix/var/nix/profiles/per-user/root/*/ | sed 's/^/alive: /'

sed 's/^/configuration: /' /etc/nixos/configuration.nix
printf '#!/usr/bin/env bash\necho "env: works"\n' > /tmp/script
chmod 755 /tmp/script
/tmp/script
stat -c 'mode: %n %u:%g %a' /root/.nix-defexpr /etc/nixos /etc/nixos/configuration.nix \
  /nix/var/nix/profiles/per-user/root /nix/var/nix/gcroots/per-user/root /var/empty
"""


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A channel and an older system in the live store."""
    place = tmp_path_factory.mktemp("added")
    files = {"nixos-23.05/nixos/default.nix": CHANNEL, "nixos-system-old/nixos-version": "22.11"}
    paths = []
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True)
        (place / name).write_text(content)
        command = ["nix-store", "--add", str(place / Path(name).parts[0])]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        paths.append(done.stdout.strip())
    yield paths[0], paths[1]
    subprocess.run(["nix-store", "--delete", *paths], check=True, capture_output=True)


def test_nix_in_the_machine_finds_what_it_was_given(
    assemble_command: Path, demo_system: str, added: tuple[str, str], tmp_path: Path
) -> None:
    channel, old = added
    image, configuration = tmp_path / "disk.raw", tmp_path / "configuration.nix"
    configuration.write_text(CONFIGURATION)
    subprocess.run(
        [
            assemble_command, "--out", image, "--system", demo_system, "--channel", channel,
            "--generation", f"41={old}", "--configuration", configuration,
        ],
        check=True,
        timeout=600,
    )  # fmt: skip
    with Machine(image, script=SCRIPT.encode()) as machine:
        machine.wait_for(r"^demo: ready", timeout=BOOT_SECONDS)
        status = machine.wait_for(r"^demo: exit (\d+)$", timeout=SCRIPT_SECONDS)[1]
        machine.wait_off(timeout=30)
        log = machine.log

    def printed(key: str) -> list[str]:
        return re.findall(rf"^{key}: (.*)$", log, re.MULTILINE)

    assert status == "0", log
    profiles = "/nix/var/nix/profiles"
    channels = f"{profiles}/per-user/root/channels"
    # Newer releases of Nix print where the links lead.
    assert printed("nixpkgs") in ([f"{channels}/nixos"], [f"{channel}/nixos"])
    assert printed("resolved") == [f"{channel}/nixos"]
    assert printed("available") == ["nixos.tool tool-1.0"]
    numbers = [(line.split()[0], "(current)" in line) for line in printed("generation")]
    assert numbers == [("41", False), ("42", True)]
    assert set(printed("root")) >= {
        f"{profiles}/system-41-link -> {old}",
        f"{profiles}/system-42-link -> {demo_system}",
        f"{channels}-1-link -> {channel}",
        f"/run/current-system -> {demo_system}",
        f"/run/booted-system -> {demo_system}",
    }
    assert {path.rstrip("/") for path in printed("alive")} >= {
        f"{profiles}/system-41-link",
        f"{profiles}/system-42-link",
        f"{channels}-1-link",
    }
    assert printed("configuration") == [CONFIGURATION.strip()]
    assert printed("env") == ["works"]
    assert printed("mode") == [
        "/root/.nix-defexpr 0:0 700",
        "/etc/nixos 0:0 755",
        "/etc/nixos/configuration.nix 0:0 644",
        f"{profiles}/per-user/root 0:0 755",
        "/nix/var/nix/gcroots/per-user/root 0:0 755",
        "/var/empty 0:0 555",
    ]
