"""From a request to everything that will be written, decided before a byte is."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID

from assembler.boot.grub import Platform, make_core_image
from assembler.boot.grub_cfg import grub_cfg
from assembler.boot.subvolumes import locate
from assembler.disk.layout import ROOT_TYPES, Layout, Table, make_layout
from assembler.errors import HostError, RequestError, reason
from assembler.identity import Identity
from assembler.request import Request
from assembler.root.build import await_file, build_tree, digests, scan_store
from assembler.root.contents import add_contents
from assembler.root.files import Files
from assembler.root.prepare import inside, make_skeleton
from assembler.root.scan import Scanner
from assembler.root.skeleton import DATABASE
from assembler.root.tree import Tree
from assembler.sizes import decide_sizes
from assembler.spec import RootSpec
from assembler.store.closure import Closure
from assembler.store.database import make_database
from assembler.writers.demand import Demand, measure
from assembler.writers.fat import esp_problems
from assembler.writers.limits import tree_problems
from assembler.writers.protocol import FileSystem

PREFIX = "/boot/grub"  # where the core image looks for grub.cfg in the root file system

# What firmware starts from a disk that it does not know (UEFI specification, 3.5.1.1).
EFI_PROGRAM = "EFI/BOOT/BOOTX64.EFI"


@dataclass(frozen=True, slots=True)
class Plan:
    """What the image will be."""

    layout: Layout
    tree: Tree
    demand: Demand
    root: FileSystem
    bios: tuple[bytes, bytes] | None  # GRUB's boot.img and core image, where we install it
    esp: dict[str, bytes]  # path → content of the EFI system partition
    identity: Identity


def fill_skeleton(spec: RootSpec, root: Path, closure: Closure, files: Files) -> list[str]:
    """Make all of a root but the store paths and their database; see `make_skeleton`."""
    return make_skeleton(
        root,
        closure.infos,
        files,
        spec.system,
        epoch=spec.epoch,
        generations=spec.generations,
        channel=spec.channel,
        configuration=spec.configuration,
    )


def make_plan(request: Request, staging: Path) -> Plan:
    """Prepare the root in `staging` and decide all sizes and places.

    Raises RequestError when the image would be too small, saying by how much.
    """
    spec, source, closure = request.spec, request.spec.root, request.closure
    identity = Identity.of(closure.paths, _options(request))
    root_uuid = identity.uuid("root file system")
    prefix = locate(PREFIX, subvolumes=spec.subvolumes)
    tree = Tree(mtime=source.epoch)
    scanner = Scanner(tree)
    # Nix and GRUB's tools work in processes of their own, so they may run while we scan.
    with ThreadPoolExecutor() as pool:
        cores = {
            platform: pool.submit(make_core_image, grub, str(root_uuid), spec.file_system, prefix)
            for platform, grub in request.grubs.items()
        }
        early = pool.submit(_prepare, request, closure, staging) if closure.is_sized else None
        closure = scan_store(tree, scanner, closure, request.files)
        if early is not None:
            early.result()
        else:
            _prepare(request, closure, staging)
    _complete_tree(request, closure, scanner, staging, root_uuid)
    demand = measure(tree)

    def layout_of(size: int) -> Layout:
        return make_layout(
            Table.HYBRID,
            root_size=size,
            boot_size=spec.boot_size,
            seed=identity.uuid,
            root_type=ROOT_TYPES[request.bootspec.system],
        )

    layout, root_size, inodes = decide_sizes(spec, tree, demand, layout_of)
    root = FileSystem(
        offset=layout.root.start,
        size=root_size,
        inodes=inodes,
        label=spec.label,
        uuid=root_uuid,
        hash_seed=identity.uuid("directory hashes"),
        epoch=source.epoch,
        kind=spec.file_system,
        partition=layout.root.number,
        data=demand.data,
        subvolumes=spec.subvolumes,
    )
    boot_code = {platform: core.result() for platform, core in cores.items()}
    esp = {EFI_PROGRAM: boot_code[Platform.EFI]} if boot_code else {}
    if problems := esp_problems(spec.boot_size, esp):
        raise RequestError(problems)
    bios = None
    if boot_code:
        bios = request.grubs[Platform.BIOS].boot_img, boot_code[Platform.BIOS]
    return Plan(layout, tree, demand, root, bios, esp, identity)


def _complete_tree(
    request: Request,
    closure: Closure,
    scanner: Scanner,
    staging: Path,
    root_uuid: UUID,
) -> None:
    """Add to the store paths of a tree all else, and what is to be hashed while they are read.

    `closure` has all sizes. Raises RequestError for what the file system cannot hold.
    """
    spec, source, tree = request.spec, request.spec.root, scanner.tree
    boot_files = {}
    if request.grubs:
        locate_in_btrfs = partial(locate, subvolumes=spec.subvolumes)
        menu = grub_cfg(request.bootspec, root_uuid, locate_in_btrfs)
        boot_files[f"{PREFIX}/grub.cfg"] = menu.encode()
    build_tree(tree, scanner, staging, boot_files, source.epoch)

    def complete(hashed: Closure) -> None:
        if not closure.is_hashed:
            make_database(hashed.infos, request.files, inside(staging, DATABASE), source.epoch)

    tree.digests = digests(closure, source.check_hashes, complete)
    if not closure.is_hashed:
        await_file(tree, f"{DATABASE}/db.sqlite".encode())
    add_contents(tree, scanner, request.rows, source.epoch)
    if problems := tree_problems(spec.file_system, tree, spec.subvolumes):
        raise RequestError(problems)


def _prepare(request: Request, closure: Closure, staging: Path) -> None:
    root = request.spec.root
    fill_skeleton(root, staging, closure, request.files)
    make_database(
        closure.with_dummies().infos, request.files, inside(staging, DATABASE), root.epoch
    )


def _options(request: Request) -> list[object]:
    """What distinguishes two images of one closure, as JSON can write it.

    The bytes of the contents are not in it: they are read once, while they are copied.
    """
    spec = request.spec
    rows = [
        (
            row.target,
            row.uid,
            row.gid,
            row.mode,
            [(name, value.hex()) for name, value in row.xattrs],
        )
        for row in request.rows
    ]
    sizes = [spec.size, spec.additional_space, spec.boot_size]
    options = [spec.root.system, spec.root.epoch, spec.label, sizes, rows]
    more = [sorted(spec.root.generations), spec.root.channel, _digest(spec.root.configuration)]
    if any(more):
        options.append(more)
    if spec.file_system != "ext4":
        options.append([spec.file_system, spec.subvolumes])
    if spec.boot_loader != "grub":
        options.append(spec.boot_loader)
    return options


def _digest(file: Path | None) -> str | None:
    """The SHA-256 of a file in hexadecimal; raises HostError."""
    if file is None:
        return None
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise HostError(f"cannot read {reason(error)}") from None
