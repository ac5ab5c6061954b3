"""The programs that a system has outside the store: /bin/sh and /usr/bin/env."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from assembler.errors import RequestError
from assembler.store.derivation import is_derivation
from assembler.store.paths import STORE, Store, store_path_of
from assembler.store.registration import PathInfo, requisites

_NIXOS_INIT = "org.nixos.nixos-init.v1"  # nixpkgs: nixos/modules/system/activation/nixos-init.nix


@dataclass(frozen=True, slots=True)
class Programs:
    """Targets of `/bin/sh` and `/usr/bin/env`; None if the system has none."""

    shell: str | None
    env: str | None


def program_paths(infos: Sequence[PathInfo], profiles: Sequence[str]) -> list[str]:
    """The store paths among which the machine's programs are; `profiles` are the machine's own.

    Store paths that are there only to build those, such as another shell or GRUB, are left out.
    """
    if any(is_derivation(info.path) for info in infos):
        return sorted(requisites(infos, profiles))
    return [info.path for info in infos]


def find_programs(store: Store, system: str, paths: Sequence[str]) -> Programs:
    """The programs that a system's bootspec names, else the toplevel's own, else the closure's.

    If the bootspec has the section for NixOS's stage 2 and no shell in it, the system has no shell.
    The bootspecs of older systems lack the section: their shell is bashInteractive, as NixOS has
    it, or else plain bash. Raises RequestError if a program that is named is missing.
    """
    named = _named(store, system)
    if named is None:
        return Programs(
            _find_program(store, system, paths, "sh", ("bash-interactive", "bash")),
            _find_program(store, system, paths, "env", ("coreutils",)),
        )
    problems = []
    for key in ("sh_binary", "env_binary"):
        if named.get(key) is not None and (fault := _fault(store, named[key], paths)):
            problems.append(f"{system}/boot.json: {key} of {_NIXOS_INIT} {fault}")
    if problems:
        raise RequestError(problems)
    return Programs(named.get("sh_binary"), named.get("env_binary"))


def _named(store: Store, system: str) -> dict[str, Any] | None:
    """The section of the bootspec with programs; None if there is none, as in older systems."""
    try:
        document = json.loads(store.read(f"{system}/boot.json"))
    except (OSError, ValueError, RecursionError, RequestError):
        return None  # the boot loader reports what is wrong with it
    found = document.get(_NIXOS_INIT) if isinstance(document, dict) else None
    return found if isinstance(found, dict) else None


def _fault(store: Store, program: object, paths: Sequence[str]) -> str:
    """Why a link cannot lead to a program; empty if it can, as to any outside the store."""
    if not isinstance(program, str) or not program.startswith("/") or not program.isprintable():
        return "is not an absolute path"
    if not program.startswith(f"{STORE}/"):
        return ""
    try:
        there = store_path_of(program) in paths and not store.fault(store.resolve(program))
    except RequestError:
        there = False
    return "" if there else f"is not in the closure: {program}"


def _find_program(
    store: Store, system: str, paths: Sequence[str], name: str, packages: Sequence[str]
) -> str | None:
    """A program, all links followed: the toplevel's own, else that of one of the store paths.

    Packages whose names start with one of `packages` come first, in that order.
    """

    def rank(path: str) -> tuple[int, str]:
        package = path[len(STORE) + 34 :]
        return [*(package.startswith(start) for start in packages), True].index(True), path

    known = set(paths)
    candidates = (f"{path}/bin/{name}" for path in sorted(paths, key=rank))
    for candidate in (f"{system}/sw/bin/{name}", *candidates):
        try:
            program = store.resolve(candidate)
        except RequestError:
            continue
        if store_path_of(program) in known:
            return program
    return None
