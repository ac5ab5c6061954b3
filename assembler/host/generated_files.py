"""Files that the kernel generates when they are read, as in /proc: these cannot be copied."""

import os
import stat
from functools import cache

_MOUNTS = "/proc/self/mountinfo"  # proc_pid_mountinfo(5)
_KINDS = frozenset(
    (
        *("proc", "sysfs", "cgroup", "cgroup2", "debugfs", "tracefs", "securityfs", "configfs"),
        *("bpf", "binfmt_misc", "devpts", "fusectl", "mqueue", "nsfs", "rpc_pipefs", "selinuxfs"),
    )
)


def kernel_fault(path: str, status: os.stat_result) -> str:
    """Why a file of the host cannot be copied: the kernel generates it; empty for other files.

    A regular file of size 0 that has content is one, too. Raises OSError.
    """
    kind = _file_systems().get(status.st_dev)
    if kind is None and stat.S_ISREG(status.st_mode) and status.st_size == 0:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if os.read(handle, 1):
                kind = "a file system without sizes"
        finally:
            os.close(handle)
    if kind is None:
        return ""
    return f"{path} is on {kind}, where the kernel makes files up as they are read: copy it first"


@cache
def _file_systems() -> dict[int, str]:
    """Device number → kind, for mounted file systems whose files the kernel generates."""
    found = {}
    try:
        with open(_MOUNTS, errors="surrogateescape") as mounts:
            for line in mounts:
                fields, _, about = line.partition(" - ")
                kind = about.split(" ", 1)[0]
                if kind in _KINDS:
                    major, minor = map(int, fields.split(" ", 3)[2].split(":"))
                    found[os.makedev(major, minor)] = kind
    except OSError:
        pass
    return found
