"""The programs outside the store that a system wants: /bin/sh and /usr/bin/env."""

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
    """What `/bin/sh` and `/usr/bin/env` lead to; None where the system has none."""

    shell: str | None
    env: str | None


def program_paths(infos: Sequence[PathInfo], profiles: Sequence[str]) -> list[str]:
    """The store paths in which the machine's programs are looked for; `profiles` name its own.

    What a closure has only to build these is left out, such as another shell or GRUB.
    """
    if any(is_derivation(info.path) for info in infos):
        return sorted(requisites(infos, profiles))
    return [info.path for info in infos]


def find_programs(store: Store, system: str, paths: Sequence[str]) -> Programs:
    """What a system wants: what its bootspec names, else the toplevel's own or the closure's.

    A bootspec that tells of the programs of NixOS's stage 2 and names no shell is that of a system
    without one. For older systems that is one whose closure has none: NixOS takes bashInteractive;
    plain bash is the next best. Raises RequestError where a program that is named is missing.
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
    """What the bootspec tells of programs; None if nothing, as in older systems."""
    try:
        document = json.loads(store.read(f"{system}/boot.json"))
    except (OSError, ValueError, RecursionError, RequestError):
        return None  # whoever boots the system tells what is wrong with it
    found = document.get(_NIXOS_INIT) if isinstance(document, dict) else None
    return found if isinstance(found, dict) else None


def _fault(store: Store, program: object, paths: Sequence[str]) -> str:
    """Why a link cannot lead to a program; empty where it can, as outside the store."""
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

    Packages whose names start as `packages` say come first, in that order.
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
