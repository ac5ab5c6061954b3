"""Subvolumes of a root: which names and places they can have, and what lies in which."""

import re
from collections.abc import Sequence

from assembler.errors import Message, Setting
from assembler.filesystems.protocol import Subvolume


def subvolume_problems(subvolumes: Sequence[Subvolume]) -> list[str]:
    """One line for each name and place that a subvolume cannot have, or has twice."""
    lines: list[str] = []
    for name, place in subvolumes:
        made = Setting("subvolumes", f"{name}={place}")
        if not re.fullmatch(r"[A-Za-z0-9@._+-]{1,200}", name) or name in (".", ".."):
            lines.append(Message(made, ": a name has letters, digits and @._+- only"))
        if not re.fullmatch(r"/|(/[^/,\\\s]+)+", place) or {".", ".."} & set(place.split("/")):
            lines.append(Message(made, f": {place!r} is not an absolute, plain path"))
    if not any(place == "/" for _, place in subvolumes):
        # The root is the top level of the btrfs then, and shows every subvolume under its name.
        lines += [
            Message(
                Setting("subvolumes", f"{name}={place}"),
                f" would show in the root as /{name}, too: give the root a subvolume of its own, "
                "as in ",
                Setting("subvolumes", "@=/"),
            )
            for name, place in subvolumes
            if place != f"/{name}"
        ]
    for what, index in (("name", 0), ("place", 1)):
        names = [subvolume[index] for subvolume in subvolumes]
        for twice in sorted({one for one in names if names.count(one) > 1}):
            lines.append(Message(Setting("subvolumes"), f": the {what} {twice} is given twice"))
    return lines


def path_from_top(path: str, subvolumes: Sequence[Subvolume]) -> str:
    """The path from the top level of a file system, as GRUB reads it, for a path of the root."""
    parts = _parts(path)
    found = subvolume_of(path, subvolumes)
    if found is not None:
        name, place = found
        parts = [name, *parts[len(_parts(place)) :]]
    return "/" + "/".join(parts)


def subvolume_of(path: str, subvolumes: Sequence[Subvolume]) -> Subvolume | None:
    """The subvolume that a path of the root lies in; None for the top level."""
    parts = _parts(path)
    found: Subvolume | None = None
    for name, place in subvolumes:
        above = _parts(place)
        if parts[: len(above)] == above and (found is None or len(above) > len(_parts(found[1]))):
            found = name, place
    return found


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]
