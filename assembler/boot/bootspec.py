"""Read how a NixOS system wants to be booted: its bootspec document.

Source: NixOS RFC 125, and `org.nixos.bootspec.v1` in nixpkgs'
nixos/modules/system/activation/bootspec.cue.
"""

import json
from dataclasses import dataclass
from typing import Any

from assembler.errors import RequestError
from assembler.store.paths import Store, store_path_of

_DOCUMENT = "boot.json"
_SYSTEM = "x86_64-linux"
_VERSION = "org.nixos.bootspec.v1"


@dataclass(frozen=True, slots=True)
class Bootspec:
    """What a boot loader needs. Paths are absolute and as the booted system sees them."""

    init: str
    kernel: str
    initrd: str | None
    kernel_params: tuple[str, ...]
    label: str
    system: str  # for example x86_64-linux
    toplevel: str


def read_bootspec(store: Store, system: str) -> Bootspec:
    """Read the bootspec of the store path `system`; raises RequestError with every problem."""
    path = f"{system}/{_DOCUMENT}"
    try:
        content = store.host(store.resolve(path)).read_bytes()
        document = json.loads(content)
    except (OSError, RequestError):
        raise RequestError(
            f"{system} is not a NixOS system that can be booted: it has no {_DOCUMENT}"
        ) from None
    except ValueError as error:  # not JSON, or not UTF-8
        raise RequestError(f"{path} is not JSON: {error}") from None
    fields = document.get(_VERSION) if isinstance(document, dict) else None
    if not isinstance(fields, dict):
        raise RequestError(f"{path} has no {_VERSION}, the only version known")
    problems = _field_problems(path, fields)
    if not problems:
        problems = _system_problems(path, fields, system) + _file_problems(store, path, fields)
    if problems:
        raise RequestError(problems)
    return Bootspec(
        init=fields["init"],
        kernel=fields["kernel"],
        initrd=fields.get("initrd"),
        kernel_params=tuple(fields["kernelParams"]),
        label=fields["label"],
        system=fields["system"],
        toplevel=fields["toplevel"],
    )


def _field_problems(path: str, fields: dict[str, Any]) -> list[str]:
    """What is absent or of the wrong kind."""
    problems = []
    for name in ("init", "kernel", "initrd", "label", "system", "toplevel"):
        value = fields.get(name)
        if value is None and name != "initrd":
            problems.append(f"{path} lacks {name}")
        elif value is not None and not _is_text(value):
            problems.append(f"{path}: {name} is not a line of text")
    params = fields.get("kernelParams")
    if params is None:
        problems.append(f"{path} lacks kernelParams")
    elif not isinstance(params, list) or not all(_is_text(param) for param in params):
        problems.append(f"{path}: kernelParams is not a list of lines of text")
    return problems


def _system_problems(path: str, fields: dict[str, Any], toplevel: str) -> list[str]:
    """Whether it is this system, and for a machine that our boot loaders start."""
    problems = []
    if fields["system"] != _SYSTEM:
        problems.append(f"{path} is for {fields['system']}; only {_SYSTEM} can be booted so far")
    if fields["toplevel"] != toplevel:
        problems.append(f"{path} describes another system, {fields['toplevel']}")
    return problems


def _is_text(value: object) -> bool:
    """Whether a value is a string that GRUB and the kernel can be given as it is."""
    return isinstance(value, str) and value.isprintable()


def _file_problems(store: Store, path: str, fields: dict[str, Any]) -> list[str]:
    """Which files it names that are not there."""
    problems = []
    for name in ("init", "kernel", "initrd"):
        file = fields.get(name)
        if file is None:
            continue
        if store_path_of(file) is None:
            problems.append(f"{path}: {name} {file} is not in /nix/store")
            continue
        try:
            if not store.is_file(store.resolve(file)):
                problems.append(f"{path}: {name} {file} is not a file")
        except RequestError as error:
            problems.append(f"{path}: {name} {error}")
    return problems
