"""What systemd-boot is told: Boot Loader Specification entries, and loader.conf.

Source: nixpkgs' nixos/modules/system/boot/loader/systemd-boot/systemd-boot-builder.py for names
and fields, loader.conf(5), and the UAPI group's Boot Loader Specification.
"""

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from assembler.boot.boot_files import BootFile
from assembler.boot.bootspec import Bootspec
from assembler.boot.generation import Generation
from assembler.boot.headers import stub_fault
from assembler.errors import RequestError
from assembler.store.paths import STORE, Store

_NIXOS = "EFI/nixos"
_TIMEOUT = 1  # seconds: time for a key, and no more


@dataclass(frozen=True, slots=True)
class SystemdBootFiles:
    """Files by where they belong; where there is no XBOOTLDR partition, all are on the ESP."""

    esp: tuple[BootFile, ...]
    xbootldr: tuple[BootFile, ...]


def systemd_boot_files(
    generations: Sequence[Generation], default_number: int, timeout: int | None = _TIMEOUT
) -> SystemdBootFiles:
    """All that systemd-boot reads, sorted by path; `timeout` is in seconds, None waits for a key.

    Raises RequestError where `default_number` is none of the generations. There is no machine-id:
    a machine gets its own when it boots.
    """
    if default_number not in [one.number for one in generations]:
        raise RequestError(f"generation {default_number} cannot be booted")
    copies = _Copies()
    entries = []
    for one in generations:
        for name, spec in [("", one.bootspec), *one.bootspec.specialisations]:
            text = "\n".join([*_entry(one, name, spec, copies), ""])
            path = f"loader/entries/{_file_name(one.number, name)}"
            entries.append(BootFile(path, text.encode()))
    loader = [
        f"timeout {'menu-force' if timeout is None else timeout}",
        f"default {_file_name(default_number)}",
        "console-mode keep",
        "",
    ]
    files = [*entries, *(BootFile(name, path) for name, path in copies.names.items())]
    return SystemdBootFiles(
        esp=(BootFile("loader/loader.conf", "\n".join(loader).encode()),),
        xbootldr=tuple(sorted(files, key=lambda file: file.path)),
    )


def stub_problems(store: Store, generations: Sequence[Generation]) -> list[str]:
    """One line for each kernel that systemd-boot cannot start, since firmware cannot."""
    problems = []
    for one in generations:
        for name, spec in [("", one.bootspec), *one.bootspec.specialisations]:
            if fault := stub_fault(store, spec.kernel, spec.system):
                which = f", specialisation {name!r}" if name else ""
                problems.append(
                    f"generation {one.number}{which}: systemd-boot cannot start the kernel "
                    f"{spec.kernel}: {fault}; build it with CONFIG_EFI_STUB, or use "
                    "--boot-loader grub"
                )
    return problems


def absent_initrds(generations: Sequence[Generation], files: Iterable[str]) -> list[str]:
    """One line for each further initrd that is not among `files`, those beside the entries."""
    there = {name.lower() for name in files}
    return [
        f"generation {one.number}: its initrd {path} (system.boot.extraInitrd.paths) is not on the "
        "partition with systemd-boot's entries: put it there with --contents"
        for one in generations
        for _, spec in [("", one.bootspec), *one.bootspec.specialisations]
        for path in spec.extra_initrds
        if not path.startswith("/") and path.lower() not in there
    ]


class _Copies:
    """Names for the copies of kernels, initrds and device trees."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}  # path below the partition → file in the store

    def name(self, path: str) -> str:
        """Where the copy of a file is, absolute."""
        inside = path.removeprefix(f"{STORE}/")
        top, name = inside.split("/")[0], posixpath.basename(path)
        short = f"{_NIXOS}/{name}.efi" if top == name else f"{_NIXOS}/{top}-{name}.efi"
        # NixOS would take one for the other where one store path has two of a name.
        if self.names.get(short, path) != path:
            short = f"{_NIXOS}/{inside.replace('/', '-')}.efi"
        self.names[short] = path
        return f"/{short}"


def _file_name(number: int, specialisation: str = "") -> str:
    inner = f"-specialisation-{specialisation}" if specialisation else ""
    return f"nixos-generation-{number}{inner}.conf"


def _entry(
    generation: Generation, specialisation: str, spec: Bootspec, copies: _Copies
) -> Iterator[str]:
    yield f"title NixOS ({specialisation})" if specialisation else "title NixOS"
    yield f"sort-key {spec.sort_key}"
    yield f"version Generation {generation.number} {spec.label}, built on {generation.date}"
    yield f"linux {copies.name(spec.kernel)}"
    if spec.initrd is not None:
        yield f"initrd {copies.name(spec.initrd)}"
    for path in spec.extra_initrds:
        yield f"initrd {copies.name(path) if path.startswith('/') else f'/{path}'}"
    yield f"options init={spec.init} {' '.join(spec.kernel_params)}"
    if spec.devicetree is not None:
        yield f"devicetree {copies.name(spec.devicetree)}"
