"""The demo system boots where an appliance wrote it, or where it installed its own boot loader.

Without these tests, an image that was written in an appliance can fail to boot.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest

from qemu import Firmware, Machine

BOOT_SECONDS = 180
SCRIPT_SECONDS = 300

CHECK_SCRIPT = """#!/run/current-system/sw/bin/bash
set -eu
mount | sed -n 's/^.* on \\/ type \\([a-z0-9]*\\) .*/root: \\1/p'
nix-store --verify {verify} 2>&1 | sed 's/^/verify: /'
dmesg | { grep -E 'XFS .*(error|corrupt)|EXT4-fs (error|warning)|I/O error' || :; }
find /boot/grub -name core.img -newermt 2020-01-01 | sed 's/^/grub: /'
"""


def assemble(command: Path, system: str, out: Path, *options: str) -> Path:
    """An image made by the command as a user would run it."""
    assert os.geteuid() != 0, "an image made by root proves nothing"
    argv: list[str | Path] = [
        command,
        "--out",
        out,
        "--system",
        system,
        "--accelerator",
        "tcg",
        *options,
    ]
    subprocess.run(argv, check=True, timeout=600)
    return out


def test_an_ext4_by_the_appliance_boots(
    assemble_command: Path, demo_system: str, tmp_path: Path
) -> None:
    """By BIOS; how the appliance writes an ESP is the same for an XFS, which starts by UEFI."""
    image = assemble(assemble_command, demo_system, tmp_path / "disk.raw", "--writer", "guestfs")
    with Machine(image) as machine:
        ready = machine.wait_for(r"^demo: ready (\S+)$", timeout=BOOT_SECONDS)
        assert ready[1] == demo_system


@pytest.mark.parametrize(("boot_loader", "firmware"), [("grub", "efi"), ("system", "bios")])
def test_an_xfs_boots_and_is_whole(
    assemble_command: Path,
    demo_system: str,
    tmp_path: Path,
    boot_loader: str,
    firmware: Firmware,
) -> None:
    options = ["--filesystem", "xfs", "--boot-loader", boot_loader]
    image = assemble(assemble_command, demo_system, tmp_path / "disk.raw", *options)
    # One of the two images is enough for hashing all files, which takes longest.
    script = CHECK_SCRIPT.replace("{verify}", "--check-contents" if boot_loader == "system" else "")
    with Machine(image, firmware=firmware, script=script.encode()) as machine:
        machine.wait_for(f"^demo: ready {re.escape(demo_system)}$", timeout=BOOT_SECONDS)
        status = machine.wait_for(r"^demo: exit (\d+)$", timeout=SCRIPT_SECONDS)[1]
        log = machine.log
    assert status == "0", log
    assert re.findall(r"^root: (\w+)$", log, re.MULTILINE) == ["xfs"]
    assert not re.search(r"(?i)^verify: .*(error|missing|modified)|XFS .*(error|corrupt)", log), log
    # What grub-install writes has the time of its writing, and what this tool does the image's.
    assert ("grub: /boot/grub/i386-pc/core.img" in log) == (boot_loader == "system")


def test_the_systems_own_installer_on_an_ext4_of_ours(
    assemble_command: Path, demo_system: str, tmp_path: Path
) -> None:
    image = assemble(
        assemble_command, demo_system, tmp_path / "disk.raw", "--boot-loader", "system"
    )
    with Machine(image) as machine:
        machine.wait_for(f"^demo: ready {re.escape(demo_system)}$", timeout=BOOT_SECONDS)
