"""What the target of an image asks of it, compared with the disk that is planned."""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass

from assembler.boot.bootspec import Bootspec
from assembler.disk.layout import Layout
from assembler.errors import Message, Setting
from assembler.filesystems.demand import Demand
from assembler.formats.targets import TARGETS, Target, size_faults, takes
from assembler.spec import Spec
from assembler.units import BLOCK, format_size

log = logging.getLogger(__name__)

_X86 = "x86_64-linux"
_CONSOLE = re.compile(r"console=(ttyS|ttyAMA|hvc)0\b")  # the serial port, by any driver


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What is known of an image when its disk is laid out."""

    spec: Spec
    layout: Layout
    demand: Demand
    architecture: str
    bootspec: Bootspec | None


def format_problems(planned: Planned) -> list[str]:
    """One line for each fault of a disk in the eyes of its output format and its target.

    It warns of what the user has asked for otherwise than the target, and of a missing console.
    """
    made, layout, asked = planned.spec.output_format, planned.layout, planned.spec.target
    lines: list[str] = []
    if layout.size > made.largest:
        most, size = format_size(made.largest), format_size(layout.size)
        why = f" holds {most} at most, and the disk has {size}"
        lines.append(Message(Setting("format", made.name), why))
    if asked is None:
        return lines
    target, name = TARGETS[asked], Setting("target", asked)
    faults = [*size_faults(target, layout.size, layout.sector_size), *_faults(target, planned)]
    for warning in _warnings(target, planned):
        log.warning("%s", Message(name, f" {warning}"))
    return [*lines, *(Message(name, f" {fault}") for fault in faults)]


def _faults(target: Target, planned: Planned) -> Iterator[str]:
    made, table = planned.spec.output_format.name, planned.layout.table
    if target.is_x86 and planned.architecture != _X86:
        yield f"has machines for {_X86} only, and the system is for {planned.architecture}"
    if target.needs_bios and planned.spec.loader_type.boots and not table.boots_bios:
        yield f"boots by BIOS, which starts no disk with the table {table}"
    most, data = (target.largest_data or {}).get(made), planned.demand.blocks * BLOCK
    if most is not None and data > most:
        words = f"{format_size(most)} at most, and {format_size(data)} go in"
        yield f"takes a file of the format {made} of {words}: take the format {target.formats[0]}"


def _warnings(target: Target, planned: Planned) -> Iterator[str]:
    made, system = planned.spec.output_format.name, planned.bootspec
    if not takes(target, made):
        yield f"takes {' or '.join(target.formats)}, not {made}"
    if target.console and system and not any(map(_CONSOLE.match, system.kernel_params)):
        yield (
            "shows the serial port only, and the system writes nothing there: add "
            f'"{target.console}" to boot.kernelParams'
        )
