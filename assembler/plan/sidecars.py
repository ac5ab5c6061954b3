"""Files beside an image: its block map, its check sum, and what upload tools need."""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path, PurePath
from types import TracebackType

from assembler.check.image import Report
from assembler.errors import HostError, reason
from assembler.filesystems.fat.fat import metadata_size
from assembler.formats.bmap import block_map, data_of
from assembler.formats.checksum import changed_sums, read_sums, sums_beside
from assembler.formats.target import MadeImage
from assembler.formats.targets import TARGETS
from assembler.host.aside import set_aside
from assembler.host.output import all_or_nothing, destination, place_fault
from assembler.host.progress import Progress
from assembler.host.regular import read_file
from assembler.plan.beside import map_beside, target_sidecar
from assembler.plan.plan import Plan

log = logging.getLogger(__name__)


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


class Sidecars:
    """The files beside an image, which are replaced with it, or stay; a context manager.

    Its block must contain that of the output. What describes the old image is hidden before the
    image is renamed, and the new files get their names after that, so that no moment has an image
    with the block map of another. bmaptool takes a map by itself: with that of an earlier image
    of the same size it would write a damaged disk without a complaint.
    """

    def __init__(self, progress: Progress) -> None:
        self._stack, self._progress = ExitStack(), progress

    def __enter__(self) -> "Sidecars":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def write(
        self, plan: Plan, report: Report, used: Iterable[range], image: Path, digest: str
    ) -> None:
        """Write what is asked for under hidden names; raises HostError and OSError.

        `image` is the finished image before it is renamed, `report` is what was read back from it,
        `digest` its SHA-256; empty if nobody has computed it.
        """
        spec, out = plan.spec, destination(plan.spec.out)
        facts = _facts(plan, report, out)
        any_asked = spec.bmap or spec.checksum or facts
        step = self._progress.step("writing the files beside it") if any_asked else nullcontext()
        with step:
            maps = {map_beside(out): block_map(plan.layout.size, used)} if spec.bmap else {}
            digests = dict[str, str]()
            if spec.checksum:
                digests = {out.name: digest or _digest(image)}
                digests |= {file.name: _sha256(content) for file, content in maps.items()}
            self._change_sums(out, digests)
            made = {**facts, **maps}
            for file, content in made.items():
                _write(self._stack.enter_context(all_or_nothing(file)), content)
            old = [map_beside(out), *_descriptions(out)]
            # A link to a file that is made stays, and any other goes.
            old = [destination(file) if file in made else file for file in old]
            self._stack.enter_context(set_aside(old, out))

    def _change_sums(self, out: Path, digests: dict[str, str]) -> None:
        """Let SHA256SUMS have these digests, and none of the old image.

        Without digests, a file that cannot be read or changed is left as it is.
        """
        sums, old = sums_beside(out), {out.name, map_beside(out).name}
        try:
            if not digests and (sums == out or not _has_lines(sums, old)):
                return
            if fault := place_fault(sums):
                raise HostError(f"{sums}{fault}")
            with ExitStack() as stack:
                stack.enter_context(_no_empty_file(sums))
                hidden = stack.enter_context(all_or_nothing(sums, wait=True))
                lines = changed_sums(read_sums(sums), old, digests)
                _write(hidden, b"".join(line + b"\n" for line in lines))
                self._stack.enter_context(stack.pop_all())
        except (OSError, HostError) as error:
            if digests:
                raise
            if os.path.exists(out):
                why = reason(error) if isinstance(error, OSError) else str(error)
                log.warning("%s may keep a sum of the old image: %s", sums, why)


def _has_lines(sums: Path, names: set[str]) -> bool:
    """Whether a file has check sums of files with these names; raises OSError."""
    lines = read_sums(sums) if os.path.isfile(sums) else []
    return changed_sums(lines, names, {}) != lines


@contextmanager
def _no_empty_file(path: Path) -> Iterator[None]:
    """When the block ends well, remove a file with nothing in it, which `sha256sum -c` faults."""
    yield
    if os.path.isfile(path) and not os.path.getsize(path):
        path.unlink()


def _facts(plan: Plan, report: Report, out: Path) -> dict[Path, bytes]:
    """The file for the tools of the target, if they read one."""
    spec = plan.spec
    if (sidecar := target_sidecar(spec)) is None:
        return {}
    made = MadeImage(
        file=out,
        format=spec.output_format.name,
        size=plan.layout.size,
        platform=plan.architecture,
        label="" if plan.bootspec is None else plan.bootspec.label,
        starts=report.starts,
    )
    file = out.with_name(sidecar.name)
    other = _described(file)
    if other not in ("", out.name) and os.path.exists(out.parent / other):
        log.warning("%s described %s until now: a directory has one such file", file, other)
    return {file: f"{json.dumps(sidecar.content(made), indent=2)}\n".encode()}


def _descriptions(out: Path) -> Iterator[Path]:
    """The files for tools of targets, if they describe the image that is at `out` now."""
    names = {target.sidecar.name for target in TARGETS.values() if target.sidecar}
    yield from (file for file in map(out.with_name, names) if _described(file) == out.name)


def _described(file: Path) -> str:
    """The name of the image that such a file describes; empty if it describes none."""
    try:
        facts = json.loads(read_file(file))
    except (OSError, ValueError, RecursionError):
        return ""
    image = facts.get("file") if isinstance(facts, dict) else None
    return PurePath(image).name if isinstance(image, str) else ""


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _write(file: Path, content: bytes) -> None:
    """Write a file to the disk, so that nothing more than its name can fail."""
    with file.open("r+b") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
