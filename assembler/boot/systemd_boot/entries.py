"""Write what systemd-boot reads: Boot Loader Specification entries, and loader.conf.

Source: nixpkgs' nixos/modules/system/boot/loader/systemd-boot/systemd-boot-builder.py for names
and fields, loader.conf(5), and the UAPI group's Boot Loader Specification.
"""

import hashlib
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from assembler.boot.boot_file import BootFile
from assembler.boot.bootspec import Bootspec
from assembler.boot.generation import Generation
from assembler.boot.headers import stub_fault
from assembler.boot.systemd_boot.settings import SystemdBootSettings
from assembler.errors import Message, RequestError, Setting
from assembler.store.paths import STORE, Store

_ENTRIES = "loader/entries"
_ANY = "nixos-*"  # the entries of all generations
_FIELD = re.compile(r"\{(\w+)\}")
# The builder takes the time of the store path, which is 1 in all that Nix has made.
_BUILT = "1970-01-01"


@dataclass(frozen=True, slots=True)
class SystemdBootFiles:
    """Files by partition; if there is no XBOOTLDR partition, all are on the ESP."""

    esp: tuple[BootFile, ...]
    xbootldr: tuple[BootFile, ...]


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry: its identifier, by which loader.conf names it, its file's name, and its text."""

    identifier: str
    name: str
    text: str


def systemd_boot_files(
    store: Store,
    generations: Sequence[Generation],
    default_number: int,
    settings: SystemdBootSettings,
) -> SystemdBootFiles:
    """All files that systemd-boot reads, sorted by path.

    Raises RequestError where `default_number` is none of the generations. There is no machine-id:
    a machine gets its own when it boots.
    """
    copies = _Copies(settings)
    entries = {
        (one.number, name): _entry(one.number, name, spec, copies, settings)
        for one in generations
        for name, spec in [("", one.bootspec), *one.bootspec.specialisations]
    }
    if (default := entries.get((default_number, ""))) is None:
        raise RequestError(f"generation {default_number} cannot be booted")
    starts = [f"default {default.identifier}"]
    if settings.tries is not None:
        # An entry that has failed too often is not preferred any more (systemd-boot >= 260).
        starts = [f"preferred {default.identifier}", f"default {_ANY}"]
    loader_conf = "\n".join([*settings.timeout, *starts, *settings.rest, ""])
    files = [
        *(BootFile(f"{_ENTRIES}/{one.name}", one.text.encode()) for one in entries.values()),
        *(BootFile(name, store.host(path)) for name, path in copies.names.items()),
        *settings.extra_files,
    ]
    return SystemdBootFiles(
        esp=(BootFile("loader/loader.conf", loader_conf.encode()),),
        xbootldr=tuple(sorted(files, key=lambda file: file.path)),
    )


def stub_problems(store: Store, generations: Sequence[Generation]) -> list[str]:
    """One line for each kernel that systemd-boot cannot start, since firmware cannot."""
    problems: list[str] = []
    for one in generations:
        for name, spec in [("", one.bootspec), *one.bootspec.specialisations]:
            if fault := stub_fault(store, spec.kernel, spec.system):
                which = f", specialisation {name!r}" if name else ""
                what = f"generation {one.number}{which}: systemd-boot cannot start the kernel "
                why = f"{spec.kernel}: {fault}; build it with CONFIG_EFI_STUB, or use "
                problems.append(Message(what, why, Setting("boot_loader", "grub")))
    return problems


def absent_initrds(generations: Sequence[Generation], files: Iterable[str]) -> list[str]:
    """One line for each extra initrd that is not among `files`, those beside the entries."""
    there = {name.lower() for name in files}
    where = "(system.boot.extraInitrd.paths) is not on the partition with systemd-boot's entries"
    return [
        Message(
            f"generation {one.number}: its initrd {path} {where}: put it there with ",
            Setting("contents"),
        )
        for one in generations
        for _, spec in [("", one.bootspec), *one.bootspec.specialisations]
        for path in spec.extra_initrds
        if not path.startswith("/") and path.lower() not in there
    ]


class _Copies:
    """Names for the copies of kernels, initrds and device trees."""

    def __init__(self, settings: SystemdBootSettings) -> None:
        self.names: dict[str, str] = {}  # path below the partition → file in the store
        self._settings = settings

    def name(self, path: str) -> str:
        """Where the copy of a file is, absolute."""
        short = self._short(path)
        # NixOS confuses two files of one name in one store path; here each has its own copy.
        if self.names.get(short, path) != path:
            inside = path.removeprefix(f"{STORE}/").replace("/", "-")
            short = f"{self._settings.directory}/{inside}.efi"
        self.names[short] = path
        return f"/{short}"

    def initrds(self, spec: Bootspec) -> list[str]:
        """Where the copies of a system's initrds are, the main one first."""
        names = [] if spec.initrd is None else [self._main_initrd(spec.initrd, spec.initrd_secrets)]
        for path in spec.extra_initrds:
            names.append(self.name(path) if path.startswith("/") else f"/{path}")
        return names

    def _main_initrd(self, path: str, secrets: str | None) -> str:
        # An initrd with secrets has its own name where entries are named by their contents.
        if secrets is None or self._settings.template:
            return self.name(path)
        both = f"{self._short(path)}\n{self._short(secrets)}"
        digest = hashlib.sha256(both.encode()).hexdigest()
        name = f"{self._settings.directory}/{digest}-initrd.efi"
        self.names[name] = path
        return f"/{name}"

    def _short(self, path: str) -> str:
        name = posixpath.basename(path)
        if self._settings.names_of_store_paths:
            top = path.removeprefix(f"{STORE}/").split("/")[0]
            name = name if top == name else f"{top}-{name}"
        else:
            name = f"{posixpath.basename(posixpath.dirname(path))}-{name}"
        return f"{self._settings.directory}/{name}.efi"


def _entry(
    number: int,
    specialisation: str,
    spec: Bootspec,
    copies: _Copies,
    settings: SystemdBootSettings,
) -> _Entry:
    if not settings.template:
        text = "\n".join(_fields(number, specialisation, spec, copies, settings))
        name = f"nixos-{hashlib.sha256(text.encode()).hexdigest()}"
        counter = "" if settings.tries is None else f"+{settings.tries}"
        return _Entry(f"{name}.conf", f"{name}{counter}.conf", text)
    inner = f"-specialisation-{specialisation}" if specialisation else ""
    name = f"nixos-generation-{number}{inner}.conf"
    values = {
        "title": _title(specialisation, settings),
        "specialisation": f" ({specialisation})" if specialisation else "",
        "sort_key": spec.sort_key,
        "generation": str(number),
        "kernel": copies.name(spec.kernel),
        "initrd": "\ninitrd ".join(copies.initrds(spec)),
        "kernel_params": f"init={spec.init} {' '.join(spec.kernel_params)}",
        "description": f"{spec.label}, built on {_BUILT}",
    }
    text = _FIELD.sub(lambda field: values.get(field[1], ""), settings.template)
    text = text.replace("initrd \n", "")  # of a system without one
    if spec.devicetree is not None:
        text += f"devicetree {copies.name(spec.devicetree)}\n"
    return _Entry(name, name, text)


def _fields(
    number: int,
    specialisation: str,
    spec: Bootspec,
    copies: _Copies,
    settings: SystemdBootSettings,
) -> Iterator[str]:
    """The lines of an entry that is named by its contents."""
    yield f"title {_title(specialisation, settings)}"
    yield f"version Generation {number} {spec.label}, built on {_BUILT}"
    yield f"linux {copies.name(spec.kernel)}"
    for initrd in copies.initrds(spec):
        yield f"initrd {initrd}"
    yield f"options {' '.join([f'init={spec.init}', *spec.kernel_params])}"
    if spec.devicetree is not None:
        yield f"devicetree {copies.name(spec.devicetree)}"
    yield f"sort-key {spec.sort_key}"


def _title(specialisation: str, settings: SystemdBootSettings) -> str:
    name = settings.distro_name
    return f"{name} ({specialisation})" if specialisation else name
