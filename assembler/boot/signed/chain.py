"""EFI programs that go onto the EFI system partition (ESP) as they are, such as a signed shim.

What shim starts, and under which names, is in its shim.c and fallback.c.
"""

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from assembler.binaries.core_image import CoreImage, CoreImageError, read_efi_core
from assembler.binaries.efi_program import EfiProgram, parse_program
from assembler.binaries.pe import PeError
from assembler.boot.boot_file import BootFile
from assembler.boot.signed.role import ProgramRole, role_of
from assembler.errors import Findings, Message, RequestError, Setting, reason
from assembler.filesystems.kind import Kind
from assembler.host.regular import read_file
from assembler.machines import Machine

_OWN_DIRECTORY = "EFI/BOOT"
_VENDOR_DIRECTORY = "EFI/NixOS-boot"  # what NixOS calls its boot entry
# A prefix that can be a directory of the ESP; some have a device before it.
_PREFIX = re.compile(r"(?:\([^)]*\))?/?([A-Za-z0-9_+-][A-Za-z0-9._+/-]*)")
_NEEDED_MODULES = ("search_fs_uuid", "configfile")  # for our stub


# The order in which programs start each other; a machine has one or two of these.
_LOADERS = (ProgramRole.SHIM, ProgramRole.OTHER, ProgramRole.GRUB)


@dataclass(frozen=True, slots=True)
class SignedChain:
    """What one machine's firmware starts, and what that starts in turn."""

    machine: Machine
    programs: Mapping[ProgramRole, EfiProgram]
    grub: CoreImage | None  # what its GRUB was built with

    def problems(self, file_system: Kind) -> list[str]:
        """What its GRUB lacks to read `file_system` and the configuration there."""
        if self.grub is None:
            return []
        needed = [*_NEEDED_MODULES, file_system.grub_module]
        missing = [name for name in needed if name not in self.grub.modules]
        if not missing:
            return []
        return [
            f"{self.programs[ProgramRole.GRUB].path} was built without {', '.join(missing)} and so "
            f"cannot read its configuration from {file_system.name}: take another file system for "
            "/boot, or another GRUB"
        ]

    def files(self, stub: bytes) -> dict[str, bytes | Path]:
        """The sources of its files by their paths on the ESP; its GRUB reads `stub` first."""
        found = {role: program.path for role, program in self.programs.items()}
        first, *second = [found[role] for role in _LOADERS if role in found]
        files: dict[str, bytes | Path] = {self.machine.boot_program: first}
        home, prefix = _OWN_DIRECTORY, self._prefix()
        if ProgramRole.FALLBACK in found:
            # Shim starts only this one, which makes a boot entry for the second shim, in `home`.
            home = prefix if prefix.startswith("EFI/") and prefix != home else _VENDOR_DIRECTORY
            shim = f"shim{self.machine}.efi"
            entry = f"{shim},NixOS,,This is the boot entry for NixOS\n"
            files[f"{_OWN_DIRECTORY}/fb{self.machine}.efi"] = found[ProgramRole.FALLBACK]
            files[f"{home}/{shim}"] = first
            files[f"{home}/BOOT{self.machine.upper()}.CSV"] = entry.encode("utf-16-le")
        if second:
            files[f"{home}/grub{self.machine}.efi"] = second[0]
        if ProgramRole.MOK_MANAGER in found:
            files[f"{home}/mm{self.machine}.efi"] = found[ProgramRole.MOK_MANAGER]
        if self.grub is not None:
            # Some GRUBs read it at the prefix they were built with, others beside themselves.
            files |= {f"{where}/grub.cfg": stub for where in (prefix, home)}
        return files

    def _prefix(self) -> str:
        """The directory of the ESP where GRUB was built to look for its configuration."""
        found = _PREFIX.fullmatch((self.grub and self.grub.prefix) or "")
        parts = found[1].split("/") if found else []
        parts = [part for part in parts if part not in ("", ".")]
        if not parts or ".." in parts:
            return _OWN_DIRECTORY
        upper = [part.upper() for part in parts]  # on a FAT, upper and lower case are one name
        if upper == _OWN_DIRECTORY.split("/"):
            return _OWN_DIRECTORY
        return "/".join(["EFI" if upper[0] == "EFI" else parts[0], *parts[1:]])


@dataclass(frozen=True, slots=True)
class EfiPrograms:
    """Programs that go onto the ESP as they are, for one machine or more."""

    chains: tuple[SignedChain, ...]

    @property
    def version(self) -> str:
        """The release of the first GRUB that contains it, empty if none does."""
        return next((core.version for core in self._grubs if core.version), "")

    @property
    def _grubs(self) -> list[CoreImage]:
        return [chain.grub for chain in self.chains if chain.grub is not None]

    def problems(self, file_system: Kind) -> list[str]:
        """One line for each GRUB that cannot read `file_system`, that of /boot."""
        return [line for chain in self.chains for line in chain.problems(file_system)]

    def files(self, boot_uuid: str, prefix: str) -> list[BootFile]:
        """All files on the ESP; GRUB's menu is in `prefix` on the file system with `boot_uuid`."""
        stub = (
            f"search.fs_uuid {boot_uuid} root\n"
            f"set prefix=($root){prefix}\n"
            "configfile $prefix/grub.cfg\n"
        ).encode()
        files: dict[str, bytes | Path] = {}
        for chain in self.chains:
            files |= chain.files(stub)
        return [BootFile(path, source) for path, source in sorted(files.items())]


def read_efi_programs(paths: Sequence[Path]) -> EfiPrograms:
    """Make chains of the EFI programs at `paths`; raises RequestError with every problem.

    The content of each program shows its machine and its role, as in `role_of`. A file that is
    named twice counts once.
    """
    findings = Findings()
    found: dict[Machine, dict[ProgramRole, _Content]] = defaultdict(dict)
    distinct: dict[str, Path] = {}
    for path in paths:
        distinct.setdefault(os.path.realpath(path), path)
    for path in distinct.values():
        with findings.gather():
            content, role = _read(path)
            programs = found[content.program.machine]
            if role in programs:
                findings.problems.append(
                    Message(
                        _setting(programs[role].program.path),
                        f" and {path} are for the same machine and the same part: name only one",
                    )
                )
            programs.setdefault(role, content)
    usable = sum(map(len, found.values()))
    chains = []
    for machine in sorted(found):
        programs = found[machine]
        if usable == len(distinct):  # else the program that is missing may be an unusable one
            paths_by_role = {role: one.program.path for role, one in programs.items()}
            findings.problems += _chain_problems(machine, paths_by_role)
        with findings.gather():
            chains.append(_make_chain(machine, programs))
    findings.raise_any()
    return EfiPrograms(tuple(chains))


class _Content(NamedTuple):
    program: EfiProgram
    data: bytes


def _setting(path: Path) -> Setting:
    return Setting("efi_binaries", path)


def _read(path: Path) -> tuple[_Content, ProgramRole]:
    """A program and its role; raises RequestError where it cannot be used."""
    try:
        data = read_file(path)
        program = parse_program(path, data)
    except PeError as error:
        raise RequestError(Message(_setting(path), f": {error}")) from None
    except OSError as error:
        raise RequestError(Message(Setting("efi_binaries"), f" {reason(error)}")) from None
    role = role_of(path.name, data)
    if role is ProgramRole.SYSTEMD_BOOT:
        why = " is systemd-boot, which does not read GRUB's menu: use "
        raise RequestError(Message(_setting(path), why, Setting("boot_loader", "systemd-boot")))
    if path.name.lower().endswith(".signed") and not program.is_signed:
        why = " has no signature, though its name ends in .signed"
        raise RequestError(Message(_setting(path), why))
    return _Content(program, data), role


def _chain_problems(machine: Machine, programs: Mapping[ProgramRole, Path]) -> list[str]:
    """Why the programs for one machine do not start each other."""
    loaders = [programs[role] for role in _LOADERS if role in programs]
    if len(loaders) > 2:
        why = (
            f" has no place between {loaders[0]}, which starts a single program, and {loaders[2]}: "
            "leave one of them out"
        )
        return [Message(_setting(loaders[1]), why)]
    if ProgramRole.SHIM in programs:
        if len(loaders) == 1:
            why = f" starts another program: name that as well, such as a signed grub{machine}.efi"
            return [Message(_setting(loaders[0]), why)]
        return []
    why = f" is of use to a shim alone: name that as well, shim{machine}.efi"
    return [
        Message(_setting(programs[role]), why)
        for role in (ProgramRole.MOK_MANAGER, ProgramRole.FALLBACK)
        if role in programs
    ]


def _make_chain(machine: Machine, programs: Mapping[ProgramRole, _Content]) -> SignedChain:
    """A chain of programs; raises RequestError where the GRUB among them is unusable."""
    core, grub = None, programs.get(ProgramRole.GRUB)
    if grub is not None:
        try:
            core = read_efi_core(grub.data)
        except CoreImageError as error:
            fault = f" is no usable GRUB: {error}"
            raise RequestError(Message(_setting(grub.program.path), fault)) from None
    return SignedChain(machine, {role: one.program for role, one in programs.items()}, core)
