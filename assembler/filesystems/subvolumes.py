"""Which names and places subvolumes of a root can have."""

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
