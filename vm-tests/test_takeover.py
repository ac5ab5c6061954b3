"""A machine made by this tool is handed over to its system's own boot loader installer.

The demo's installer behaves as NixOS's: it writes the menu at every change of generation, and
installs GRUB anew only when something differs from what was installed, or when told to.
"""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from qemu import Firmware, Machine

BOOT_SECONDS = 180
COMMAND_SECONDS = 120
MEMORY = 512  # MiB: the disk's own GRUB reads 280 modules, and Nix its database

PROFILE = "/nix/var/nix/profiles/system"
SWITCH = f"{PROFILE}/bin/switch-to-configuration boot"
# What is installed, as opposed to what is configured: boot sector, BIOS boot partition, ESP.
INSTALLED = (
    "head -c 512 /dev/vda | sha256sum; "
    "[ ! -e /dev/vda3 ] || sha256sum < /dev/vda2; "
    "find /boot/EFI /boot/efi/EFI -iname '*.efi' ! -path '*/nixos/*' 2>/dev/null | "
    "sort | xargs -r sha256sum"
)

GRUB_BIOS = "installing the GRUB 2 boot loader on /dev/vda..."
GRUB_EFI = "installing the GRUB 2 boot loader into {}..."
ROWS = [
    ("hybrid", "grub", {}, "bios", [GRUB_BIOS, GRUB_EFI.format("/boot/efi")]),
    ("efi", "grub", {"boot": "esp", "efi": "only"}, "efi", [GRUB_EFI.format("/boot")]),
    (
        "efi",
        "systemd-boot",
        {"boot": "esp", "bootLoader": "systemd-boot"},
        "efi",
        ["installing systemd-boot into /boot..."],
    ),
]


@contextmanager
def started(image: Path, firmware: Firmware, system: str) -> Iterator[Callable[[str], str]]:
    """Starts the machine, which must come up with `system`, to run commands; then turns it off.

    Switched off and on again a machine is up much sooner, without KVM, than after a reboot.
    """
    with Machine(image, firmware=firmware, memory=MEMORY, keep=True) as machine:
        machine.wait_for(f"^demo: ready {re.escape(system)}$", timeout=BOOT_SECONDS)
        yield partial(machine.run, timeout=COMMAND_SECONDS)
        machine.write("exit\n")
        machine.wait_off(timeout=COMMAND_SECONDS)


@pytest.mark.parametrize(
    ("table", "boot_loader", "parameters", "firmware", "announced"),
    ROWS,
    ids=[" ".join([*row[:2], row[3]]) for row in ROWS],
)
def test_the_systems_own_installer_takes_over(
    *,
    assemble_command: Path,
    demo_variant: Callable[..., str],
    tmp_path: Path,
    table: str,
    boot_loader: str,
    parameters: dict[str, str],
    firmware: Firmware,
    announced: list[str],
) -> None:
    assert os.geteuid() != 0, "an image made by root proves nothing"
    first = demo_variant(**parameters)
    second = demo_variant(**parameters, label="23.05.second")
    image = tmp_path / "disk.raw"
    command: list[str | Path] = [
        *(assemble_command, "--out", image, "--system", first, "--additional-path", second),
        *("--partition-table", table, "--boot-loader", boot_loader),
    ]
    subprocess.run(command, check=True, timeout=600)

    with started(image, firmware, first) as run:
        ours = run(INSTALLED)
        run(f"nix-env --profile {PROFILE} --set {second}")
        assert "installing" not in run(SWITCH)
        assert run(INSTALLED) == ours

    with started(image, firmware, second) as run:
        assert f"init={second}/init" in run("cat /proc/cmdline").split()
        assert run(f"readlink {PROFILE}") == "system-2-link"
        assert run(INSTALLED) == ours
        said = run(f"NIXOS_INSTALL_BOOTLOADER=1 {SWITCH}").splitlines()
        assert [line for line in said if line.startswith("installing")] == announced
        theirs = run(INSTALLED)
        if boot_loader == "grub":  # systemd-boot is one program, whoever copies it
            assert theirs != ours
        assert "installing" not in run(SWITCH)
        assert run(INSTALLED) == theirs

    with started(image, firmware, second) as run:
        assert run(INSTALLED) == theirs
    image.unlink()
