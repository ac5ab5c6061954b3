"""What output format and target ask of an image, compared with what is asked for and planned."""

import logging
from collections.abc import Sequence

from assembler.disk.layout import Layout
from assembler.errors import Message, Setting
from assembler.formats.target import Candidate, Start, Weight, findings, starts_of
from assembler.formats.targets import TARGETS
from assembler.spec import Spec
from assembler.units import exact_sizes

log = logging.getLogger(__name__)


def machine_problems(spec: Spec, platform: str) -> list[str]:
    """One line if the target has no machine for a system's platform, as Nix calls that."""
    return _problems(spec, Candidate(platform=platform))


def setting_problems(spec: Spec) -> list[str]:
    """One line for each setting with which the target takes no disk; `spec` is the resolved one.

    It warns of what the user has asked for otherwise than the target.
    """
    made = spec.format or spec.output_format.name
    image = Candidate(format=made, sector_size=spec.sector_size, starts=_starts(spec))
    return _problems(spec, image)


def size_problems(
    spec: Spec, layout: Layout, data: int, platform: str, kernel_params: Sequence[str] | None
) -> list[str]:
    """One line for each reason why a disk is too large for its output format and its target.

    `data` is what goes into the root file system, in bytes. It warns of a missing console.
    """
    made, lines = spec.output_format, list[str]()
    if layout.size > made.largest:
        size, most = exact_sizes(layout.size, made.largest)
        why = f" holds {most} at most, and the disk has {size}"
        lines.append(Message(Setting("format", made.name), why))
    image = Candidate(
        file=None if made.compresses else (made.name, data),  # at least
        size=layout.size,
        platform=platform,
        kernel_params=kernel_params,
    )
    return lines + _problems(spec, image)


def warn_of_file(spec: Spec, size: int) -> None:
    """Warn if a finished file is larger, in bytes, than its target takes.

    How well data can be compressed is seen only then.
    """
    for problem in _problems(spec, Candidate(file=(spec.output_format.name, size))):
        log.warning("%s", problem)


def _problems(spec: Spec, image: Candidate) -> list[str]:
    """One line for what the target never takes; it warns of the rest, where an option won."""
    lines = list[str]()
    if (target := TARGETS.get(spec.target or "")) is None:
        return lines
    for finding in findings(target, image):
        remedy = Message(": ", finding.remedy) if finding.remedy else ""
        line = Message(Setting("target", spec.target), f" {finding.words}", remedy)
        if finding.weight is Weight.DISK:
            lines.append(line)
        else:
            log.warning("%s", line)
    return lines


def _starts(spec: Spec) -> set[Start]:
    """What can start the disk of a resolved request."""
    if not spec.loader_type.boots:
        return set()
    without = set() if spec.loader_type.starts_by_bios else {Start.BIOS}
    return starts_of(spec.table) - without
