"""Plans and results in the user's words."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assembler.check.image import describe
from assembler.pipeline import Summary
from assembler.plan import Plan
from assembler.progress import Progress
from assembler.units import format_size


def plan_facts(plan: Plan) -> dict[str, Any]:
    """Everything that a plan decides, as JSON can write it; sizes in bytes."""
    layout = plan.layout
    return {
        "size": layout.size,
        "diskGuid": str(layout.disk_guid),
        "partitions": [
            {
                "number": part.number,
                "name": part.name,
                "type": str(part.type.value),
                "guid": str(part.guid),
                "start": part.start,
                "size": part.size,
            }
            for part in layout.partitions
        ],
        "root": {
            "fileSystem": plan.root.kind,
            "label": plan.root.label,
            "uuid": str(plan.root.uuid),
            "inodes": plan.root.inodes,
            "inodesUsed": plan.demand.inodes,
            "data": plan.demand.data,
            "subvolumes": [{"name": name, "place": place} for name, place in plan.root.subvolumes],
        },
    }


def plan_lines(facts: Mapping[str, Any]) -> list[str]:
    """A plan as lines for people."""
    root = facts["root"]
    lines = [f"disk {facts['diskGuid']}, {format_size(facts['size'])}"]
    for part in sorted(facts["partitions"], key=lambda part: part["start"]):
        lines.append(
            f"{part['number']}  at {format_size(part['start']):>9}  "
            f"{format_size(part['size']):>9}  {part['name']} ({part['guid']})"
        )
    of_all = f" of {root['inodes']:,}" if root["fileSystem"] == "ext4" else ""
    lines.append(
        f"root: {root['fileSystem']} {root['label']} ({root['uuid']}), "
        f"{root['inodesUsed']:,}{of_all} inodes, {format_size(root['data'])} of data"
    )
    lines += [f"  {one['place']} is in the subvolume {one['name']}" for one in root["subvolumes"]]
    return lines


def summary_lines(out: Path, summary: Summary, progress: Progress) -> list[str]:
    """What was made, how long each step took, and all of it from the start of `progress`."""
    head, *parts = describe(summary.report)
    steps = [f"  {name:<26}{duration:6.2f} s" for name, duration in progress.seconds.items()]
    total = f"  {'in all':<26}{time.monotonic() - progress.started:6.2f} s"
    return [f"{out}: {head}", *(f"  {part}" for part in parts), *steps, total]
