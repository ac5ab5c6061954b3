"""Look up everything that a request names."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from assembler.appliance import resources
from assembler.appliance.accelerator import attempts
from assembler.boot.architecture import read_architecture
from assembler.boot.mounts.boot_mounts import BootMounts, boot_mounts
from assembler.boot.mounts.disk_names import DiskNames
from assembler.boot.mounts.fstab import read_mounts
from assembler.boot.places import Places
from assembler.boot.protocol import BootLoader, BootTarget
from assembler.boot.volumes import Role, Volume
from assembler.disk.layout import shape
from assembler.errors import Findings, HostError, Message, RequestError, Setting
from assembler.plan.file_systems import boot_places, make_volumes
from assembler.plan.host_problems import (
    has_export,
    image_problems,
    require_tools,
    root_problems,
)
from assembler.plan.identity import Identity
from assembler.plan.naming import decide_names
from assembler.plan.resolve import Resolution, resolve
from assembler.root.accounts import Accounts, read_accounts
from assembler.root.contents import read_contents
from assembler.root.prepare import channel_problems
from assembler.root.rows import Row, read_target, rows_with
from assembler.root.sh_and_env import find_programs, program_paths
from assembler.root.skeleton import CONFIGURATION
from assembler.spec import RootSpec, Spec
from assembler.store.closure import Closure, read_closure
from assembler.store.links import to_store_path
from assembler.store.paths import AbsentError, StoreRoot
from assembler.tree.closure_files import ClosureFiles


@dataclass(frozen=True, slots=True)
class Request:
    """A valid request, with everything that it names looked up."""

    spec: Spec  # with everything that the system decides
    closure: Closure
    files: ClosureFiles
    architecture: str  # of the system, as Nix calls it: x86_64-linux
    loader: BootLoader
    names: DiskNames
    identity: Identity
    volumes: Mapping[Role, Volume]
    places: Places  # where /boot and the store are
    rows: tuple[Row, ...]


def with_store_paths(spec: RootSpec) -> RootSpec:
    """Return a request in which links to store paths are replaced by these store paths."""
    store = StoreRoot(spec.store.absolute())
    return replace(
        spec,
        store=store.root,
        system=to_store_path(spec.system, store),
        additional_paths=tuple(to_store_path(path, store) for path in spec.additional_paths),
        generations=tuple((n, to_store_path(path, store)) for n, path in spec.generations),
        channel=None if spec.channel is None else to_store_path(spec.channel, store),
    )


def read_root(spec: RootSpec, files: ClosureFiles) -> Closure:
    """Read the closure of a request for a root; raises RequestError with every problem.

    `spec` has store paths, not links to them.
    """
    closure = read_closure(
        spec.closures,
        StoreRoot(spec.store),
        spec.system,
        spec.other_paths,
        files,
        build_dependencies=spec.include_build_deps,
    )
    files.closure = frozenset(closure.paths)
    problems = closure.problems(files, [spec.system, *spec.other_paths])
    if not problems:
        if spec.channel is not None and has_export(spec):
            problems = channel_problems(spec.channel, files)
        find_programs(files, spec.system, program_paths(closure.infos, spec.profile_paths))
    if problems:
        raise RequestError(problems)
    return closure


def read_request(spec: Spec, scratch: Path) -> Request:
    """Look everything up that a request names; raises RequestError for all problems, or HostError.

    `scratch` is a directory for the files that are unpacked from an export.
    """
    spec = spec.with_target()
    require_tools(spec)
    spec = replace(spec, root=with_store_paths(spec.root))
    found = Findings(image_problems(spec))
    if spec.needs_appliance:
        found.problems += resources.problems()
        with found.gather():
            attempts(spec.accelerator)
    files = ClosureFiles(StoreRoot(spec.root.store), scratch)
    try:
        closure, resolution = _read_system(spec, files)
    except (RequestError, HostError) as error:
        with found.gather():
            _read_rows(spec, files, None)
        raise found.with_error(error) from None
    spec = resolution.spec
    rows: list[Row] = []
    with found.gather():
        rows = _read_rows(spec, files, closure)
    names = DiskNames()
    with found.gather():
        names = decide_names(resolution, files)
    try:
        loader, mounts = _find_loader(resolution, closure, files, rows)
    except (RequestError, HostError) as error:
        raise found.with_error(error) from None
    found.raise_any()
    return _request(
        resolution, closure, files=files, loader=loader, names=names, mounts=mounts, rows=rows
    )


def _read_system(spec: Spec, files: ClosureFiles) -> tuple[Closure, Resolution]:
    """The closure, and what the system in it decides; raises RequestError, or HostError."""
    if problems := root_problems(spec.root):
        raise RequestError(problems)
    closure = read_root(spec.root, files)
    resolution = resolve(spec, files, read_architecture(files, spec.root.system))
    resolution.warn()
    return closure, resolution


def _find_loader(
    resolution: Resolution, closure: Closure, files: ClosureFiles, rows: Sequence[Row]
) -> tuple[BootLoader, BootMounts]:
    """The boot loader, and where the system mounts the FATs; raises as `BootLoader.find`."""
    if problems := resolution.problems():
        raise RequestError(problems)
    target = _boot_target(resolution, closure, files, rows)
    return resolution.spec.loader_type.find(target), target.mounts


def _request(
    resolution: Resolution,
    closure: Closure,
    *,
    files: ClosureFiles,
    loader: BootLoader,
    names: DiskNames,
    mounts: BootMounts,
    rows: Sequence[Row],
) -> Request:
    """A valid request, with what follows from it for the disk."""
    spec = resolution.spec
    identity = Identity.of_disk(spec, closure.paths, names.label(Role.ROOT))
    volumes = make_volumes(spec, names, mounts, identity)
    return Request(
        spec=spec,
        closure=closure,
        files=files,
        architecture=resolution.architecture,
        loader=loader,
        names=names,
        identity=identity,
        volumes=volumes,
        places=boot_places(spec, volumes, mounts),
        rows=tuple(rows),
    )


def _boot_target(
    resolution: Resolution, closure: Closure, files: ClosureFiles, rows: Sequence[Row]
) -> BootTarget:
    """The system and the disk for which the boot loader is looked up."""
    spec, root, expected = resolution.spec, resolution.spec.root, resolution.expected
    return BootTarget(
        store=files,
        infos=closure.infos,
        programs=program_paths(closure.infos, root.profile_paths),
        system=root.system,
        architecture=resolution.architecture,
        number=resolution.number,
        generations=[*resolution.generations.items()],
        epoch=root.epoch,
        table=spec.table,
        mounts=boot_mounts(
            shape(spec.table),
            read_mounts(files, root.system),
            expected.esp,
            expected.boot,
        ),
        installer=resolution.installer,
        efi_binaries=spec.efi_binaries,
        image=partial(_read_file, files, rows, root.system),
    )


def _read_file(files: ClosureFiles, rows: Sequence[Row], system: str, path: str) -> bytes | None:
    """The content of a file of the image outside the store; None if it is unknown here.

    The contents put it there, or the system at its activation.
    """
    content = read_target(rows, files, path)
    if content is None and path.startswith("/etc/"):
        with suppress(AbsentError):
            return files.find(f"{system}{path}").read_bytes()
    return content


def _read_rows(spec: Spec, files: ClosureFiles, closure: Closure | None) -> list[Row]:
    """Read the rows of the contents.

    Raises RequestError for them, for two configurations, and for xattrs that the root file system
    cannot hold.
    """
    if spec.contents is None:
        return []
    accounts = Accounts(whole=False)
    if closure is not None:
        accounts = read_accounts(files, closure.infos, spec.root.system)
    rows = read_contents(spec.contents, files, accounts)
    problems = _xattr_problems(spec, rows)
    if spec.root.configuration is not None and (clashes := rows_with(rows, CONFIGURATION)):
        problems += [
            Message(
                Setting("configuration"),
                " and the ",
                Setting("contents"),
                f" row for {row.target}, {row.source}, both make {CONFIGURATION}",
            )
            for row in clashes
        ]
    if problems:
        raise RequestError(problems)
    return rows


def _xattr_problems(spec: Spec, rows: Sequence[Row]) -> list[str]:
    """One line for each reason why files of the root cannot have the xattrs of a row."""
    numbered = {row.number: row for row in rows}  # a pattern makes several rows of one
    return [
        row.message(why)
        for row in numbered.values()
        for why in spec.kind.xattr_problems(row.xattrs)
    ]
