"""The root file system as the appliance sees it: where it is mounted, and by which commands."""

import shlex
import string
from collections.abc import Sequence

TARGET = "/run/assemble/root"  # in the appliance
DISK = "/dev/vda"  # the image, whatever its name on the host


def disk(number: int) -> str:
    """The appliance's name for a disk attached: 0 is the image."""
    return f"/dev/vd{string.ascii_lowercase[number]}"


def device(partition: int) -> str:
    """The appliance's name for a partition of the image, or the whole of it for 0."""
    return f"{DISK}{partition or ''}"


def mount(
    partition: int, kind: str, subvolumes: Sequence[tuple[str, str]] = (), options: str = "noatime"
) -> list[str]:
    """Shell lines that mount the root file system, and its subvolumes, at TARGET.

    Mount points that are absent are made.
    """
    source = device(partition)
    places = {place: f",subvol={name}" for name, place in subvolumes}
    lines = [f"mkdir -p {TARGET}", f"modprobe {kind} 2>/dev/null || :"]
    for place in sorted({"/", *places}, key=lambda place: place.count("/") + (place != "/")):
        where = shlex.quote(TARGET + place.rstrip("/"))
        how = shlex.quote(options + places.get(place, ""))
        lines += [f"mkdir -p {where}", f"mount -t {kind} -o {how} {source} {where}"]
    return lines


# Only syncfs(2) reports data that could not be written after the program that wrote it ended.
UNMOUNT = [f"sync -f {TARGET}", f"umount -R {TARGET}"]
