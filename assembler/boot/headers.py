"""Look at the beginnings of the files that a system boots, before anything is written.

The check of the finished image reads them to their ends.
"""

from assembler.binaries.decompress import PayloadError
from assembler.binaries.kernel_files import (
    check_devicetree,
    check_initrd_start,
    check_kernel,
)
from assembler.binaries.pe import PeError, read_pe
from assembler.errors import HostError, reason
from assembler.host.regular import open_file
from assembler.machines import machine_of
from assembler.store.paths import Store

_HEADER = 4096  # bytes: all headers of kernels are in these


def file_fault(store: Store, name: str, path: str, system: str) -> str:
    """Why a file is not what a bootspec calls `name`; empty where it may be.

    `path` is a file of the store, no link; `system` is its platform, such as x86_64-linux.
    Raises HostError when it cannot be read.
    """
    try:
        match name:
            case "kernel":
                return _kernel_fault(store, path, system)
            case "initrd":
                check_initrd_start(*_begin(store, path))
            case "devicetree":
                check_devicetree(*_begin(store, path))
    except PayloadError as error:
        return str(error)
    return ""


def _kernel_fault(store: Store, path: str, system: str) -> str:
    machine, found = machine_of(system), check_kernel(*_begin(store, path))
    if machine is None or found in (None, machine.facts.linux):
        return ""
    return f"it is a kernel for {found}, not for {machine.facts.linux}"


def stub_fault(store: Store, path: str, system: str) -> str:
    """Why the firmware cannot start a kernel as an EFI program; see `file_fault`."""
    machine = machine_of(system)
    try:
        found = read_pe(*_begin(store, path)).machine
    except PeError as error:
        return str(error)
    if machine in (None, found):
        return ""
    return f"it is an EFI program for {found.facts.words}, not for {machine.facts.words}"


def _begin(store: Store, path: str) -> tuple[bytes, int]:
    """The first bytes of a file, and the size of the whole."""
    try:
        with open_file(store.host(path)) as file:
            return file.read(_HEADER), file.seek(0, 2)
    except OSError as error:
        raise HostError(f"cannot read {reason(error)}") from None
