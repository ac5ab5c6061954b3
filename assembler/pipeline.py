"""The story of an image, and the story of a prepared root: each step in order."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

from assembler.appliance.mounts import UNMOUNT, mount
from assembler.appliance.session import Appliance, AttachedDisk
from assembler.check.image import Report, check_image
from assembler.copying.sharing import CopyMode, can_share, copy_problems
from assembler.disk.table_writer import write_table
from assembler.errors import HostError, InternalError, RequestError
from assembler.filesystems.demand import largest_paths, measure
from assembler.filesystems.fat.fat import write_fat
from assembler.filesystems.guestfs.writer import GuestfsWriter
from assembler.filesystems.protocol import Writer
from assembler.formats.checksum import Hasher
from assembler.formats.format import Disk
from assembler.formats.registry import RAW
from assembler.host.flush import flush_file_system
from assembler.host.output import (
    STANDARD_OUTPUT,
    Output,
    destination,
    has_no_reader,
    open_output,
    working_image,
)
from assembler.host.progress import Progress, Step
from assembler.host.room import Need, extend, require_room, temporary, watched
from assembler.host.scratch import scratch_directory
from assembler.host.temporary import temporary_directory
from assembler.plan.host_problems import root_problems
from assembler.plan.needs import image_needs
from assembler.plan.plan import Plan, make_plan
from assembler.plan.request import read_request, read_root, with_store_paths
from assembler.plan.root_tree import complete_tree, stage_root
from assembler.plan.sidecars import Sidecars, used_bytes
from assembler.plan.target_findings import warn_of_file
from assembler.root.build import scan_store
from assembler.root.copies import copy_store
from assembler.root.prepare import kind_problems, make_skeleton, stamp
from assembler.root.root_directory import directory_problems, unfinished
from assembler.root.skeleton import DATABASE
from assembler.spec import RootSpec, Spec
from assembler.store.database import make_database
from assembler.store.paths import StoreRoot, inside
from assembler.tree.closure_files import ClosureFiles
from assembler.tree.scan import Scanner
from assembler.tree.tree import Tree

_NO_READER = (
    "standard output was closed before all was written: the program that reads it has ended"
)


def assemble(spec: Spec, progress: Progress | None = None) -> tuple[Plan, Report]:
    """Write the image of `spec` to its `out`, whole or not at all.

    Returns the plan that was carried out, and what was read back from the image. Without a
    `progress` nothing is shown.

    Raises RequestError with every problem of the request, HostError when a tool or the disk
    fails, InternalError when the finished image is not what it should be.
    """
    progress, tmp = progress or Progress(quiet=True), temporary_directory()
    with scratch_directory() as scratch, watched(temporary(tmp)):
        with progress.step("reading the closure"):
            request = read_request(spec, Path(scratch))
            spec = request.spec  # with everything decided that was left open
        with progress.step("preparing the root"):
            root = stage_root(request, Path(scratch) / "root")
            boot = complete_tree(request, root)
            plan = make_plan(request, root, boot)
        beside = tmp if spec.out == STANDARD_OUTPUT else destination(spec.out).parent
        needs = image_needs(plan, beside, tmp)
        with (
            Sidecars(progress) as sidecars,
            open_output(spec.out) as out,
            _raw_image(spec, out) as image,
            watched(*needs),
        ):
            require_room(needs)
            with progress.step("partitioning"):
                extend(image, plan.layout.size, needs[0])
                write_table(image, plan.layout)
                for fat in plan.fats:
                    write_fat(image, fat)
            with _writer(plan, progress).write(
                image, plan.root, root.tree, progress, root.hashing(spec.root.check_hashes)
            ) as hashes:
                closure = root.closure.with_hashes(hashes)
                if root.database is not None and not root.closure.is_hashed:
                    with progress.step("making the Nix database"):
                        make_database(closure.infos, request.files, root.database, spec.root.epoch)
            _make_bootable(image, plan, progress)
            with progress.step("checking"):
                report = _check(image, plan)
            used = [*used_bytes(image, plan)] if spec.bmap else []
            digest = _write_output(plan, image, out, progress)
            if out.path is not None:
                warn_of_file(spec, os.fstat(out.handle).st_size)
                sidecars.write(plan, report, used, out.path, digest)
    return plan, report


def plan_image(spec: Spec, progress: Progress | None = None) -> Plan:
    """Decide everything about an image, and write nothing of it.

    Without a `progress` nothing is shown. Raises RequestError with every problem of the request,
    HostError when a tool fails.
    """
    progress = progress or Progress(quiet=True)
    with scratch_directory() as scratch:
        with progress.step("reading the closure"):
            request = read_request(spec, Path(scratch))
        with progress.step("preparing the root"):
            root = stage_root(request, Path(scratch) / "root")
            return make_plan(request, root, complete_tree(request, root))


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
    progress, spec = progress or Progress(quiet=True), with_store_paths(spec)
    problems = [*root_problems(spec), *directory_problems(root, force=force)]
    if problems := problems or kind_problems(root):  # before an export is unpacked there
        raise RequestError(problems)
    disk, tmp = Need(root, f"the disk of {root}"), temporary(temporary_directory())
    with scratch_directory() as scratch, unfinished(root) as resumed, watched(disk, tmp):
        with progress.step("reading the closure"):
            files = ClosureFiles(StoreRoot(spec.store), Path(scratch), unpack=root)
            closure = read_root(spec, files)
            tree = Tree()
            closure = scan_store(tree, Scanner(tree), closure, files)
            _require_copies(disk, tree, copy_mode)
        with progress.step("preparing the root"):
            made = make_skeleton(root, spec, closure.infos, files)
        with progress.step("copying the store paths", total=measure(tree).data) as step:
            hash_paths = closure.to_hash(spec.check_hashes)
            hashes = copy_store(root, tree, step, copy_mode, compare=resumed, hash_paths=hash_paths)
            closure = closure.with_hashes(hashes)
        with progress.step("making the Nix database"):
            make_database(closure.infos, files, inside(root, DATABASE), spec.epoch)
        stamp(root, made, spec.epoch)
        with progress.step("flushing to the disk"):
            flush_file_system(root)


def _require_copies(disk: Need, tree: Tree, mode: CopyMode) -> None:
    """Raise RequestError for an impossible copy mode, HostError if there is no room for copies.

    `disk` is the one of the directory that is filled.
    """
    root = disk.directory
    if problems := copy_problems(root, tree, mode):
        raise RequestError(problems)
    if mode is CopyMode.COPY or (mode is CopyMode.AUTO and not can_share(root, tree)):
        sizes = largest_paths(tree, sys.maxsize)
        absent = (
            size for size, path in sizes if not os.path.lexists(inside(root, os.fsdecode(path)))
        )
        require_room([replace(disk, size=sum(absent))])


def _writer(plan: Plan, progress: Progress) -> Writer:
    """The writer of the root file system; one in an appliance runs the system's installer, too."""
    spec = plan.spec
    if not spec.writes_in_appliance and spec.kind.direct is not None:
        return spec.kind.direct
    has_installer = spec.loader_type.has_installer
    then = partial(_run_installer, plan, progress) if has_installer else None
    return GuestfsWriter(spec.kind, spec.accelerator, then)


def _make_bootable(image: Path, plan: Plan, progress: Progress) -> None:
    """Install the boot code, or run the system's own installer unless the writer has run it."""
    spec = plan.spec
    if plan.code is not None:
        plan.code.install(image, plan.layout)
    if not spec.loader_type.has_installer or spec.writes_in_appliance:
        return
    disk = AttachedDisk(image, sector_size=plan.layout.sector_size)
    with Appliance([disk], spec.accelerator, progress) as appliance:
        lines = mount(plan.root.partition, spec.kind.name)
        appliance.sh("\n".join(lines), what="mounting the image")
        _run_installer(plan, progress, appliance)
        appliance.sh("\n".join(UNMOUNT), what="unmounting the image")
        appliance.shutdown()


def _run_installer(plan: Plan, progress: Progress, appliance: Appliance) -> None:
    with progress.step("installing the system's boot loader"):
        plan.loader.run_installer(appliance, plan.layout, plan.volumes)


@contextmanager
def _raw_image(spec: Spec, out: Output) -> Iterator[Path]:
    """Give the path where the raw image is made, before it becomes the output format."""
    if spec.output_format.in_place and out.path is not None:
        yield out.path
    else:
        with working_image(spec.out) as image:
            yield image


def _write_output(plan: Plan, image: Path, out: Output, progress: Progress) -> str:
    """Turn the raw image into the output, and wait until it is on the disk.

    Returns its SHA-256 if that is asked for and could be computed meanwhile.
    """
    made, hasher = plan.spec.output_format, None
    if plan.spec.checksum and made.streams and made is not RAW and out.path is not None:
        hasher = Hasher(out.path)
    with hasher or nullcontext():
        if made is not RAW or out.path is None:  # a raw file is complete
            with progress.step(f"writing {made.name}", total=plan.layout.size) as step:
                _convert(plan, image, out, step)
        if out.path is not None:
            with progress.step("flushing to the disk"):
                os.fsync(out.handle)
    return "" if hasher is None else hasher.digest


def _convert(plan: Plan, image: Path, out: Output, step: Step) -> None:
    disk = Disk(
        image=image,
        size=plan.layout.size,
        uuid=plan.identity.uuid,
        epoch=plan.spec.root.epoch,
        bios=plan.code is not None,
        efi=plan.spec.boots_efi,
    )
    try:
        plan.spec.output_format.write(disk, out, step)
    except (HostError, BrokenPipeError):
        if has_no_reader(out):
            raise HostError(_NO_READER) from None
        raise


def _check(image: Path, plan: Plan) -> Report:
    """Read an image back; raises an error for one that is not to be kept.

    InternalError, unless a sound image does not boot, or the system's own installer made it
    unsound: then HostError.
    """
    loader = plan.spec.loader_type
    report = check_image(
        image, bios=plan.code is not None, efi=plan.spec.boots_efi, boots=loader.boots
    )
    faults = "; ".join(report.faults)
    if faults and len(report.faults) == sum(1 for chain in report.chains if chain.fault):
        raise HostError(f"the finished image would not boot, and is not kept: {faults}")
    if faults:
        raise HostError(faults) if loader.has_installer else InternalError(faults)
    return report
