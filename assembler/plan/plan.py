"""The plan of an image: everything that will be written, decided before a byte is."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from assembler.boot.bootspec import Bootspec
from assembler.boot.generation import read_system
from assembler.boot.protocol import BootCode, BootData, BootLoader
from assembler.boot.volumes import Role, Volume
from assembler.disk.layout import Layout, make_layout
from assembler.disk.tables import root_type
from assembler.errors import RequestError
from assembler.filesystems.demand import Demand, measure
from assembler.filesystems.fat.fat import Fat, fat_problems
from assembler.filesystems.kind import Size
from assembler.filesystems.protocol import RootFileSystem
from assembler.plan.file_systems import make_fats, name_partitions
from assembler.plan.identity import Identity
from assembler.plan.request import Request
from assembler.plan.root_tree import StagedRoot
from assembler.plan.sizes import decide_sizes
from assembler.plan.target_findings import size_problems
from assembler.spec import Spec
from assembler.tree.tree import Tree
from assembler.units import BLOCK


@dataclass(frozen=True, slots=True)
class Plan:
    """The layout and the content of an image."""

    spec: Spec  # the request, with everything that the system decides
    identity: Identity
    layout: Layout
    tree: Tree
    demand: Demand
    root: RootFileSystem
    fats: tuple[Fat, ...]  # the EFI system partition, and one for kernels
    loader: BootLoader
    code: BootCode | None  # for a BIOS; None if it is not made here
    volumes: Mapping[Role, Volume]
    architecture: str  # of the system, as Nix calls it: x86_64-linux
    bootspec: Bootspec | None  # of the system; None if it has no kernel
    disks: frozenset[str] = frozenset()  # the name that the machine must give the disk: sda


def make_plan(request: Request, staged: StagedRoot, boot: BootData) -> Plan:
    """Decide all sizes and places for a complete tree; `boot` is what `complete_tree` returned.

    Raises RequestError for what the root file system cannot hold, when the image would be too
    small, with what is missing, and for a boot loader that its partitions cannot hold.
    """
    spec, tree = request.spec, staged.tree
    demand = measure(tree)
    if problems := spec.kind.problems(tree, demand, spec.subvolumes):
        raise RequestError(problems)
    layout, size = decide_sizes(spec, tree, demand, partial(_layout_of, request=request))
    plan = Plan(
        spec=spec,
        identity=request.identity,
        layout=layout,
        tree=tree,
        demand=demand,
        root=_root_file_system(request, layout, size, demand),
        fats=tuple(make_fats(layout, boot, request.volumes, spec.root.epoch)),
        loader=request.loader,
        code=boot.code,
        volumes=request.volumes,
        architecture=request.architecture,
        bootspec=_bootspec(request),
        disks=request.names.disks,
    )
    system = plan.bootspec
    problems = size_problems(
        spec,
        layout,
        demand.blocks * BLOCK,
        plan.architecture,
        None if system is None else system.kernel_params,
    )
    problems += [problem for fat in plan.fats for problem in fat_problems(fat)]
    problems += [] if boot.code is None else boot.code.problems(layout)
    if problems := problems + request.loader.problems(boot, request.places):
        raise RequestError(problems)
    return plan


def _layout_of(root_size: int, request: Request) -> Layout:
    """The disk for a root of so many bytes."""
    layout = make_layout(
        request.spec.table,
        root_size=root_size,
        boot_size=request.spec.boot_size,
        seed=request.identity.uuid,
        root_type=root_type(request.architecture, request.spec.layout),
        sector_size=request.spec.sector_size,
        rules=request.spec.layout,
    )
    return name_partitions(layout, request.names, request.spec)


def _root_file_system(
    request: Request, layout: Layout, size: Size, demand: Demand
) -> RootFileSystem:
    volume = request.volumes[Role.ROOT]
    return RootFileSystem(
        offset=layout.root.start,
        size=size.bytes,
        inodes=size.inodes,
        label=volume.label,
        uuid=UUID(volume.uuid),
        hash_seed=request.identity.uuid("directory hashes"),
        epoch=request.spec.root.epoch,
        partition=layout.root.number,
        sector_size=layout.sector_size,
        data=demand.data,
        subvolumes=request.spec.subvolumes,
    )


def _bootspec(request: Request) -> Bootspec | None:
    """The bootspec of the system, whatever boots it."""
    with suppress(RequestError):  # a system that something else boots need not have one
        return read_system(request.files, request.spec.root.system)
    return None
