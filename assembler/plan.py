"""From a request to everything that will be written, decided before a byte is."""

import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from assembler import process
from assembler.appliance import kernels, resources, session
from assembler.appliance.accelerator import attempts
from assembler.boot.bootspec import Bootspec, read_bootspec
from assembler.boot.grub import PREFIX, Grub, Platform, find_grub, make_core_image
from assembler.boot.grub_cfg import grub_cfg
from assembler.boot.subvolumes import locate
from assembler.disk.layout import Layout
from assembler.errors import HostError, RequestError, reason
from assembler.identity import Identity
from assembler.root.build import await_file, build_tree, digests, scan_store
from assembler.root.contents import Row, add_contents, read_contents, rows_with
from assembler.root.files import Files
from assembler.root.prepare import (
    channel_problems,
    find_shell,
    inside,
    make_skeleton,
    program_paths,
)
from assembler.root.scan import Scanner
from assembler.root.skeleton import CONFIGURATION, DATABASE
from assembler.root.tree import Tree
from assembler.sizes import decide_sizes
from assembler.spec import LABEL_MAX, RootSpec, Spec
from assembler.store.closure import Closure, read_closure
from assembler.store.database import make_database
from assembler.writers.demand import Demand, measure
from assembler.writers.fat import esp_problems
from assembler.writers.limits import tree_problems
from assembler.writers.protocol import FileSystem

_TOOLS = ("nix-store", "mke2fs", "e2fsck", "mkfs.fat", "fsck.fat", "mmd", "mcopy", "sfdisk")
# What firmware starts from a disk that it does not know (UEFI specification, 3.5.1.1).
EFI_PROGRAM = "EFI/BOOT/BOOTX64.EFI"


@dataclass(frozen=True, slots=True)
class Request:
    """A request that makes sense, with all that it names looked up."""

    spec: Spec
    closure: Closure
    files: Files
    bootspec: Bootspec
    grubs: Mapping[Platform, Grub]  # empty when the system's own installer takes the part
    rows: tuple[Row, ...]


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
    problems = closure.problems(files, [spec.system, *spec.further_paths])
    if not problems:
        if spec.channel is not None and spec.brings_files:
            problems = channel_problems(spec.channel, files)
        find_shell(files, spec.system, program_paths(closure.infos, spec.profile_paths))
    if problems:
        raise RequestError(problems)
    return closure


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


def read_request(spec: Spec, scratch: Path) -> Request:
    """Look up all that the request names; raises RequestError with every problem, or HostError.

    `scratch` is a directory for what of an export is needed as files.
    """
    missing = process.require(*_TOOLS)
    if spec.needs_appliance:
        missing += session.problems()
    if spec.writes_in_appliance and spec.file_system in LABEL_MAX:
        missing += kernels.problems(spec.file_system, LABEL_MAX)
    if missing:
        raise HostError("\n".join(missing))
    problems = spec.problems()
    if spec.needs_appliance:
        problems += resources.problems()
    failures: list[HostError] = []
    grubs: dict[Platform, Grub] = {}

    @contextmanager
    def gather() -> Iterator[None]:
        try:
            yield
        except RequestError as error:
            problems.extend(error.problems)
        except HostError as error:
            failures.append(error)

    if spec.needs_appliance:
        with gather():
            attempts(spec.accelerator)
    files = Files(spec.root.store, scratch)
    closure = None
    if not spec.root.problems():
        with gather():
            closure = read_root(spec.root, files)
            if spec.boot_loader == "grub":
                grubs = {
                    p: find_grub(p, files, program_paths(closure.infos, spec.root.profile_paths))
                    for p in Platform
                }
        # Of an export that could not be read, no more need be said.
        if closure is not None or not spec.root.brings_files:
            with gather():
                bootspec = read_bootspec(files, spec.root.system)
    rows: list[Row] = []
    with gather():
        if spec.contents is not None:
            rows = read_contents(spec.contents, files)
            problems += [
                f"--configuration and the --contents row for {row.target}, {row.source}, both "
                f"make {CONFIGURATION}"
                for row in rows_with(rows, CONFIGURATION)
                if spec.root.configuration is not None
            ]
    if problems:
        raise RequestError([*dict.fromkeys(problems), *map(str, failures)])
    if failures:
        raise failures[0]
    assert closure is not None
    return Request(spec, closure, files, bootspec, grubs, tuple(rows))


def make_plan(request: Request, staging: Path) -> Plan:
    """Prepare the root in `staging` and decide all sizes and places.

    Raises RequestError when the image would be too small, saying by how much.
    """
    spec, source, closure = request.spec, request.spec.root, request.closure
    identity = Identity.of(closure.paths, _options(request))
    root_uuid = identity.uuid("root file system")
    locate_in_btrfs = partial(locate, subvolumes=spec.subvolumes)
    tree = Tree(mtime=source.epoch)
    scanner = Scanner(tree)
    # Nix and GRUB's tools work in processes of their own, so they may run while we scan.
    with ThreadPoolExecutor() as pool:
        cores = {
            platform: pool.submit(
                make_core_image, grub, root_uuid, spec.file_system, locate_in_btrfs(PREFIX)
            )
            for platform, grub in request.grubs.items()
        }
        early = pool.submit(_prepare, request, closure, staging) if closure.is_sized else None
        closure = scan_store(tree, scanner, closure, request.files)
        if early is not None:
            early.result()
        else:
            _prepare(request, closure, staging)
    boot_files = {}
    if request.grubs:
        boot_files[f"{PREFIX}/grub.cfg"] = grub_cfg(
            request.bootspec, root_uuid, locate_in_btrfs
        ).encode()
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
    demand = measure(tree)
    layout, root_size, inodes = decide_sizes(spec, tree, demand, identity)
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
