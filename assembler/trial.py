"""How to try a finished image out: the command line of a QEMU that boots it, with KVM or without.

Source of its options: qemu(1).
"""

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from assembler.boot.machine import Machine, machine_of
from assembler.plan import Plan
from assembler.units import SECTOR

_QEMU = {
    Machine.X64: (["qemu-system-x86_64", "-cpu", "max", "-m", "1G"], ["-snapshot"]),
    Machine.AA64: (
        ["qemu-system-aarch64", "-machine", "virt"],
        ["-cpu", "max", "-m", "1G", "-snapshot"],
    ),
}
# Where distributions put UEFI firmware as QEMU's -bios takes it, code and variables in one file.
_FIRMWARE = {
    Machine.X64: ("/usr/share/ovmf/OVMF.fd", "/usr/share/qemu/OVMF.fd", "/usr/share/OVMF/OVMF.fd"),
    Machine.AA64: (
        "/usr/share/qemu-efi-aarch64/QEMU_EFI.fd",
        "/usr/share/edk2/aarch64/QEMU_EFI.fd",
    ),
}
_SERIAL = re.compile(r"console=tty(S|AMA)0\b")


def qemu_words(plan: Plan, image: Path) -> list[list[str]]:
    """The words of a command that boots an image and leaves it as it is, grouped as they belong.

    Empty where QEMU starts nothing: neither the disk's boot loader nor a kernel of this host.
    """
    machine = machine_of(plan.architecture)
    if machine is None or machine not in _QEMU:
        return []
    table = plan.layout.table
    groups = [*_QEMU[machine]]
    if plan.spec.loader != "none" and table.boots_bios and machine is Machine.X64:
        pass  # QEMU's own firmware is a BIOS
    elif plan.spec.loader != "none" and table.boots_efi:
        groups.append(["-bios", _firmware(machine)])
    elif kernel := _kernel(plan):
        groups += kernel
    else:
        return []
    groups += _disk(image, plan.layout.sector_size)
    if plan.bootspec is not None and any(map(_SERIAL.match, plan.bootspec.kernel_params)):
        groups.append(["-nographic"])
    return groups


def command_lines(groups: Sequence[Sequence[str]]) -> list[str]:
    """A command as lines that can be pasted into a shell, a group in each."""
    lines = [f"{'    ' if number else '  '}{shlex.join(one)}" for number, one in enumerate(groups)]
    return [*(f"{line} \\" for line in lines[:-1]), *lines[-1:]]


def _firmware(machine: Machine) -> str:
    """UEFI firmware of this host, or else its usual name."""
    candidates = _FIRMWARE[machine]
    return next(filter(os.path.isfile, candidates), os.path.basename(candidates[0]))


def _kernel(plan: Plan) -> list[list[str]]:
    """The system's kernel out of the host's store, for a disk that nothing on it boots."""
    spec, store = plan.bootspec, plan.spec.root.store
    if spec is None or not os.path.isfile(store.host(spec.kernel)):
        return []
    words = [["-kernel", str(store.host(spec.kernel))]]
    if spec.initrd is not None:
        words.append(["-initrd", str(store.host(spec.initrd))])
    return [*words, ["-append", " ".join([f"init={spec.init}", *spec.kernel_params])]]


def _disk(image: Path, sector_size: int) -> list[list[str]]:
    """The image as a virtio disk. In QEMU's options a comma in a name is doubled."""
    drive = f"file={str(image).replace(',', ',,')},format=raw"
    if sector_size == SECTOR:
        return [["-drive", f"{drive},if=virtio"]]
    blocks = f"logical_block_size={sector_size},physical_block_size={sector_size}"
    return [
        ["-drive", f"{drive},if=none,id=disk"],
        ["-device", f"virtio-blk-pci,drive=disk,{blocks}"],
    ]
