"""How much memory and how many processors an appliance gets."""

import os
import re
from contextlib import suppress
from pathlib import Path

from assembler.units import MIB

_MAX_PROCESSORS = 4
# MiB. More memory is not faster: the host must provide each page when it is first touched.
_LEAST_MEMORY, _MOST_MEMORY = 384, 2048
DEFAULT_CACHE = "/var/tmp"  # LIBGUESTFS_CACHEDIR in guestfs(3)
_MEMINFO = Path("/proc/meminfo")  # proc_meminfo(5)


def problems() -> list[str]:
    """One line for each wrong variable of the environment that sets memory or cache."""
    lines = []
    memory = os.environ.get("LIBGUESTFS_MEMSIZE", "")
    if memory and not re.fullmatch("[1-9][0-9]{0,9}", memory):
        lines.append(f"LIBGUESTFS_MEMSIZE is {memory!r}, not a number of MiB")
    cache = os.environ.get("LIBGUESTFS_CACHEDIR", "")
    if cache and not (os.path.isdir(cache) and os.access(cache, os.W_OK | os.X_OK)):
        lines.append(f"LIBGUESTFS_CACHEDIR {cache} is not a directory that you may write to")
    return lines


def processors() -> int:
    """How many processors an appliance gets."""
    return min(_MAX_PROCESSORS, len(os.sched_getaffinity(0)))


def memory_for(extra: int) -> int:
    """MiB for an appliance that needs `extra` bytes, if this host can spare them now."""
    wanted = min(_MOST_MEMORY, _LEAST_MEMORY + extra // MIB)
    with suppress(OSError, IndexError, ValueError):
        [line] = [
            line for line in _MEMINFO.read_text().splitlines() if line.startswith("MemAvailable:")
        ]
        available = int(line.split()[1]) // 1024
        return max(_LEAST_MEMORY, min(wanted, available // 2))
    return _LEAST_MEMORY
