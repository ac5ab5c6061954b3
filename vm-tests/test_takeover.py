"""A machine made by this tool is handed over to its system's own boot loader installer.

So are others in test_matrix.py, in fewer steps.
"""

import os
import re
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from installer import GRUB_BIOS, GRUB_EFI, INSTALL, PROFILE, SWITCH, announced, installed
from qemu import Firmware, Machine, Options

BOOT_SECONDS = 180
COMMAND_SECONDS = 120
MEMORY = 512  # MiB: the disk's own GRUB reads 280 modules, and Nix its database

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


def turn_off(machine: Machine) -> None:
    """Ends the shell on the console, and with it the machine."""
    machine.write("exit\n")
    machine.wait_off(timeout=COMMAND_SECONDS)


def come_up(machine: Machine, system: str) -> Callable[[str], str]:
    """Waits until the machine runs `system`; gives what runs commands there."""
    machine.wait_for(f"^demo: ready {re.escape(system)}$", timeout=BOOT_SECONDS)
    return partial(machine.run, timeout=COMMAND_SECONDS)


@pytest.mark.parametrize(
    ("table", "boot_loader", "parameters", "firmware", "installing"),
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
    installing: list[str],
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

    look = installed(table)
    options = Options(firmware=firmware, memory=MEMORY, keep=True)
    reboots = table == "hybrid"  # without KVM that takes longer than to turn it off and on
    first_options: Options = {**options, "reboots": reboots}
    with ExitStack() as stack:
        machine = stack.enter_context(Machine(image, **first_options))
        run = come_up(machine, first)
        ours = run(look)
        run(f"nix-env --profile {PROFILE} --set {second}")
        assert announced(run(SWITCH)) == []
        assert run(look) == ours
        if reboots:
            machine.reboot()
        else:
            turn_off(machine)
            machine = stack.enter_context(Machine(image, **options))

        run = come_up(machine, second)
        assert f"init={second}/init" in run("cat /proc/cmdline").split()
        assert run(f"readlink {PROFILE}") == "system-2-link"
        assert run(look) == ours
        assert announced(run(INSTALL)) == installing
        theirs = run(look)
        if boot_loader == "grub":  # systemd-boot is one program, whoever copies it
            assert theirs != ours
        assert announced(run(SWITCH)) == []
        assert run(look) == theirs
        turn_off(machine)

    with Machine(image, **options) as machine:
        assert come_up(machine, second)(look) == theirs
    image.unlink()
