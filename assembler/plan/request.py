"""What a user asks for, with all that it names looked up."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from assembler.appliance import kernels, resources, session
from assembler.appliance.accelerator import attempts
from assembler.boot.architecture import read_architecture
from assembler.boot.loader import Loader, Wanted, find_loader
from assembler.boot.mounts.names import Names
from assembler.disk import table
from assembler.disk.layout import Table
from assembler.errors import Findings, HostError, RequestError
from assembler.filesystems.ext4 import libext2fs
from assembler.host import process
from assembler.plan.naming import decide_names
from assembler.plan.resolve import Resolution, resolve
from assembler.root.accounts import Accounts, read_accounts
from assembler.root.contents import read_contents
from assembler.root.prepare import channel_problems
from assembler.root.programs import find_programs, program_paths
from assembler.root.rows import Row, read_target, rows_with
from assembler.root.skeleton import CONFIGURATION, current_generation
from assembler.spec import LABEL_MAX, RootSpec, Spec
from assembler.store.closure import Closure, read_closure
from assembler.store.paths import AbsentError
from assembler.tree.files import Files
from assembler.units import SECTOR

_TOOLS = ("nix-store", "mke2fs", "e2fsck", "mkfs.fat", "fsck.fat", "mmd", "mcopy", "sfdisk")


@dataclass(frozen=True, slots=True)
class Request:
    """A request that makes sense, with all that it names looked up."""

    spec: Spec  # with what the system decides of it
    closure: Closure
    files: Files
    architecture: str  # of the system, as Nix calls it: x86_64-linux
    loader: Loader
    names: Names
    rows: tuple[Row, ...]


def read_root(spec: RootSpec, files: Files) -> Closure:
    """The closure of a request for a root; raises RequestError with every problem."""
    closure = read_closure(
        spec.closures,
        spec.store,
        spec.system,
        spec.further_paths,
        files,
        build_dependencies=spec.include_build_deps,
    )
    files.closure = frozenset(closure.paths)
    problems = closure.problems(files, [spec.system, *spec.further_paths])
    if not problems:
        if spec.channel is not None and spec.brings_files:
            problems = channel_problems(spec.channel, files)
        find_programs(files, spec.system, program_paths(closure.infos, spec.profile_paths))
    if problems:
        raise RequestError(problems)
    return closure


def read_request(spec: Spec, scratch: Path) -> Request:
    """Look up all that the request names; raises RequestError with every problem, or HostError.

    `scratch` is a directory for what of an export is needed as files.
    """
    _require_tools(spec)
    found = Findings(spec.problems())
    if spec.needs_appliance:
        found.problems += resources.problems()
        with found.gather():
            attempts(spec.accelerator)
    files = Files(spec.root.store, scratch)
    closure, loader, architecture, names = None, None, "", Names()
    resolution: Resolution | None = None
    if not spec.root.problems():
        with found.gather():
            closure = read_root(spec.root, files)
            architecture = read_architecture(files, spec.root.system)
            resolution = resolve(spec, files, architecture)
            spec = resolution.spec
            resolution.warn()
    rows: list[Row] = []
    with found.gather():
        rows = _read_rows(spec, files, closure)
    if closure is not None and resolution is not None:
        with found.gather():
            if problems := resolution.problems():
                found.problems += problems
            else:
                loader = _find_loader(resolution, closure, files, rows)
        with found.gather():
            if spec.file_system in LABEL_MAX:
                names = decide_names(resolution, files)
    found.tell()
    assert closure is not None
    assert loader is not None
    return Request(spec, closure, files, architecture, loader, names, tuple(rows))


def _find_loader(
    resolution: Resolution, closure: Closure, files: Files, rows: Sequence[Row]
) -> Loader:
    spec, root = resolution.spec, resolution.spec.root
    number = current_generation(root.system, root.generations)
    wanted = Wanted(
        loader=spec.loader,
        table=spec.partition_table,
        system=root.system,
        architecture=resolution.architecture,
        systemd_boot=resolution.systemd_boot,
        generations=[*dict([*root.generations, (number, root.system)]).items()],
        epoch=root.epoch,
        efi_binaries=spec.efi_binaries,
        image=partial(_read_file, files, rows, root.system),
    )
    return find_loader(
        wanted, files, closure.infos, program_paths(closure.infos, root.profile_paths)
    )


def _read_file(files: Files, rows: Sequence[Row], system: str, path: str) -> bytes | None:
    """What the image will have at a path outside the store; None for nothing that is known here.

    That is what the contents put there, or the system at its activation.
    """
    content = read_target(rows, files, path)
    if content is None and path.startswith("/etc/"):
        with suppress(AbsentError):
            return files.host(files.resolve(f"{system}{path}")).read_bytes()
    return content


def _require_tools(spec: Spec) -> None:
    """Raise HostError with a line for each tool that the host lacks."""
    missing = process.require(*_TOOLS)
    if spec.partition_table is not Table.NONE:
        missing += table.problems()
    if spec.partition_table is not Table.NONE or spec.loader != "none":
        missing += process.require("grub-fstest", "grub-script-check")  # for boot chains
    if spec.sector_size != SECTOR:
        missing += process.require("fdisk")
    if not spec.writes_in_appliance:
        missing += libext2fs.problems()
    if spec.needs_appliance:
        missing += session.problems()
    if spec.writes_in_appliance and spec.file_system in LABEL_MAX:
        missing += kernels.problems(spec.file_system, LABEL_MAX)
    if missing:
        raise HostError(*missing)


def _read_rows(spec: Spec, files: Files, closure: Closure | None) -> list[Row]:
    """The rows of `--contents`; raises RequestError for these and for a second configuration."""
    if spec.contents is None:
        return []
    accounts = Accounts(whole=False)
    if closure is not None:
        accounts = read_accounts(files, closure.infos, spec.root.system)
    rows = read_contents(spec.contents, files, accounts)
    if spec.root.configuration is not None and (clashes := rows_with(rows, CONFIGURATION)):
        raise RequestError(
            [
                f"--configuration and the --contents row for {row.target}, {row.source}, both "
                f"make {CONFIGURATION}"
                for row in clashes
            ]
        )
    return rows
