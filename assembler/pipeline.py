"""The story of an image, in order."""

import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from assembler.appliance.mounts import UNMOUNT, mount
from assembler.appliance.session import Appliance, AttachedDisk
from assembler.check.image import Report, check_image
from assembler.copying.sender import Hashing
from assembler.copying.sharing import CopyMode, can_share, copy_problems
from assembler.disk.writer import write_table
from assembler.errors import AssembleError, HostError, InternalError, RequestError
from assembler.filesystems.demand import largest_paths, measure
from assembler.filesystems.fat.fat import write_fat
from assembler.filesystems.guestfs.writer import GuestfsWriter
from assembler.filesystems.protocol import Writer
from assembler.formats.registry import output_format
from assembler.host.output import all_or_nothing, destination, flush, flush_file_system
from assembler.host.progress import Progress
from assembler.host.room import Need, require_room, temporary, watched
from assembler.host.scratch import scratch_directory
from assembler.host.temporary import temporary_directory
from assembler.plan.host_problems import root_problems
from assembler.plan.needs import image_needs
from assembler.plan.plan import Plan, make_plan
from assembler.plan.request import read_request, read_root, with_store_paths
from assembler.root.build import scan_store
from assembler.root.copies import copy_store
from assembler.root.prepare import kind_problems, make_skeleton, stamp
from assembler.root.skeleton import DATABASE
from assembler.root.target import target_problems, unfinished
from assembler.spec import RootSpec, Spec
from assembler.store.database import make_database
from assembler.store.paths import StoreRoot, inside
from assembler.tree.files import ClosureFiles
from assembler.tree.scan import Scanner
from assembler.tree.tree import Tree


def plan(spec: Spec, progress: Progress, scratch: Path) -> Plan:
    """Decide everything about an image and write nothing of it; `scratch` is an empty directory.

    Raises RequestError with every problem of the request, HostError when a tool fails.
    """
    with progress.step("reading the closure"):
        request = read_request(spec, scratch)
    staging = scratch / "root"
    staging.mkdir()
    with progress.step("preparing the root"):
        return make_plan(request, staging)


def assemble(spec: Spec, progress: Progress | None = None) -> tuple[Plan, Report]:
    """Write the image of `spec` to its `out`, whole or not at all.

    Returns the plan that was carried out, and what was read back from the image. Without a
    `progress` nothing is shown.

    Raises RequestError with every problem of the request, HostError when a tool or the disk
    fails, InternalError when the finished image is not what it should be.
    """
    progress = progress or Progress(quiet=True)
    tmp = temporary_directory()
    with scratch_directory() as scratch, watched(temporary(tmp)):
        made = plan(spec, progress, Path(scratch))
        spec = made.spec
        needs = image_needs(made, destination(spec.out).parent, tmp)
        with all_or_nothing(spec.out) as image, watched(*needs):
            require_room(needs)
            with progress.step("partitioning"):
                os.truncate(image, made.layout.size)
                write_table(image, made.layout)
                for fat in made.fats:
                    write_fat(image, fat)
                if made.code is not None:
                    made.code.install(image, made.layout)
            hashing = Hashing(
                made.closure.to_hash(spec.root.check_hashes), made.database / "db.sqlite"
            )
            writer = _writer(spec, made, progress)
            with writer.write(image, made.root, made.tree, progress, hashing) as hashes:
                closure = made.closure.with_hashes(hashes)
                if not made.closure.is_hashed:
                    with progress.step("making the Nix database"):
                        make_database(closure.infos, made.files, made.database, spec.root.epoch)
            if spec.loader_type.has_installer and not spec.writes_in_appliance:
                _install_system(spec, image, made, progress)
            with progress.step("checking"):
                report = check_image(
                    image,
                    bios=made.code is not None,
                    efi=spec.boots_efi,
                    boots=spec.loader_type.boots,
                )
                if report.faults:
                    raise _unsound(spec, report)
            output_format(spec.out).finish(image)
            with progress.step("flushing to the disk"):
                flush(image)
    return made, report


def _unsound(spec: Spec, report: Report) -> AssembleError:
    """Why an image is not kept: our fault, unless it is well made of what does not boot."""
    said = "; ".join(report.faults)
    if len(report.faults) == len([chain for chain in report.chains if chain.fault]):
        return HostError(f"the finished image would not boot, and is not kept: {said}")
    return HostError(said) if spec.loader_type.has_installer else InternalError(said)


def _writer(spec: Spec, made: Plan, progress: Progress) -> Writer:
    """The writer of the root file system; one in an appliance runs the system's installer, too."""
    if not spec.writes_in_appliance and spec.kind.direct is not None:
        return spec.kind.direct
    has_installer = spec.loader_type.has_installer
    then = partial(_run_installer, made, progress) if has_installer else None
    return GuestfsWriter(spec.kind, spec.accelerator, then)


def _install_system(spec: Spec, image: Path, made: Plan, progress: Progress) -> None:
    """Run the system's own installer on a whole image, in an appliance."""
    disk = AttachedDisk(image, sector_size=made.layout.sector_size)
    with Appliance([disk], spec.accelerator, progress) as appliance:
        lines = mount(made.root.partition, spec.kind.name)
        appliance.sh("\n".join(lines), what="mounting the image")
        _run_installer(made, progress, appliance)
        appliance.sh("\n".join(UNMOUNT), what="unmounting the image")
        appliance.shutdown()


def _run_installer(made: Plan, progress: Progress, appliance: Appliance) -> None:
    with progress.step("installing the system's boot loader"):
        made.loader.run_installer(appliance, made.layout, made.volumes)


def _missing(root: Path, tree: Tree) -> int:
    """The bytes of the store paths that are not in `root` yet."""
    sizes = largest_paths(tree, sys.maxsize)
    return sum(size for size, path in sizes if not os.path.lexists(inside(root, os.fsdecode(path))))


def prepare(
    spec: RootSpec,
    root: Path,
    copy_mode: CopyMode = CopyMode.AUTO,
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> None:
    """Fill the directory `root` with the skeleton, the database and copies of the store paths.

    `force` fills any directory: also one that is neither empty nor a prepared root, and `/`.
    Without a `progress` nothing is shown. The database comes last. Raises RequestError with every
    problem of the request, HostError when a tool or the disk fails.
    """
    shown = progress or Progress(quiet=True)
    spec = with_store_paths(spec)
    problems = [*root_problems(spec), *target_problems(root, force=force)]
    if problems := problems or kind_problems(root):  # before an export is unpacked there
        raise RequestError(problems)
    disk, tmp = Need(root, f"the disk of {root}"), temporary(temporary_directory())
    with scratch_directory() as scratch, unfinished(root) as resumed, watched(disk, tmp):
        with shown.step("reading the closure"):
            files = ClosureFiles(StoreRoot(spec.store), Path(scratch), unpack=root)
            closure = read_root(spec, files)
            tree = Tree()
            closure = scan_store(tree, Scanner(tree), closure, files)
            if problems := copy_problems(root, tree, copy_mode):
                raise RequestError(problems)
            if copy_mode is CopyMode.COPY or (
                copy_mode is CopyMode.AUTO and not can_share(root, tree)
            ):
                require_room([replace(disk, size=_missing(root, tree))])
        with shown.step("preparing the root"):
            made = make_skeleton(root, spec, closure.infos, files)
        with shown.step("copying the store paths", total=measure(tree).data) as step:
            hash_paths = closure.to_hash(spec.check_hashes)
            hashes = copy_store(root, tree, step, copy_mode, compare=resumed, hash_paths=hash_paths)
        closure = closure.with_hashes(hashes)
        with shown.step("making the Nix database"):
            make_database(closure.infos, files, inside(root, DATABASE), spec.epoch)
        stamp(root, made, spec.epoch)
        with shown.step("flushing to the disk"):
            flush_file_system(root)
