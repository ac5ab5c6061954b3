"""The demo boots from every output format that QEMU reads.

Without these tests, a format could be read by tools and not by a machine.
"""

import subprocess
from pathlib import Path

import pytest

from assembler.formats.registry import FORMATS
from qemu import Machine

BOOT_SECONDS = 180


@pytest.mark.parametrize("name", ["qcow2-compressed", "vhd", "vhdx", "vmdk", "vmdk-stream", "vdi"])
def test_boots(assemble_command: Path, demo_system: str, tmp_path: Path, name: str) -> None:
    out = tmp_path / "disk"
    options = ["--system", demo_system, "--format", name, "--additional-space", "64M"]
    subprocess.run([assemble_command, "--out", out, *options], check=True, timeout=600)
    with Machine(out, driver=FORMATS[name].driver, memory=256) as machine:
        ready = machine.wait_for(r"^demo: ready (\S+)$", timeout=BOOT_SECONDS)
        assert ready[1] == demo_system
        machine.write("exit\n")
        machine.wait_off(timeout=30)
