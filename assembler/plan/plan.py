"""From a request to everything that will be written, decided before a byte is."""

from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID

from assembler.boot.bootspec import Bootspec
from assembler.boot.generation import read_system
from assembler.boot.mounts.fstab import read_mounts
from assembler.boot.mounts.volumes import Role, Volume
from assembler.boot.protocol import BootCode, BootData, BootLoader
from assembler.disk.layout import Layout, make_layout
from assembler.disk.tables import root_type
from assembler.errors import RequestError
from assembler.filesystems.demand import Demand, measure
from assembler.filesystems.fat.fat import Fat, fat_problems
from assembler.filesystems.protocol import RootFileSystem
from assembler.filesystems.registry import DEFAULT
from assembler.plan.fat_rows import fat_places, move_to_fats, warn_of_hidden
from assembler.plan.identity import Identity
from assembler.plan.request import Request
from assembler.plan.sizes import decide_sizes
from assembler.plan.volumes import boot_places, make_fats, make_volumes, name_partitions
from assembler.root.build import build_tree, scan_store
from assembler.root.placing import add_contents
from assembler.root.prepare import make_skeleton
from assembler.root.skeleton import DATABASE
from assembler.spec import Spec
from assembler.store.closure import Closure
from assembler.store.database import make_database
from assembler.store.paths import inside
from assembler.tree.files import ClosureFiles
from assembler.tree.scan import Scanner
from assembler.tree.tree import Tree
from assembler.units import SECTOR


@dataclass(frozen=True, slots=True)
class Plan:
    """What the image will be."""

    spec: Spec  # what was asked for, with what the system decides of it
    layout: Layout
    tree: Tree
    closure: Closure  # with all sizes
    files: ClosureFiles
    database: Path  # the staged root's directory of the Nix database, which the tree has
    demand: Demand
    root: RootFileSystem
    fats: tuple[Fat, ...]  # the EFI system partition, and one for kernels
    loader: BootLoader
    code: BootCode | None  # what a BIOS starts, where it is made here
    volumes: Mapping[Role, Volume]
    architecture: str  # of the system, as Nix calls it: x86_64-linux
    bootspec: Bootspec | None  # of the system; None where it has no kernel
    disks: frozenset[str] = frozenset()  # what the machine must call the disk: sda


def make_plan(request: Request, staging: Path) -> Plan:
    """Prepare the root in `staging` and decide all sizes and places.

    Raises RequestError when the image would be too small, saying by how much.
    """
    spec = request.spec
    identity = Identity.of(request.closure.paths, _options(request))
    names = request.names
    volumes = make_volumes(spec, names, request.mounts, identity)
    places = boot_places(spec, volumes, request.mounts)
    tree = Tree(mtime=spec.root.epoch)
    # Nix and GRUB's tools work in processes of their own, so they may run while we scan.
    with ThreadPoolExecutor() as pool:
        made = pool.submit(request.loader.make, places)
        closure, scanner = _scan_and_prepare(request, tree, staging, pool)
    data = _complete_tree(request, scanner, staging, made.result(), volumes=volumes)
    demand = measure(tree)
    layout, size = decide_sizes(
        spec, tree, demand, partial(_layout_of, request=request, identity=identity)
    )
    plan = Plan(
        spec=spec,
        layout=layout,
        tree=tree,
        closure=closure,
        files=request.files,
        database=inside(staging, DATABASE),
        demand=demand,
        root=RootFileSystem(
            offset=layout.root.start,
            size=size.bytes,
            inodes=size.inodes,
            label=volumes[Role.ROOT].label,
            uuid=UUID(volumes[Role.ROOT].uuid),
            hash_seed=identity.uuid("directory hashes"),
            epoch=spec.root.epoch,
            partition=layout.root.number,
            sector_size=layout.sector_size,
            data=demand.data,
            subvolumes=spec.subvolumes,
        ),
        fats=tuple(make_fats(layout, data, volumes, spec.root.epoch)),
        loader=request.loader,
        code=data.code,
        volumes=volumes,
        architecture=request.architecture,
        bootspec=_bootspec(request),
        disks=names.disks,
    )
    problems = [problem for fat in plan.fats for problem in fat_problems(fat)]
    problems += [] if data.code is None else data.code.problems(layout)
    if problems := problems + request.loader.problems(data, places):
        raise RequestError(problems)
    return plan


def _bootspec(request: Request) -> Bootspec | None:
    """The bootspec of the system, whatever boots it."""
    with suppress(RequestError):  # a system that something else boots need not have one
        return read_system(request.files, request.spec.root.system)
    return None


def _layout_of(root_size: int, request: Request, identity: Identity) -> Layout:
    """The disk for a root of so many bytes."""
    layout = make_layout(
        request.spec.table,
        root_size=root_size,
        boot_size=request.spec.boot_size,
        seed=identity.uuid,
        root_type=root_type(request.architecture),
        sector_size=request.spec.sector_size,
    )
    return name_partitions(layout, request.names, request.spec.disk_guid)


def _scan_and_prepare(
    request: Request, tree: Tree, staging: Path, pool: Executor
) -> tuple[Closure, Scanner]:
    """Add the store paths to a tree, and prepare the root meanwhile, if all sizes are known."""
    scanner = Scanner(tree)
    early = None
    if request.closure.is_sized:
        early = pool.submit(_prepare, request, request.closure, staging)
    closure = scan_store(tree, scanner, request.closure, request.files)
    if early is not None:
        early.result()
    else:
        _prepare(request, closure, staging)
    return closure, scanner


def _complete_tree(
    request: Request,
    scanner: Scanner,
    staging: Path,
    data: BootData,
    *,
    volumes: Mapping[Role, Volume],
) -> BootData:
    """Add everything else to the store paths of a tree.

    Returns `data` with the user's files that are beside the boot loader's. Raises RequestError for
    what the file systems cannot hold.
    """
    spec, source, tree = request.spec, request.spec.root, scanner.tree
    root = {f"/{file.path}": file.node(source.epoch) for file in data.of(Role.ROOT)}
    build_tree(tree, scanner, staging, root, source.epoch)
    add_contents(tree, scanner, request.rows, source.epoch)
    places = fat_places(volumes)
    seen = [*places, *(place for _, place in spec.subvolumes)]
    warn_of_hidden(request.rows, read_mounts(request.files, source.system), seen)
    data = move_to_fats(tree, request.rows, places, data)
    if problems := spec.kind.tree_problems(tree, spec.subvolumes):
        raise RequestError(problems)
    return data


def _prepare(request: Request, closure: Closure, staging: Path) -> None:
    root = request.spec.root
    make_skeleton(staging, root, closure.infos, request.files)
    make_database(
        closure.with_dummies().infos, request.files, inside(staging, DATABASE), root.epoch
    )


def _options(request: Request) -> list[object]:
    """What distinguishes two disks of one closure, as JSON can write it.

    What the user puts on them is not in it: a changed file leaves the disk's GUIDs as they are.
    """
    spec = request.spec
    sizes = [spec.size, spec.additional_space, spec.boot_size]
    no_rows: list[object] = []  # once those of the contents; without it all UUIDs would change
    label = request.names.label(Role.ROOT)
    options = [spec.root.system, spec.root.epoch, label, sizes, no_rows]
    more = [sorted(spec.root.generations), spec.root.channel, None]
    if any(more):
        options.append(more)
    if spec.kind is not DEFAULT:
        options.append([spec.file_system, spec.subvolumes])
    boot = [spec.table, spec.sector_size, spec.loader]
    if boot != ["hybrid", SECTOR, "grub"]:
        options.append(boot)
    if spec.seed:
        options.append({"seed": spec.seed})
    return options
