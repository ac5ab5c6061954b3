"""Plans and results in the user's words."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assembler.check.image import describe
from assembler.disk.layout import Layout, Partition
from assembler.pipeline import Summary
from assembler.plan import Plan
from assembler.progress import Progress
from assembler.units import SECTOR, format_size


def plan_facts(plan: Plan) -> dict[str, Any]:
    """Everything that a plan decides, as JSON can write it; sizes in bytes."""
    layout = plan.layout
    return {
        "size": layout.size,
        "partitionTable": layout.table,
        "sectorSize": layout.sector_size,
        **_disk_identity(layout),
        "partitions": [_partition_facts(layout, part) for part in layout.partitions if part.number],
        "bootLoader": plan.spec.loader,
        "bootFileSystems": [
            {
                "what": fat.what,
                "label": fat.label,
                "uuid": fat.uuid,
                "files": len(fat.files),
                "start": fat.offset,
            }
            for fat in plan.fats
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


def _disk_identity(layout: Layout) -> dict[str, str]:
    """What names a disk: a GUID in a GPT, a signature in an MBR."""
    if layout.table.is_gpt:
        return {"diskGuid": str(layout.disk_guid)}
    if layout.table.is_mbr:
        return {"diskSignature": f"{layout.disk_signature:#010x}"}
    return {}


def _partition_facts(layout: Layout, part: Partition) -> dict[str, str | int]:
    facts: dict[str, str | int] = {"number": part.number, "start": part.start, "size": part.size}
    if layout.table.is_gpt:
        facts |= {"name": part.name, "type": str(part.type.value), "guid": str(part.guid)}
    return facts


def plan_lines(facts: Mapping[str, Any]) -> list[str]:
    """A plan as lines for people."""
    root = facts["root"]
    name = facts.get("diskGuid", facts.get("diskSignature", "without a partition table"))
    lines = [f"disk {name}, {format_size(facts['size'])}, {facts['partitionTable']}"]
    if facts["sectorSize"] != SECTOR:
        lines[0] += f", sectors of {facts['sectorSize']} bytes"
    for part in sorted(facts["partitions"], key=lambda part: part["start"]):
        names = f"  {part['name']} ({part['guid']})" if "guid" in part else ""
        lines.append(
            f"{part['number']}  at {format_size(part['start']):>9}  "
            f"{format_size(part['size']):>9}{names}"
        )
    lines.append(f"boot loader: {facts['bootLoader']}")
    lines += [
        f"  {one['what']}: FAT {one['label']} ({one['uuid']}), "
        f"{one['files']} {'file' if one['files'] == 1 else 'files'}"
        for one in facts["bootFileSystems"]
    ]
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
