"""Find what an EFI system partition (ESP) starts: GRUB, a signed shim and GRUB, systemd-boot.

What distributions call signed programs and where they keep them was looked up in their packages.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from assembler.binaries.core_image import CoreImageError, read_efi_core
from assembler.binaries.efi_program import EfiProgram, read_program
from assembler.binaries.machine import BOOTED, Machine
from assembler.binaries.pe import PeError
from assembler.boot.signed.chain import EspFiles, Signed, make_chain
from assembler.boot.signed.role import Role
from assembler.errors import RequestError
from assembler.host.regular import read_file
from assembler.store.paths import AbsentError, Store

log = logging.getLogger(__name__)

_SYSTEMD_BOOT = "lib/systemd/boot/efi"
_HOST = Path("/usr")

# Where packages keep signed programs; {a} is a machine for EFI, {p} for GRUB, {m} for openSUSE.
# Debian, Ubuntu, Gentoo, Fedora and its kin, openSUSE, and nixpkgs' way of packaging theirs.
_VENDORS = ("BOOT", "fedora", "redhat", "centos", "rocky", "almalinux", "opensuse")
_PLACES = {
    Role.SHIM: (
        *("lib/shim/shim{a}.efi.signed", "lib/shim/shim{a}.efi.signed.latest"),
        *("share/shim/shim{a}.efi.signed", "share/shim/shim{a}.efi", "share/shim/BOOT{A}.EFI"),
        *(f"boot/efi/EFI/{vendor}/shim{{a}}.efi" for vendor in _VENDORS),
        *("share/efi/{m}/shim.efi", "EFI/BOOT/BOOT{A}.EFI"),
    ),
    Role.GRUB: (
        *("lib/grub/{p}-efi-signed/grub{a}.efi.signed", "lib/grub/grub-{p}.efi.signed"),
        "share/grub/grub{a}.efi.signed",
        *(f"boot/efi/EFI/{vendor}/grub{{a}}.efi" for vendor in _VENDORS),
        *("share/efi/{m}/grub.efi", "EFI/BOOT/grub{a}.efi"),
    ),
    Role.MOK_MANAGER: (
        *("lib/shim/mm{a}.efi.signed", "lib/shim/mm{a}.efi"),
        *("share/shim/mm{a}.efi.signed", "share/shim/mm{a}.efi"),
        *(f"boot/efi/EFI/{vendor}/mm{{a}}.efi" for vendor in _VENDORS),
        *("share/efi/{m}/MokManager.efi", "EFI/BOOT/mm{a}.efi"),
    ),
}
# Few store paths have any of these, so that not every place is looked at in all.
_TOPS = tuple(
    sorted({"/".join(place.split("/")[:2]) for places in _PLACES.values() for place in places})
)


def find_signed(store: Store, paths: Iterable[str]) -> Signed | None:
    """A signed shim and GRUB, with shim's MokManager, in store paths; None without both."""
    prefixes = [
        prefix
        for path in sorted(paths)
        for prefix in (path, f"{path}/usr")
        if any(not store.fault(f"{prefix}/{top}") for top in _TOPS)
    ]
    chains = []
    for machine in BOOTED:
        programs = {}
        for role in _PLACES:
            if (program := next(_signed(store, prefixes, machine, role), None)) is not None:
                programs[role] = program
        if Role.SHIM in programs and Role.GRUB in programs:
            chains.append(make_chain(machine, programs))
    return Signed(tuple(chains)) if chains else None


def _signed(
    store: Store, prefixes: Sequence[str], machine: Machine, role: Role
) -> Iterator[EfiProgram]:
    names = {
        "a": machine,
        "A": machine.upper(),
        "p": machine.names.grub.removesuffix("-efi"),
        "m": machine.names.rpm,
    }
    for prefix in prefixes:
        for place in _PLACES[role]:
            path = f"{prefix}/{place.format(**names)}"
            try:
                file = _host_file(store, path)
                if file is None:
                    continue
                program = read_program(file)
                if role is Role.GRUB:
                    read_efi_core(read_file(file))
            except (PeError, CoreImageError, RequestError) as error:
                log.warning("%s is left out: %s", path, error)
                continue
            if program.is_signed and program.machine is machine:
                yield program


def _host_file(store: Store, path: str) -> Path | None:
    """Where on this host the file lies that the image will have at `path`, links followed."""
    try:
        real = store.resolve(path)
    except AbsentError:
        return None
    return store.host(real) if store.is_file(real) else None


def find_systemd_boot(
    store: Store, paths: Iterable[str], machine: Machine, first: str = ""
) -> Path:
    """systemd-boot's program, in store paths or else on this host; raises RequestError.

    The store path `first` is looked at before the others, if it is among them.
    """
    name = f"{_SYSTEMD_BOOT}/systemd-boot{machine}.efi"
    candidates = [
        _host_file(store, f"{prefix}/{name}")
        for path in sorted(paths, key=lambda path: (path != first, path))
        for prefix in (path, f"{path}/usr")
    ]
    for program in (*candidates, _HOST / name):
        if program is None or not program.is_file():
            continue
        try:
            found = read_program(program)
        except PeError as error:
            raise RequestError(f"{program}: {error}") from None
        if found.machine is machine:
            return program
    raise RequestError(
        f"systemd-boot{machine}.efi is neither in the closure nor on this host: it is in the "
        "package systemd-boot-efi (Debian) or systemd (nixpkgs)"
    )


def systemd_boot_programs(program: Path, machine: Machine) -> EspFiles:
    """Where `bootctl install` puts systemd-boot's program."""
    return {
        machine.boot_program: program,
        f"EFI/systemd/systemd-boot{machine}.efi": program,
    }
