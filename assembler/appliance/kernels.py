"""Which file systems an appliance will have, as far as this host shows before one is started."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from assembler.errors import Message, Setting

_MODULES = Path("/lib/modules")
_LISTS = ("modules.dep", "modules.builtin")  # depmod(8) and Linux Documentation/kbuild/kbuild.rst
# With these set the appliance's kernel is not one of the host's (guestfs(3), supermin(1)).
_ELSEWHERE = ("LIBGUESTFS_PATH", "SUPERMIN_KERNEL", "SUPERMIN_MODULES")


def problems(wanted: str, makeable: Iterable[str]) -> list[str]:
    """One line if no kernel here has the file system `wanted`; it names those of `makeable` here.

    None if the kernel or its modules are not known: then the appliance itself fails.
    """
    if any(os.environ.get(name) for name in _ELSEWHERE):
        return []
    lists = _lists()
    if not lists or _has(lists, wanted):
        return []
    others = ", ".join(kind for kind in makeable if _has(lists, kind))
    why = (
        ": this host's kernel, which the appliance runs, has none; "
        f"of what can be made it has {others}: take one of them, or install a kernel with "
        f"{wanted} (Debian: linux-image-amd64)"
    )
    return [Message(Setting("file_system", wanted), why)]


def _lists() -> str:
    """The lists of modules of all kernels, since supermin may choose any."""
    found = []
    for directory in sorted(_MODULES.glob("*")):
        for name in _LISTS:
            with suppress(OSError):
                found.append((directory / name).read_text(errors="replace"))
    return "\n".join(found)


def _has(lists: str, kind: str) -> bool:
    return f"/{kind}.ko" in lists
