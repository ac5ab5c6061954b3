"""Which file systems an appliance will have, as far as this host tells before one is started."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_MODULES = Path("/lib/modules")
_LISTS = ("modules.dep", "modules.builtin")  # depmod(8) and Linux Documentation/kbuild/kbuild.rst
# With these set the appliance's kernel is not one of the host's (guestfs(3), supermin(1)).
_ELSEWHERE = ("LIBGUESTFS_PATH", "SUPERMIN_KERNEL", "SUPERMIN_MODULES")


def problems(wanted: str, makeable: Iterable[str]) -> list[str]:
    """One line if no kernel here has the file system `wanted`, naming those of `makeable` it has.

    Where the kernel is not known, or says nothing, there is none: the appliance itself will tell.
    """
    if any(os.environ.get(name) for name in _ELSEWHERE):
        return []
    lists = _lists()
    if not lists or _has(lists, wanted):
        return []
    others = ", ".join(kind for kind in makeable if _has(lists, kind))
    return [
        f"--filesystem {wanted}: this host's kernel, which the appliance runs, has none; "
        f"of what can be made it has {others}: take one of them, or install a kernel with "
        f"{wanted} (Debian: linux-image-amd64)"
    ]


def _lists() -> str:
    """The lists of modules of all kernels, for supermin may choose any."""
    found = []
    for directory in sorted(_MODULES.glob("*")):
        for name in _LISTS:
            with suppress(OSError):
                found.append((directory / name).read_text(errors="replace"))
    return "\n".join(found)


def _has(lists: str, kind: str) -> bool:
    return f"/{kind}.ko" in lists
