"""The problems of a request on this host: files, directories and programs."""

import os
from collections.abc import Sequence
from pathlib import Path

from assembler.appliance import session
from assembler.check import libparted
from assembler.disk import table_writer
from assembler.errors import HostError, Message, Setting
from assembler.filesystems.guestfs.writer import GuestfsWriter
from assembler.filesystems.registry import ROOT_KINDS
from assembler.formats.registry import format_problems
from assembler.host import programs
from assembler.host.output import out_problems
from assembler.host.regular import input_fault
from assembler.plan.beside import beside_problems
from assembler.root.prepare import channel_problems
from assembler.spec import RootSpec, Spec
from assembler.store.links import link_fault
from assembler.store.paths import StoreRoot, is_store_path
from assembler.store.sources import STANDARD_INPUT, brings_files
from assembler.units import SECTOR

_TOOLS = ("nix-store", "mke2fs", "e2fsck", "mkfs.fat", "fsck.fat", "mmd", "mcopy", "sfdisk")


def root_problems(spec: RootSpec) -> list[str]:
    """Return one line for each problem of a root: its values, and what they name on this host."""
    lines: list[str] = []
    if not has_export(spec) and not os.path.isdir(spec.store):
        lines.append(Message(Setting("store", spec.store), " is not a directory"))
    return [
        *lines,
        *_path_problems(spec),
        *_configuration_problems(spec.configuration),
        *_closure_problems(spec.closures),
        *spec.problems(),
    ]


def image_problems(spec: Spec) -> list[str]:
    """Return one line for each problem of an image, with those of its root; some may be twice."""
    out = [*format_problems(spec.format, spec.out), *out_problems(spec.out)]
    out = out or beside_problems(spec)
    return [*root_problems(spec.root), *out, *spec.problems()]


def has_export(spec: RootSpec) -> bool:
    """Return whether a closure source is, or may be, an export, which brings files of its own."""
    return any(map(brings_files, spec.closures))


def require_tools(spec: Spec) -> None:
    """Raise HostError with a line for each tool that the host lacks."""
    missing = programs.require(*_TOOLS, *spec.output_format.programs)
    if spec.table.has_partitions:
        missing += table_writer.problems() + libparted.problems()
    if spec.table.has_partitions or spec.loader_type.boots:
        missing += programs.require("grub-fstest", "grub-script-check")  # for boot chains
    if spec.sector_size != SECTOR:
        missing += programs.require("fdisk")
    if spec.needs_appliance:
        missing += session.problems()
    missing += _writer_problems(spec)
    if missing:
        raise HostError(*missing)


def _writer_problems(spec: Spec) -> list[str]:
    """Return what a writer of the root lacks; a direct one whatever kind it is asked for."""
    if not spec.writes_in_appliance:
        direct = [kind.direct for kind in ROOT_KINDS.values() if kind.direct is not None]
        return [line for writer in direct for line in writer.problems()]
    return GuestfsWriter(spec.kind).problems()


def _path_problems(spec: RootSpec) -> list[str]:
    """Return what is wrong with store paths; an export may bring those that are not here."""
    store, may_be_absent, lines = StoreRoot(spec.store), has_export(spec), list[str]()
    for setting, path in spec.named_paths:
        if not is_store_path(path):
            why = link_fault(path, store)
            lines.append(Message(setting, f" is not a store path: {why}"))
        elif may_be_absent:
            continue
        elif not os.path.lexists(store.host(path)):
            lines.append(Message(setting, " does not exist"))
        elif setting.name == "channel":
            lines += channel_problems(path, store)
    return lines


def _configuration_problems(file: Path | None) -> list[str]:
    # Not Path.is_file and the like, which raise for a directory that may not be entered.
    if file is None or (os.path.isfile(file) and os.access(file, os.R_OK)):
        return []
    if os.path.isfile(file):
        fault = "may not be read"
    else:
        fault = "is not a file" if os.path.exists(file) else "does not exist"
    return [Message(Setting("configuration", file), f" {fault}")]


def _closure_problems(closures: Sequence[Path]) -> list[str]:
    return [
        Message(Setting("closures", closure), f" {fault}")
        for closure in closures
        if closure != STANDARD_INPUT and (fault := input_fault(closure))
    ]
