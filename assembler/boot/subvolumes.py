"""Where GRUB finds a path of the root when parts of it are subvolumes of a btrfs."""

from collections.abc import Sequence


def locate(path: str, subvolumes: Sequence[tuple[str, str]]) -> str:
    """The path from the top level of the btrfs, which is what GRUB reads, for one in the root.

    `subvolumes` are (name, place) pairs: what is below `place` lies in the subvolume `name`.
    """
    parts = _parts(path)
    found = subvolume_of(path, subvolumes)
    if found is not None:
        name, place = found
        parts = [name, *parts[len(_parts(place)) :]]
    return "/" + "/".join(parts)


def subvolume_of(path: str, subvolumes: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    """The (name, place) of the subvolume that a path of the root lies in; None for the top."""
    parts = _parts(path)
    found: tuple[str, str] | None = None
    for name, place in subvolumes:
        above = _parts(place)
        if parts[: len(above)] == above and (found is None or len(above) > len(_parts(found[1]))):
            found = name, place
    return found


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]
