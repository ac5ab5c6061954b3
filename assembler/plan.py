"""From a request to everything that will be written, decided before a byte is."""

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
from assembler.disk import other_sizes
from assembler.disk.ext4_size import free_after_mke2fs, smallest_ext4
from assembler.disk.layout import Layout, hybrid
from assembler.errors import HostError, RequestError
from assembler.identity import Identity
from assembler.root.build import build_tree, scan_store
from assembler.root.contents import Row, add_contents, read_contents
from assembler.root.prepare import find_shell, prepare_root
from assembler.root.scan import Scanner
from assembler.root.tree import Tree, show
from assembler.spec import LABEL_MAX, RootSpec, Spec
from assembler.store.closure import Closure, read_closure
from assembler.units import BLOCK, MIB, ceil_div, format_size
from assembler.writers.demand import Demand, largest_paths, measure
from assembler.writers.fat import esp_problems
from assembler.writers.limits import tree_problems
from assembler.writers.protocol import FileSystem

_BYTES_PER_INODE = 16384  # inode_ratio in mke2fs.conf(5): what an ordinary ext4 has room for
_TOOLS = ("nix-store", "mke2fs", "e2fsck", "mkfs.fat", "fsck.fat", "mmd", "mcopy", "sfdisk")
# What firmware starts from a disk that it does not know (UEFI specification, 3.5.1.1).
EFI_PROGRAM = "EFI/BOOT/BOOTX64.EFI"
_GROUP = 32768 * BLOCK  # bytes of an ext4 block group
_LARGEST = 5  # paths to name when an image is too small


@dataclass(frozen=True, slots=True)
class Request:
    """A request that makes sense, with all that it names looked up."""

    spec: Spec
    closure: Closure
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


def read_root(spec: RootSpec) -> Closure:
    """The closure of a request for a root; raises RequestError with every problem."""
    closure = read_closure(
        spec.closures,
        spec.store,
        spec.system,
        spec.additional_paths,
        build_dependencies=spec.include_build_deps,
    )
    problems = closure.problems(spec.store, [spec.system, *spec.additional_paths])
    if not problems:
        find_shell(spec.store, spec.system, closure.paths)
        return closure
    raise RequestError(problems)


def read_request(spec: Spec) -> Request:
    """Look up all that the request names; raises RequestError with every problem, or HostError."""
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
    rows: list[Row] = []
    with gather():
        if spec.contents is not None:
            rows = read_contents(spec.contents, spec.root.store)
    if not spec.root.problems():
        with gather():
            bootspec = read_bootspec(spec.root.store, spec.root.system)
        with gather():
            closure = read_root(spec.root)
            if spec.boot_loader == "grub":
                grubs = {p: find_grub(p, spec.root.store, closure.paths) for p in Platform}
    if problems:
        raise RequestError([*dict.fromkeys(problems), *map(str, failures)])
    if failures:
        raise failures[0]
    return Request(spec, closure, bootspec, grubs, tuple(rows))


def make_plan(request: Request, staging: Path) -> Plan:
    """Prepare the root in `staging` and decide all sizes and places.

    Raises RequestError when the image would be too small, saying by how much.
    """
    spec, source, closure = request.spec, request.spec.root, request.closure
    identity = Identity.of(closure.infos, _options(request))
    root_uuid = identity.uuid("root file system")
    locate_in_btrfs = partial(locate, subvolumes=spec.subvolumes)
    tree = Tree(mtime=source.epoch)
    scanner = Scanner(tree)
    # Nix and GRUB's tools work in processes of their own, so they may run while we scan.
    with ThreadPoolExecutor() as pool:
        prepared = pool.submit(
            prepare_root, staging, closure, source.store, source.system, epoch=source.epoch
        )
        cores = {
            platform: pool.submit(
                make_core_image, grub, root_uuid, spec.file_system, locate_in_btrfs(PREFIX)
            )
            for platform, grub in request.grubs.items()
        }
        scan_store(scanner, closure, source.store)
        prepared.result()
    boot_files = {}
    if request.grubs:
        boot_files[f"{PREFIX}/grub.cfg"] = grub_cfg(
            request.bootspec, root_uuid, locate_in_btrfs
        ).encode()
    build_tree(tree, scanner, staging, boot_files, source.epoch)
    add_contents(tree, scanner, request.rows, source.epoch)
    if problems := tree_problems(spec.file_system, tree, spec.subvolumes):
        raise RequestError(problems)
    demand = measure(tree)
    layout, root_size, inodes = _sizes(spec, tree, demand, identity)
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
    if spec.file_system != "ext4":
        options.append([spec.file_system, spec.subvolumes])
    if spec.boot_loader != "grub":
        options.append(spec.boot_loader)
    return options


def _sizes(spec: Spec, tree: Tree, demand: Demand, identity: Identity) -> tuple[Layout, int, int]:
    """The layout, the bytes of the root file system and how many inodes it shall have free.

    Raises RequestError for a size that cannot hold the tree.
    """
    if spec.file_system != "ext4":
        return *_other_sizes(spec, tree, demand, identity), demand.inodes
    spare = demand.inodes // 4 + 1024  # for what the machine itself will write
    inodes = demand.inodes + spare
    if spec.size is None:
        wanted = demand.blocks + ceil_div(spec.additional_space, BLOCK)
        inodes = max(inodes, wanted * BLOCK // _BYTES_PER_INODE)
        root_size = smallest_ext4(wanted, inodes)
        return hybrid(root_size, spec.boot_size, identity.uuid), root_size, inodes
    smallest = smallest_ext4(demand.blocks, inodes)
    room = spec.size - hybrid(0, spec.boot_size, identity.uuid).size
    if room < smallest:
        raise RequestError(_too_small(tree, spec.size, smallest - room))
    layout = hybrid(room, spec.boot_size, identity.uuid)
    usual = max(inodes, room // _BYTES_PER_INODE)
    root_size = _largest_ext4(room, smallest, usual)
    if root_size and free_after_mke2fs(root_size // BLOCK, usual)[0] >= demand.blocks:
        return layout, root_size, usual
    return layout, _largest_ext4(room, smallest, inodes), inodes


def _other_sizes(spec: Spec, tree: Tree, demand: Demand, identity: Identity) -> tuple[Layout, int]:
    """The layout and the bytes of a root file system whose needs are known by bounds only."""
    free = spec.additional_space if spec.size is None else 0
    size = other_sizes.smallest(
        spec.file_system, blocks=demand.blocks, inodes=demand.inodes, free=free
    )
    if spec.size is not None:
        room = spec.size - hybrid(0, spec.boot_size, identity.uuid).size
        if room < size:
            raise RequestError(_too_small(tree, spec.size, size - room))
        size = room
    layout = hybrid(size, spec.boot_size, identity.uuid)
    return layout, layout.root.size


def _largest_ext4(room: int, smallest: int, inodes: int) -> int:
    """The most of `room` bytes that mke2fs can use: it leaves a last group of few blocks out.

    0 when nothing from `smallest` on has room for so many inodes.
    """
    for size in range(room, max(smallest, room - _GROUP) - MIB, -MIB):
        try:
            free_after_mke2fs(size // BLOCK, inodes)
        except ValueError:
            continue
        return size
    return 0


def _too_small(tree: Tree, size: int, missing: int) -> list[str]:
    """What to tell of an image that cannot hold its tree."""
    return [
        f"--size {format_size(size)} is too small: {format_size(missing)} are missing",
        "the largest of what should go in:",
        *(f"  {format_size(n):>10}  {show(path)}" for n, path in largest_paths(tree, _LARGEST)),
    ]
