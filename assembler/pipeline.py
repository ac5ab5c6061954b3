"""The story of an image, in order."""

import os
from dataclasses import dataclass
from pathlib import Path

from assembler import process
from assembler.boot import bios
from assembler.check.image import Report, check_image
from assembler.disk.table import write_table
from assembler.errors import InternalError
from assembler.output import all_or_nothing, flush
from assembler.plan import Plan, make_plan, read_request, read_root
from assembler.progress import Progress
from assembler.root.copy_store import copy_store
from assembler.root.prepare import prepare_root
from assembler.spec import RootSpec, Spec
from assembler.writers.direct import DirectWriter
from assembler.writers.fat import write_esp


@dataclass(frozen=True, slots=True)
class Summary:
    """What was made: the plan, and what was read back from the image."""

    plan: Plan
    report: Report


def plan(spec: Spec, progress: Progress, staging: Path) -> Plan:
    """Decide everything about an image and write nothing of it; `staging` is an empty directory.

    Raises RequestError with every problem of the request, HostError when a tool fails.
    """
    with progress.step("reading the closure"):
        request = read_request(spec)
    with progress.step("preparing the root"):
        return make_plan(request, staging)


def assemble(spec: Spec, progress: Progress) -> Summary:
    """Write the image of `spec` to its `out`, whole or not at all.

    Raises RequestError with every problem of the request, HostError when a tool or the disk
    fails, InternalError when the finished image is not what it should be.
    """
    with process.scratch_directory() as staging:
        made = plan(spec, progress, Path(staging))
        with all_or_nothing(spec.out) as image:
            with progress.step("partitioning"):
                os.truncate(image, made.layout.size)
                write_table(image, made.layout)
            with progress.step("writing ext4", total=made.demand.data) as step:
                DirectWriter().write(image, made.root, made.tree, step)
            with progress.step("writing the boot loader"):
                _write_boot_loader(image, made, spec.root.epoch)
            with progress.step("checking"):
                report = check_image(image)
                if report.faults:
                    raise InternalError("; ".join(report.faults))
            with progress.step("flushing to the disk"):
                flush(image)
    return Summary(made, report)


def _write_boot_loader(image: Path, made: Plan, epoch: int) -> None:
    """GRUB's images: for BIOS into boot sector and BIOS boot partition, for UEFI into the ESP."""
    bios.install(image, made.layout, *made.bios)
    write_esp(
        image,
        offset=made.layout.esp.start,
        size=made.layout.esp.size,
        files=made.esp,
        volume_id=made.identity.serial("EFI system partition"),
        label="ESP",
        epoch=epoch,
    )


def prepare(spec: RootSpec, root: Path, progress: Progress) -> None:
    """Fill `root` with the skeleton, the database and copies of the store paths.

    Raises RequestError with every problem of the request, HostError when a tool or the disk fails.
    """
    with progress.step("reading the closure"):
        closure = read_root(spec)
    with progress.step("preparing the root"):
        prepare_root(root, closure, spec.store, spec.system, epoch=spec.epoch)
    with progress.step("copying the store paths"):
        copy_store(root, closure, spec.store)
