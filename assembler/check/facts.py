"""What `check-image --json` prints: sizes in bytes, whole paths, names as in the image."""

from collections.abc import Sequence
from typing import Any

from assembler.check.chain import Chain
from assembler.check.grub.menu import Load
from assembler.check.image import Report
from assembler.check.offer import Offer
from assembler.check.part import Part
from assembler.filesystems.ext4.kind import EXT4
from assembler.filesystems.fat.kind import FAT

_CHECKED = (EXT4.name, FAT.title)  # file systems whose structure is checked


def facts(report: Report) -> dict[str, Any]:
    """A report as JSON can write it."""
    return {
        "path": report.image,
        "size": report.size,
        "sound": report.sound,
        "faults": [*report.faults],
        "partitions": [_of_part(part) for part in report.parts],
        "chains": [_of_chain(chain) for chain in report.chains if chain.firmware],
    }


def facts_of_no_image(path: str, faults: Sequence[str]) -> dict[str, Any]:
    """The same for a file that could not be checked."""
    none = {"path": path, "size": None, "sound": None, "faults": [*faults]}
    return {**none, "partitions": [], "chains": []}


def _of_part(part: Part) -> dict[str, Any]:
    return {
        "number": part.number,
        "name": part.name,
        "type": part.type_guid,
        "start": part.start,
        "size": part.size,
        "content": {
            "kind": part.kind or None,
            "checked": part.kind in _CHECKED,
            "empty": part.empty,
            "inodes": part.inodes,
            "free": part.free if part.inodes is not None else None,
        },
        "fault": part.fault or None,
    }


def _of_chain(chain: Chain) -> dict[str, Any]:
    return {
        "firmware": chain.firmware,
        "links": [*chain.links],
        "entries": [_of_offer(offer) for offer in chain.offers],
        "remarks": [*chain.remarks],
        "fault": chain.fault or None,
    }


def _of_offer(offer: Offer) -> dict[str, Any]:
    files = [(load.is_kernel, _of_load(load, size)) for load, size in offer.files]
    return {
        "title": offer.title,
        "default": offer.default,
        "followed": offer.followed,
        "kernel": next((file for is_kernel, file in files if is_kernel), None),
        "initrds": [file for is_kernel, file in files if not is_kernel],
        "init": offer.init,
    }


def _of_load(load: Load, size: int | None) -> dict[str, Any]:
    return {"partition": load.place.number, "path": load.place.path, "size": size}
