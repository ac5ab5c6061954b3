"""The command line of a QEMU that boots a finished image, with KVM or without.

Source of its options: qemu(1).
"""

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from assembler.machines import Machine, machine_of
from assembler.plan.plan import Plan
from assembler.store.paths import STORE, StoreRoot
from assembler.units import SECTOR

# QEMU's devices for a disk by what Linux calls it; the last one is the disk.
_DEVICES = {
    "vda": ["virtio-blk-pci"],
    "sda": ["ahci,id=ahci", "ide-hd,bus=ahci.0"],
    "nvme0n1": ["nvme,serial=disk"],
}
_SCSI = ["virtio-scsi-pci", "scsi-hd"]  # for an sda with large sectors, which no ide-hd has
_SERIAL = re.compile(r"console=tty(S|AMA)0\b")


def qemu_words(plan: Plan, image: Path) -> list[list[str]]:
    """The words of a command that boots an image and leaves it as it is, grouped as they belong.

    Empty where QEMU starts nothing, neither the disk's boot loader nor a kernel of this host, or
    where the system would not find its disk; see `disk_fault`.
    """
    machine, driver = machine_of(plan.architecture), plan.spec.output_format.driver
    if machine is None or not machine.facts.qemu or not driver or disk_fault(plan):
        return []
    table = plan.layout.table
    groups = [[*words] for words in machine.facts.qemu]
    if plan.spec.loader_type.boots and table.boots_bios and machine.facts.has_bios:
        pass  # QEMU's own firmware is a BIOS
    elif plan.spec.loader_type.boots and table.boots_efi:
        groups.append(["-bios", _firmware(machine)])
    elif kernel := _kernel(plan):
        groups += kernel
    else:
        return []
    groups += _disk(image, driver, plan.layout.sector_size, next(iter(plan.disks), "vda"))
    if plan.bootspec is not None and any(map(_SERIAL.match, plan.bootspec.kernel_params)):
        groups.append(["-nographic"])
    return groups


def disk_fault(plan: Plan) -> str:
    """Why no system would find its disk in a QEMU; empty if one would."""
    if plan.spec.store_only:
        device = f"/dev/disk/by-label/{plan.root.label}"
        return f"nothing boots it: a machine mounts {device} at {STORE}"
    if not plan.disks or (len(plan.disks) == 1 and plan.disks <= _DEVICES.keys()):
        return ""
    names = (f"/dev/{one}" if "/" not in one else "an ID or a path" for one in sorted(plan.disks))
    return (
        "QEMU cannot try it out: the system finds its disk by what a machine calls it, "
        f"{' and '.join(names)}; a label would fit any machine"
    )


def command_lines(groups: Sequence[Sequence[str]]) -> list[str]:
    """A command as lines that can be pasted into a shell, a group in each."""
    lines = [f"{'    ' if number else '  '}{shlex.join(one)}" for number, one in enumerate(groups)]
    return [*(f"{line} \\" for line in lines[:-1]), *lines[-1:]]


def _firmware(machine: Machine) -> str:
    """UEFI firmware of this host, or else its usual name."""
    candidates = machine.facts.qemu_firmware
    return next(filter(os.path.isfile, candidates), os.path.basename(candidates[0]))


def _kernel(plan: Plan) -> list[list[str]]:
    """The system's kernel out of the host's store, for a disk that nothing on it boots."""
    spec, store = plan.bootspec, StoreRoot(plan.spec.root.store)
    if spec is None or not os.path.isfile(store.host(spec.kernel)):
        return []
    words = [["-kernel", str(store.host(spec.kernel))]]
    if spec.initrd is not None:
        words.append(["-initrd", str(store.host(spec.initrd))])
    return [*words, ["-append", " ".join([f"init={spec.init}", *spec.kernel_params])]]


def _disk(image: Path, driver: str, sector_size: int, name: str) -> list[list[str]]:
    """The image as a disk that Linux calls `name`.

    In QEMU's options a comma in a file's name is doubled.
    """
    drive = f"file={str(image).replace(',', ',,')},format={driver}"
    *buses, device = _DEVICES[name]
    blocks = ""
    if sector_size != SECTOR:
        *buses, device = _SCSI if name == "sda" else _DEVICES[name]
        blocks = f",logical_block_size={sector_size},physical_block_size={sector_size}"
    elif name == "vda":
        return [["-drive", f"{drive},if=virtio"]]
    return [
        ["-drive", f"{drive},if=none,id=disk"],
        *(["-device", bus] for bus in buses),
        ["-device", f"{device},drive=disk{blocks}"],
    ]
