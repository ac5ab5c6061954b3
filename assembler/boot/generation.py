"""The generations of the system profile, as boot loaders list them.

Source: addGeneration and addProfile in nixpkgs' install-grub.pl. A system without a bootspec, or
with one of an unknown version, is read from the links in it, as that script does.
"""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from assembler.boot.bootspec import (
    DOCUMENT,
    Bootspec,
    UnknownVersionError,
    is_line,
    is_parameter,
    is_specialisation_name,
    read_bootspec,
)
from assembler.boot.headers import file_fault
from assembler.boot.lookup import exists, target_of
from assembler.errors import HostError, RequestError, reason
from assembler.machines import DEFAULT, SYSTEMS
from assembler.store.paths import AbsentError, Store

log = logging.getLogger(__name__)

_STORE_TIME = 1  # seconds: the mtime of everything in the store
_LAST_TIME = 253_402_300_799  # seconds: the end of 9999, the last year that a date can have


@dataclass(frozen=True, slots=True)
class Specialisation:
    """A variant of a system: the words of its entry in a menu, and what it boots."""

    name: str
    configuration_name: str  # boot.loader.grub.configurationName; may be empty
    date: str  # YYYY-MM-DD
    version: str
    bootspec: Bootspec


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation of the system profile; `date` is that of its link, in UTC."""

    number: int
    date: str  # YYYY-MM-DD
    version: str  # the file nixos-version; empty where there is none
    bootspec: Bootspec
    specialisations: tuple[Specialisation, ...] = ()


def read_generations(
    store: Store, numbered: Sequence[tuple[int, str]], epoch: int, needed: str = ""
) -> list[Generation]:
    """Read the systems of a profile, in ascending order of their numbers.

    `numbered` are (number, store path); `epoch` is the mtime of the links (seconds, UTC). Warns of
    generations that no boot loader of NixOS would list, which are left out, and of what the menu
    cannot do for the rest. Raises RequestError with every problem of every generation, and where
    the toplevel `needed` is left out.
    """
    problems: list[str] = []
    generations = []
    for number, system in sorted(numbered):
        try:
            spec = read_system(store, system)
            if spec is None and system == needed:
                raise RequestError(
                    f"{system} cannot be booted: it has neither a boot.json of a known version "
                    "nor kernel and initrd"
                )
            if spec is None:
                log.warning(
                    "generation %d, %s, gets no entry in the boot menu: it has no kernel, or no "
                    "initrd",
                    number,
                    system,
                )
                continue
            generations.append(_generation(store, number, spec, epoch))
        except RequestError as error:
            problems += [f"generation {number}: {problem}" for problem in error.problems]
    if problems:
        raise RequestError(problems)
    for generation in generations:
        _warn(store, generation)
    return generations


def read_system(store: Store, system: str) -> Bootspec | None:
    """The bootspec of a system, made of its links if it has no document of a known version.

    None for one that has neither that nor both kernel and initrd. Raises RequestError.
    """
    ignored = ""
    if exists(store, f"{system}/{DOCUMENT}"):
        try:
            return read_bootspec(store, system)
        except UnknownVersionError as error:
            ignored = str(error)
    problems: list[str] = []
    spec = _from_links(store, system, problems)
    names = _names(store, f"{system}/specialisation") if spec is not None else []
    specialisations = []
    for name in names:
        path = f"{system}/specialisation/{name}"
        if not is_specialisation_name(name):
            problems.append(f"{path!r} has a name that cannot be in a menu and a file name")
        elif (found := _from_links(store, target_of(store, path), problems)) is not None:
            specialisations.append((name, found))
    if problems:
        raise RequestError(problems)
    if spec is None:
        return None
    return replace(spec, ignored=ignored, specialisations=tuple(specialisations))


def _generation(store: Store, number: int, spec: Bootspec, epoch: int) -> Generation:
    inner = [
        Specialisation(
            name,
            _line(store, f"{found.toplevel}/configuration-name"),
            _day(_STORE_TIME),
            _line(store, f"{found.toplevel}/nixos-version"),
            found,
        )
        for name, found in spec.specialisations
    ]
    version = _line(store, f"{spec.toplevel}/nixos-version")
    return Generation(number, _day(epoch), version, spec, tuple(inner))


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(min(seconds, _LAST_TIME), UTC).strftime("%Y-%m-%d")


def _from_links(store: Store, system: str, problems: list[str]) -> Bootspec | None:
    """A bootspec made of the links in a system; None where kernel or initrd is missing."""
    files = {}
    for name in ("kernel", "initrd", "init"):
        try:
            files[name] = store.resolve(f"{system}/{name}")
        except AbsentError:
            if name != "init":
                return None
            problems.append(f"{system} has no init")
        except RequestError as error:
            problems += error.problems
    if not {"kernel", "initrd"} <= files.keys():
        return None
    try:
        params = _line(store, f"{system}/kernel-params", is_parameter)
        version = _line(store, f"{system}/nixos-version")
        machine = _line(store, f"{system}/system") or DEFAULT.facts.nix
    except RequestError as error:
        problems += error.problems
        return None
    if machine not in SYSTEMS:
        problems.append(f"{system} is for {machine}; only {' and '.join(SYSTEMS)} can be booted")
    for name, file in files.items():
        if not store.is_file(file):
            problems.append(f"{system}/{name} is not a file")
        elif fault := file_fault(store, name, file, machine):
            problems.append(f"{system}/{name}: {fault}")
    secrets = f"{system}/append-initrd-secrets"
    return Bootspec(
        init=f"{system}/init",
        kernel=files["kernel"],
        initrd=files["initrd"],
        kernel_params=tuple(params.split(" ")) if params else (),
        label=f"NixOS {version}",
        system=machine,
        toplevel=system,
        initrd_secrets=secrets if exists(store, secrets) else None,
    )


def _warn(store: Store, generation: Generation) -> None:
    """Warn if a bootspec was ignored, and of what NixOS would add to the entries."""
    if ignored := generation.bootspec.ignored:
        log.warning("generation %d: %s: its links are read instead", generation.number, ignored)
    whole = [("", generation.bootspec)]
    inner = [
        (f", specialisation {name!r}", spec) for name, spec in generation.bootspec.specialisations
    ]
    for which, spec in whole + inner:
        where = f"generation {generation.number}{which}"
        if exists(store, f"{spec.toplevel}/xen.gz"):
            log.warning("%s is booted without Xen until the first rebuild", where)
        if _has_secrets(store, spec):
            log.warning(
                "%s is booted without the secrets of its initrd (boot.initrd.secrets) until the "
                "first rebuild",
                where,
            )


def _has_secrets(store: Store, spec: Bootspec) -> bool:
    """Whether the program that appends secrets to the initrd would append any.

    Older NixOS has it in every system; where there are no secrets it ends at once with a line of
    its own, `exit 0` (initialRamdiskSecretAppender in nixpkgs' stage-1.nix).
    """
    if spec.initrd_secrets is None:
        return False
    try:
        script = store.read(spec.initrd_secrets)
    except (OSError, AbsentError):
        return False
    return b"exit 0" not in [line.strip() for line in script.splitlines()]


def _names(store: Store, directory: str) -> list[str]:
    """The names in a directory, sorted as a shell does; empty if there is no directory."""
    if not exists(store, directory):
        return []
    try:
        names = os.listdir(store.find(directory))
    except OSError as error:
        raise HostError(f"cannot read {reason(error)}") from None
    return sorted(name for name in names if not name.startswith("."))


def _line(store: Store, path: str, fits: Callable[[str], bool] = is_line) -> str:
    """The one line of a small file, empty if there is no file; raises RequestError."""
    if not exists(store, path):
        return ""
    try:
        text = store.read(path).decode().removesuffix("\n")
    except OSError as error:
        raise HostError(f"cannot read {reason(error)}") from None
    except UnicodeDecodeError:
        text = "\0"
    if not fits(text):
        raise RequestError(f"{path} should hold one line of text")
    return text
