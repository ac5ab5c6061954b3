"""QEMU accepts the printed command that boots a finished image.

Without these tests, users who copy the printed command get an error of QEMU, or a machine that does
not boot.
"""

import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from assembler.boot.bootspec import Bootspec
from assembler.cli.report import next_step
from assembler.cli.trial import command_lines, qemu_words
from assembler.disk.tables import Table
from assembler.machines import Machine
from assembler.spec import RootSpec, Spec
from tests.support.systems import System, make_system

BIOS = ["qemu-system-x86_64", "-cpu", "max", "-m", "1G", "-snapshot"]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(tmp_path_factory.mktemp("store"))


def plan(system: System, table: Table = Table.HYBRID, loader: str = "grub", **facts: Any) -> Any:
    """What is looked at of a plan."""
    spec = Bootspec(
        init=f"{system.toplevel}/init",
        kernel=f"{system.paths[0]}/bzImage",
        initrd=f"{system.paths[1]}/initrd",
        kernel_params=facts.pop("params", ("quiet", "console=ttyS0,115200")),
        label="",
        system="",
        toplevel=system.toplevel,
    )
    root = RootSpec(store=system.root, system=system.toplevel)
    usual: dict[str, Any] = {
        "spec": Spec(root=root, out=Path("/d.raw"), partition_table=table, boot_loader=loader),
        "layout": SimpleNamespace(table=table, sector_size=facts.pop("sector_size", 512)),
        "architecture": "x86_64-linux",
        "bootspec": spec,
        "disks": frozenset(facts.pop("disks", ())),
    }
    return SimpleNamespace(**{**usual, **facts})


def words(*given: Any, image: str = "/d.raw", **facts: Any) -> list[str]:
    return [word for group in qemu_words(plan(*given, **facts), Path(image)) for word in group]


def test_a_disk_for_bios(system: System) -> None:
    drive = ["-drive", "file=/d.raw,format=raw,if=virtio"]
    for table in (Table.HYBRID, Table.LEGACY, Table.LEGACY_GPT):
        assert words(system, table) == [*BIOS, *drive, "-nographic"]
    assert words(system, params=("console=tty0",)) == [*BIOS, *drive]


@pytest.mark.parametrize("there", [True, False])
def test_a_disk_for_uefi(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    firmware = tmp_path / "OVMF.fd"
    if there:
        firmware.touch()
    for machine in Machine:
        facts = replace(machine.facts, qemu_firmware=("/nowhere/OVMF.fd", str(firmware)))
        monkeypatch.setattr(machine, "facts", facts)
    named = str(firmware) if there else "OVMF.fd"
    for table in (Table.EFI, Table.EFIXBOOTLDR):
        assert words(system, table)[len(BIOS) :][:2] == ["-bios", named]
    arm = words(system, Table.EFI, architecture="aarch64-linux")
    assert arm[:5] == ["qemu-system-aarch64", "-machine", "virt", "-cpu", "max"]


def test_large_sectors(system: System) -> None:
    messages = words(system, Table.EFI, sector_size=4096)
    assert "virtio-blk-pci,drive=disk,logical_block_size=4096,physical_block_size=4096" in messages


@pytest.mark.parametrize(
    ("disk", "sectors", "devices"),
    [
        ("sda", 512, ["ahci,id=ahci", "ide-hd,bus=ahci.0,drive=disk"]),
        ("sda", 4096, ["virtio-scsi-pci", "scsi-hd,drive=disk"]),
        ("nvme0n1", 512, ["nvme,serial=disk,drive=disk"]),
    ],
)
def test_the_disk_is_what_the_system_calls_it(
    system: System, disk: str, sectors: int, devices: list[str]
) -> None:
    messages = words(system, Table.EFI, disks=[disk], sector_size=sectors)
    named = [messages[at + 1] for at, word in enumerate(messages) if word == "-device"]
    assert [one.partition(",logical")[0] for one in named] == devices
    assert "if=virtio" not in "".join(messages)


@pytest.mark.parametrize(
    ("disks", "named"),
    [
        (["mmcblk0"], "/dev/mmcblk0"),
        (["sdb"], "/dev/sdb"),
        (["disk/by-id/ata-x", "vda"], "an ID or a path and /dev/vda"),
    ],
)
def test_a_disk_that_qemu_cannot_be(system: System, disks: list[str], named: str) -> None:
    assert words(system, disks=disks) == []
    [line] = next_step(plan(system, disks=disks))
    assert f"what a machine calls it, {named};" in line


@pytest.mark.parametrize(("table", "loader"), [(Table.NONE, "none"), (Table.HYBRID, "none")])
def test_a_disk_that_nothing_on_it_boots(system: System, table: Table, loader: str) -> None:
    messages = words(system, table, loader)
    kernel = messages.index("-kernel")
    assert Path(messages[kernel + 1]).read_bytes()[0x202:0x206] == b"HdrS"
    append = messages[messages.index("-append") + 1]
    assert append == f"init={system.toplevel}/init quiet console=ttyS0,115200"
    assert words(system, table, loader, bootspec=None) == []


def test_a_machine_that_qemu_is_not_named_for(system: System) -> None:
    assert words(system, architecture="mips64-linux") == []
    assert command_lines([]) == []


@pytest.mark.parametrize("name", ["/d.raw", "/a b,c'd.raw", "/ü\n$x.raw"])
def test_a_shell_reads_the_lines_as_the_words(system: System, name: str) -> None:
    groups = qemu_words(plan(system), Path(name))
    script = "\n".join(["set -- \\", *command_lines(groups), "printf '%s\\0' \"$@\""])
    printed = subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout
    assert printed.decode().split("\0")[:-1] == words(system, image=name)
    assert f"file={name.replace(',', ',,')},format=raw,if=virtio" in words(system, image=name)


@pytest.mark.parametrize(
    ("table", "loader", "facts"),
    [
        (Table.HYBRID, "grub", {}),
        (Table.HYBRID, "grub", {"disks": ["sda"]}),
        (Table.HYBRID, "grub", {"disks": ["nvme0n1"]}),
        (Table.EFI, "grub", {"sector_size": 4096}),
        (Table.EFI, "grub", {"sector_size": 4096, "disks": ["sda"]}),
        (Table.NONE, "none", {}),
    ],
)
def test_qemu_takes_it(
    system: System, tmp_path: Path, table: Table, loader: str, facts: dict[str, Any]
) -> None:
    """A machine is made, and ended before it runs."""
    image = tmp_path / "a,b.raw"
    image.write_bytes(bytes(1 << 20))
    messages = words(system, table, loader, image=str(image), **facts)
    options = [one for one in messages if one != "-nographic"]
    options[options.index("1G")] = "64M"
    quiet = ["-S", "-display", "none", "-monitor", "stdio", "-serial", "none"]
    done = subprocess.run([*options, *quiet], input=b"quit\n", capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert image.read_bytes() == bytes(1 << 20)
