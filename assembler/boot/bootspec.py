"""Read how a NixOS system is booted: its bootspec document.

Source: NixOS RFC 125, and `org.nixos.bootspec.v1` in nixpkgs'
nixos/modules/system/activation/bootspec.cue.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from assembler.boot.headers import file_fault
from assembler.boot.lookup import target_of
from assembler.errors import RequestError
from assembler.host.json_text import load_json
from assembler.machines import SYSTEMS
from assembler.store.paths import AbsentError, Store, is_store_path, store_path_of

DOCUMENT = "boot.json"
_VERSION = "org.nixos.bootspec.v1"
_PARAMS = "kernelParams"
_SPECIALISATIONS = "org.nixos.specialisation.v1"
SYSTEMD_BOOT = "org.nixos.systemd-boot"
_EXTRA_INITRD = "org.nixos.extra-initrd.v1"
_KINDS = {_EXTRA_INITRD: "initrd"}  # of files, where a field is not called after its kind
_CONTROL = r"[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff]"
_SORT_KEY = "nixos"  # what systemd-boot-builder.py takes where a bootspec names none


@dataclass(frozen=True, slots=True)
class Bootspec:
    """What a boot loader needs. Paths are absolute and as the booted system sees them.

    `kernel` and `initrd` are the files themselves, all symlinks followed: the entries of boot
    loaders name these, and copies are named after them.
    """

    init: str
    kernel: str
    initrd: str | None
    kernel_params: tuple[str, ...]
    label: str
    system: str  # for example x86_64-linux
    toplevel: str
    initrd_secrets: str | None = None  # a program that appends secrets to a copy of the initrd
    sort_key: str = _SORT_KEY  # of the entry for systemd-boot
    devicetree: str | None = None  # a file that systemd-boot passes to the kernel
    # Loaded by systemd-boot after the first initrd: files of the store, or without a leading slash
    # files on the partition with the entry.
    extra_initrds: tuple[str, ...] = ()
    ignored: str = ""  # why the links of the system were read instead of its document
    specialisations: tuple[tuple[str, "Bootspec"], ...] = ()  # by name; these have none themselves


class UnknownVersionError(RequestError):
    """The version of a document, or of a specialisation in it, is not known here."""


def read_bootspec(store: Store, system: str) -> Bootspec:
    """Read the bootspec of the store path `system`; raises RequestError with every problem.

    Raises UnknownVersionError instead where a part of it is not `org.nixos.bootspec.v1`.
    """
    path = f"{system}/{DOCUMENT}"
    try:
        content = store.read(path)
    except (OSError, AbsentError):
        raise RequestError(
            f"{system} is not a NixOS system that can be booted: it has no {DOCUMENT}"
        ) from None
    document = load_json(content, path)
    _check_version(path, document)
    problems: list[str] = []
    spec = _read(store, path, document, system, problems)
    inner = document.get(_SPECIALISATIONS)
    specialisations = []
    if inner is not None and not isinstance(inner, dict):
        problems.append(f"{path}: {_SPECIALISATIONS} is not an object")
    elif inner is not None:
        for name in sorted(inner):
            _check_version(f"{path}, specialisation {name!r}", inner[name])
        for name in sorted(inner):
            where = f"{path}, specialisation {name!r}"
            if not is_specialisation_name(name):
                problems.append(f"{where} has a name that cannot be in a menu and a file name")
            found = _read(store, where, inner[name], None, problems)
            if found is not None:
                specialisations.append((name, found))
    if problems or spec is None:
        raise RequestError(problems)
    return replace(spec, specialisations=tuple(specialisations))


def is_specialisation_name(name: str) -> bool:
    """Whether a specialisation may be called so: it is a directory entry, and part of titles."""
    return name.isprintable() and "/" not in name and name not in ("", ".", "..")


def is_line(value: object) -> bool:
    """Whether a value is one line of text, which GRUB and the kernel take as it is."""
    return isinstance(value, str) and value.isprintable()


def is_parameter(value: object) -> bool:
    """Whether a value can be a kernel parameter: text without control characters but tabs."""
    return isinstance(value, str) and re.search(_CONTROL, value) is None


def _check_version(path: str, document: object) -> None:
    if not isinstance(document, dict) or not isinstance(document.get(_VERSION), dict):
        raise UnknownVersionError(f"{path} has no {_VERSION}, the only version known")


def _read(
    store: Store, path: str, document: dict[str, Any], system: str | None, problems: list[str]
) -> Bootspec | None:
    """One system out of a document, without its specialisations; None if there are problems.

    `system` is the store path that it should be of, None for a specialisation.
    """
    fields = document[_VERSION]
    found = _field_problems(path, fields)
    extension = _extension(path, document, found)
    extra = _extra_initrds(path, document, found)
    if not found:
        files = [(name, fields.get(name)) for name in ("init", "kernel", "initrd")]
        files.append(("devicetree", extension["devicetree"]))
        files += [(_EXTRA_INITRD, file) for file in extra if file.startswith("/")]
        found = _system_problems(path, fields, system)
        found += _file_problems(store, path, files, fields["system"])
    if found:
        problems += found
        return None
    initrd, devicetree = fields.get("initrd"), extension["devicetree"]
    return Bootspec(
        init=fields["init"],
        kernel=store.resolve(fields["kernel"]),
        initrd=None if initrd is None else store.resolve(initrd),
        kernel_params=tuple(fields[_PARAMS]),
        label=fields["label"],
        system=fields["system"],
        toplevel=fields["toplevel"],
        initrd_secrets=fields.get("initrdSecrets"),
        sort_key=extension["sortKey"] or _SORT_KEY,
        devicetree=None if devicetree is None else store.resolve(devicetree),
        extra_initrds=tuple(store.resolve(one) if one.startswith("/") else one for one in extra),
    )


def _extension(path: str, document: dict[str, Any], problems: list[str]) -> dict[str, str | None]:
    """The settings for systemd-boot; adds to `problems` the values of a wrong kind."""
    extension = document.get(SYSTEMD_BOOT, {})
    if not isinstance(extension, dict):
        problems.append(f"{path}: {SYSTEMD_BOOT} is not an object")
        return {}
    values = {name: extension.get(name) for name in ("sortKey", "devicetree")}
    for name, value in values.items():
        if value is not None and not is_line(value):
            problems.append(f"{path}: {name} of {SYSTEMD_BOOT} is not a line of text")
    return values


def _extra_initrds(path: str, document: dict[str, Any], problems: list[str]) -> list[str]:
    """The paths of extra initrds: absolute in the store, without a slash on a partition."""
    extension = document.get(_EXTRA_INITRD, {})
    paths = extension.get("paths", []) if isinstance(extension, dict) else None
    if not isinstance(paths, list) or not all(is_line(one) and one.strip("/") for one in paths):
        problems.append(f"{path}: paths of {_EXTRA_INITRD} are not a list of file names")
        return []
    return [one if store_path_of(one) else one.lstrip("/") for one in paths]


def _field_problems(path: str, fields: dict[str, Any]) -> list[str]:
    """One line for each field that is absent or of a wrong kind."""
    needed = ("init", "kernel", "label", "system", "toplevel")
    problems = [
        f"{path}: {name} is not a line of text"
        for name in (*needed, "initrd", "initrdSecrets")
        if fields.get(name) is not None and not is_line(fields[name])
    ]
    params = fields.get(_PARAMS)
    if params is not None and not (isinstance(params, list) and all(map(is_parameter, params))):
        problems.append(f"{path}: {_PARAMS} is not a list of lines of text")
    if absent := [name for name in (*needed, _PARAMS) if fields.get(name) is None]:
        problems.append(f"{path}: {_VERSION} lacks {', '.join(absent)}, which NixOS writes there")
    return problems


def _system_problems(path: str, fields: dict[str, Any], toplevel: str | None) -> list[str]:
    """One line if the document is of another system, or of a machine that cannot be booted."""
    problems = []
    if fields["system"] not in SYSTEMS:
        known = " and ".join(SYSTEMS)
        problems.append(f"{path} is for {fields['system']}; only {known} can be booted")
    if toplevel is None and not is_store_path(fields["toplevel"]):
        problems.append(f"{path}: toplevel {fields['toplevel']} is not a store path")
    elif toplevel not in (None, fields["toplevel"]):
        problems.append(f"{path} describes another system, {fields['toplevel']}")
    return problems


def _file_problems(
    store: Store, path: str, files: Iterable[tuple[str, str | None]], system: str
) -> list[str]:
    """One line for each file, by its name in the document, that is absent or unusable."""
    problems = []
    for name, file in files:
        if file is None:
            continue
        if store_path_of(file) is None:
            problems.append(f"{path}: {name} {file} is not in /nix/store")
            continue
        try:
            real = target_of(store, file)
        except RequestError as error:
            problems.append(f"{path}: {name} {error}")
            continue
        if not store.is_file(real):
            problems.append(f"{path}: {name} {file} is not a file")
        elif fault := file_fault(store, _KINDS.get(name, name), real, system):
            problems.append(f"{path}: {name} {file}: {fault}")
    return problems
