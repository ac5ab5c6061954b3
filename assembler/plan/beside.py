"""The places of the files beside an image, and why they cannot be used."""

from collections.abc import Iterator
from pathlib import Path

from assembler.errors import Message, Setting, reason
from assembler.formats.checksum import read_sums, sums_beside
from assembler.formats.target import Sidecar
from assembler.formats.targets import TARGETS
from assembler.host.output import STANDARD_OUTPUT, destination, may_replace, place_fault
from assembler.spec import Spec


def map_beside(out: Path) -> Path:
    """The block map of an image, where bmaptool finds it by itself."""
    return out.with_name(f"{out.name}.bmap")


def target_sidecar(spec: Spec) -> Sidecar | None:
    """The file that describes the image for the tools of its target, if they read one."""
    target = TARGETS.get(spec.target or "")
    sidecar = None if target is None or spec.out == STANDARD_OUTPUT else target.sidecar
    takes = sidecar is not None and spec.output_format.name in sidecar.formats
    return sidecar if takes else None


def beside_problems(spec: Spec) -> list[str]:
    """One line for each file that cannot be made, or replaced, beside an image that can."""
    if spec.out == STANDARD_OUTPUT:
        return []
    out = destination(spec.out)
    lines = [*_asked_problems(spec, out)]
    old = map_beside(out)
    if not spec.bmap and not may_replace(old):
        why = f": {old} would describe the new image wrongly, and is another user's: "
        lines.append(Message(Setting("out", spec.out), why, "take another name"))
    return lines


def _asked_problems(spec: Spec, out: Path) -> Iterator[str]:
    sidecar, sums = target_sidecar(spec), sums_beside(out)
    asked = {
        Setting("bmap"): map_beside(out) if spec.bmap else None,
        Setting("checksum"): sums if spec.checksum else None,
        Setting("target", spec.target): out.with_name(sidecar.name) if sidecar else None,
    }
    for setting, file in asked.items():
        if file == out:
            yield Message(
                setting, f" makes {file}, which is ", Setting("out"), ": take another name"
            )
        elif file is not None and (fault := place_fault(file)):
            yield Message(setting, f": {file}{fault}")
        elif file == sums:
            try:
                read_sums(sums)
            except OSError as error:
                why = f": {reason(error)}: the lines of other files would be lost"
                yield Message(setting, why)
