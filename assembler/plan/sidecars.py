"""Files beside an image: its block map, its check sum, and what upload tools want to know."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from assembler.check.image import Report
from assembler.errors import HostError, reason
from assembler.filesystems.fat.fat import metadata_size
from assembler.formats.bmap import block_map, data_of
from assembler.formats.checksum import sums_beside, with_sums, without_sums
from assembler.formats.target import MadeImage, Sidecar
from assembler.formats.targets import TARGETS
from assembler.host.output import STANDARD_OUTPUT, all_or_nothing, destination
from assembler.plan.plan import Plan
from assembler.spec import Spec


def has_sidecars(spec: Spec) -> bool:
    """Whether any file is to be written beside the image."""
    return spec.bmap or spec.checksum or _of_target(spec) is not None


def _of_target(spec: Spec) -> Sidecar | None:
    """The file that describes the image for the tools of its target, if they read one."""
    if spec.target is None or spec.out == STANDARD_OUTPUT:
        return None
    sidecar = TARGETS[spec.target].sidecar
    takes = sidecar is not None and spec.output_format.name in sidecar.formats
    return sidecar if takes else None


def used_bytes(image: Path, plan: Plan) -> Iterator[range]:
    """The bytes of a raw image that a disk with anything on it must get.

    These are all data, and what a file system takes for zeros without looking.
    """
    yield from data_of(image)
    parts = plan.layout.partitions
    yield range(min(part.start for part in parts))
    yield range(max(part.start + part.size for part in parts), plan.layout.size)
    yield from (range(fat.offset, fat.offset + metadata_size(fat)) for fat in plan.fats)
    used = plan.spec.kind.used
    if used is not None and not plan.spec.writes_in_appliance:
        yield from used(image, plan.root)
    else:
        yield range(plan.root.offset, plan.root.offset + plan.root.size)


def remove_sidecars(out: Path) -> None:
    """Remove what describes the image that is at `out` now; raises HostError.

    bmaptool takes a block map that lies beside an image by itself. With the map of an earlier image
    of the same size it would write a damaged disk without a complaint.
    """
    if out == STANDARD_OUTPUT:
        return
    out = destination(out)
    map_file, sums = _map_beside(out), sums_beside(out)
    try:
        map_file.unlink(missing_ok=True)
        left = without_sums(sums, {out.name, map_file.name})
    except OSError as error:
        raise HostError(f"cannot remove what belongs to the old {out}: {reason(error)}") from None
    if left is not None:
        _write(sums, left)


def _map_beside(out: Path) -> Path:
    return out.with_name(f"{out.name}.bmap")


def write_sidecars(plan: Plan, report: Report, used: Iterable[range], digest: str) -> None:
    """Write the files that were asked for beside the finished image; raises HostError.

    `report` is what was read back from it, `digest` its SHA-256; empty if nobody has computed it.
    """
    spec, out = plan.spec, destination(plan.spec.out)
    digests = {out.name: digest or _digest(out)} if spec.checksum else {}
    if spec.bmap:
        file = _map_beside(out)
        _write(file, block_map(plan.layout.size, used))
        digests |= {file.name: _digest(file)} if spec.checksum else {}
    if digests:
        _write(sums_beside(out), with_sums(sums_beside(out), digests))
    if (sidecar := _of_target(spec)) is not None:
        made = MadeImage(
            file=out,
            format=spec.output_format.name,
            size=plan.layout.size,
            platform=plan.architecture,
            label="" if plan.bootspec is None else plan.bootspec.label,
            starts=report.starts,
        )
        text = json.dumps(sidecar.content(made), indent=2)
        _write(out.with_name(sidecar.name), f"{text}\n".encode())


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _write(file: Path, content: bytes) -> None:
    with all_or_nothing(file) as hidden:
        hidden.write_bytes(content)
