"""Plans and results, in words and in JSON."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assembler.check.image import Report
from assembler.cli.check_report import describe, facts
from assembler.cli.trial import command_lines, disk_fault, qemu_words
from assembler.disk.layout import Layout, Partition
from assembler.filesystems.registry import ROOT_KINDS
from assembler.formats.registry import RAW
from assembler.host.output import STANDARD_OUTPUT, destination
from assembler.host.progress import Progress
from assembler.plan.plan import Plan
from assembler.units import SECTOR, format_size


def plan_facts(plan: Plan) -> dict[str, Any]:
    """Everything that a plan decides, as JSON can write it; sizes in bytes."""
    layout = plan.layout
    return {
        "format": plan.spec.output_format.name,
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
            "fileSystem": plan.spec.kind.name,
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
        facts |= {"name": part.name, "type": part.type, "guid": str(part.guid)}
    return facts


def plan_lines(facts: Mapping[str, Any]) -> list[str]:
    """A plan as lines for people."""
    root = facts["root"]
    name = facts.get("diskGuid", facts.get("diskSignature", "without a partition table"))
    lines = [f"disk {name}, {format_size(facts['size'])}, {facts['partitionTable']}"]
    if facts["format"] != RAW.name:
        lines[0] += f", written as {facts['format']}"
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
    fixed = ROOT_KINDS[root["fileSystem"]].has_fixed_inodes
    of_all = f" of {root['inodes']:,}" if fixed else ""
    lines.append(
        f"root: {root['fileSystem']} {root['label']} ({root['uuid']}), "
        f"{root['inodesUsed']:,}{of_all} inodes, {format_size(root['data'])} of data"
    )
    lines += [f"  {one['place']} is in the subvolume {one['name']}" for one in root["subvolumes"]]
    return lines


def result_facts(plan: Plan, found: Report, progress: Progress) -> dict[str, Any]:
    """What was made, as JSON can write it; sizes in bytes, times in seconds."""
    out = destination(plan.spec.out)
    return {
        "out": str(out),
        "format": plan.spec.output_format.name,
        "formatSize": out.stat().st_size,
        "size": plan.layout.size,
        "bytesOnDisk": bytes_on_disk(out),
        "seconds": {name: round(one, 3) for name, one in progress.seconds.items()},
        "plan": plan_facts(plan),
        "check": {**facts(found), "path": str(out)},
        "tryOut": [word for group in qemu_words(plan, out) for word in group],
    }


def result_lines(plan: Plan, found: Report, progress: Progress) -> list[str]:
    """What was made, how long each step took, and all of it from the start of `progress`."""
    out = destination(plan.spec.out)
    head, *parts = describe(found)
    steps = [f"  {name:<26}{duration:6.2f} s" for name, duration in progress.seconds.items()]
    total = f"  {'in all':<26}{time.monotonic() - progress.started:6.2f} s"
    name = "standard output" if plan.spec.out == STANDARD_OUTPUT else str(out)
    return [
        name,
        f"  {head}{_size_words(plan, out)}",
        *(f"  {part}" for part in parts),
        *steps,
        total,
    ]


def _size_words(plan: Plan, out: Path) -> str:
    """How large the file is, and of another format than raw, what part of the disk's size."""
    if plan.spec.out == STANDARD_OUTPUT:
        return f", written as {plan.spec.output_format.name}"
    used = f", {format_size(bytes_on_disk(out))} used on disk"
    made = plan.spec.output_format
    if made is RAW:
        return used
    size = out.stat().st_size
    return f"; as {made.name} {format_size(size)}, {size / plan.layout.size:.0%} of it{used}"


def next_step(plan: Plan) -> list[str]:
    """What to do with the image, to be pasted into a shell."""
    out = destination(plan.spec.out)
    if command := command_lines(qemu_words(plan, out)):
        return ["to try it out, without a change to it:", *command]
    made = plan.spec.output_format
    if not made.driver:
        return [f"to try it out, unpack it first: QEMU does not read the format {made.name}"]
    is_disk = plan.spec.loader_type.boots or plan.spec.store_only
    if is_disk and (fault := disk_fault(plan)):
        return [fault]
    root = f"root=LABEL={plan.root.label} init={plan.spec.root.system}/init"
    return [
        "nothing on the disk boots it by itself: start its kernel from outside, with",
        f"  {root}",
    ]


def bytes_on_disk(file: Path) -> int:
    """What a file takes on its disk: less than its size where it has holes."""
    return file.stat().st_blocks * 512  # st_blocks: inode(7)
