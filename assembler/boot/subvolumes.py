"""Where GRUB finds a path of the root when parts of it are subvolumes of a btrfs."""

from collections.abc import Sequence


def locate(path: str, subvolumes: Sequence[tuple[str, str]]) -> str:
    """The path from the top level of the btrfs, which is what GRUB reads, for one in the root.

    `subvolumes` are (name, place) pairs: what is below `place` lies in the subvolume `name`.
    """
    parts = _parts(path)
    found: tuple[str, list[str]] | None = None
    for name, place in subvolumes:
        above = _parts(place)
        if parts[: len(above)] == above and (found is None or len(above) > len(found[1])):
            found = name, above
    if found is not None:
        parts = [found[0], *parts[len(found[1]) :]]
    return "/" + "/".join(parts)


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]
