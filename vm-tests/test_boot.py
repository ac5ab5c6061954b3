"""The demo system, assembled by an unprivileged user, boots and is whole.

test_nix.py hashes the files of a larger image in the machine, which takes longest, and the same
image starts by BIOS in test_matrix.py.

Without these tests, an image that every checker accepts can fail to boot.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest

from qemu import Machine

# Without KVM on two busy cores a boot takes ten seconds.
BOOT_SECONDS = 180
SCRIPT_SECONDS = 300

CHECK = r"""set -eu
run() { echo "check: $*"; "$@"; }

run nix-store --verify
nix-store --query --requisites /run/current-system | wc -l | sed 's/^/paths: /'
readlink /nix/var/nix/profiles/system /nix/var/nix/profiles/system-1-link | sed 's/^/profile: /'

expression() {
  printf 'derivation { name = "built"; system = "x86_64-linux"; builder = "/bin/sh";
    args = [ "-c" "echo $((%s)) > $out" ]; }' "$1"
}
echo "built: $(cat "$(nix-build --no-out-link -E "$(expression '6 * 7')")")"
cd /home/user
echo "built: $(HOME=/home/user setpriv --reuid 1000 --regid 100 --init-groups \
  bash -c 'cat "$(nix-build --no-out-link -E "$0")"' "$(expression '7 * 7')")"

stat -c 'mode: %n %u:%g %a' /nix/store /tmp /root "$(readlink -f /run/current-system)"
mount | grep ' on / ' | sed 's/^/mount: /'
dmesg | { grep -E 'EXT4-fs (error|warning)|I/O error' || :; } | sed 's/^/trouble: /'
"""


@pytest.fixture(scope="module")
def image(
    assemble_command: Path, demo_system: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A raw image of the demo system, made by the command as a user would run it."""
    assert os.geteuid() != 0, "an image made by root proves nothing"
    out = tmp_path_factory.mktemp("image") / "disk.raw"
    subprocess.run(
        [assemble_command, "--out", out, "--system", demo_system], check=True, timeout=600
    )
    return out


def test_the_booted_system_is_whole(image: Path, demo_system: str) -> None:
    with Machine(image, firmware="efi") as machine:
        ready = machine.wait_for(r"^demo: ready (\S+)$", timeout=BOOT_SECONDS)
        assert ready[1] == demo_system
        assert machine.run("[ -d /sys/firmware/efi ] && echo efi", timeout=30) == "efi"
        assert machine.run("id -u", timeout=30) == "0"
        log = machine.run(f"(\n{CHECK})", timeout=SCRIPT_SECONDS)
        machine.write("exit\n")
        machine.wait_off(timeout=30)

    def printed(key: str) -> list[str]:
        return re.findall(rf"^{key}: (.*)$", log, re.MULTILINE)

    closure = subprocess.run(
        ["nix-store", "-qR", demo_system], capture_output=True, check=True, timeout=60
    )
    assert printed("paths") == [str(len(closure.stdout.splitlines()))]
    assert printed("profile") == ["system-1-link", demo_system]
    assert printed("built") == ["42", "49"]
    assert printed("mode") == [
        "/nix/store 0:30000 1775",
        "/tmp 0:0 1777",
        "/root 0:0 700",
        f"{demo_system} 0:0 555",
    ]
    assert [line.split()[4] for line in printed("mount")] == ["ext4"]
    assert not printed("trouble"), log
    assert not re.search("(?i)warning: |error: |missing|modified", log), log
