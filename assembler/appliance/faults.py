"""Why an appliance did not start, failed or died, and what to do about it."""

import re
from collections.abc import Mapping, Sequence

from assembler.errors import Message, Setting

# A pattern for the log or for libguestfs's message, and then cause and remedy, in parts. The first
# pattern that matches counts. Other releases may print other words: then there is no cause, and
# `last_resort` leads to the log.
_Cause = tuple[str, *tuple[str | Setting, ...]]
_Causes = Sequence[_Cause]

TOO_SLOW = "the machine runs, but does not start in time"
_KVM = (
    r"(?P<what>failed to set MSR[^\n]*|failed to initialize kvm[^\n]*"
    rf"|Could not access KVM kernel module[^\n]*|kvm not available|{TOO_SLOW})"
)
_TCG = Setting("accelerator", "tcg")

_AT_THE_START: _Causes = (
    (
        r"QEMU is absent: (?P<what>\S+)",
        "QEMU is absent ({what}): install qemu-system-x86 (Debian) or qemu (nixpkgs)",
    ),
    (
        r"cannot find any suitable libguestfs supermin, fixed or old-style appliance",
        "there is no appliance in LIBGUESTFS_PATH ({path}): name a directory that "
        "libguestfs-make-fixed-appliance has filled, or unset it",
    ),
    (
        r"supermin: (?:command )?not found|supermin: No such file",
        "supermin is absent, which builds the appliance: install supermin, or set LIBGUESTFS_PATH "
        "to a fixed appliance",
    ),
    (
        r"appliance\.d\b.*No space left on device|No space left on device.*/appliance\.d\b",
        "there is no room to build the appliance in {cache}: make some, or set "
        "LIBGUESTFS_CACHEDIR to a directory with a few hundred MiB",
    ),
    (
        r"No space left on device",
        "the disk of TMPDIR ({tmpdir}) is full: set TMPDIR to a directory with room",
    ),
    (
        r"(?P<what>/boot/vmlinu\S+?)\W?(?: for reading)?: Permission denied"
        r"|cp -p '(?P<kernel>/boot/vmlinu[^']+)'",
        "the kernel {what} may not be read: an administrator can allow it with chmod 0644 {what}",
    ),
    (
        r"failed to find a suitable kernel",
        "there is no kernel for the appliance in /boot: install linux-image-cloud-amd64 (Debian), "
        "or set LIBGUESTFS_PATH to a fixed appliance",
    ),
    (
        r"cannot set up guest memory",
        "this host has not enough memory for an appliance of {memory} MiB: set LIBGUESTFS_MEMSIZE "
        "to less",
    ),
    (
        r"without KVM it has not started in (?P<what>\d+) seconds",  # as below
        "without KVM it has not started in {what} seconds: run it when the host is less busy",
    ),
    (_KVM, "KVM does not work on this host ({what}), but ", _TCG, " does"),
)

_OUT_OF_MEMORY: _Cause = (
    r"Out of memory: Killed process|invoked oom-killer|System is deadlocked on memory"
    r"|Cannot allocate memory",
    "the appliance ran out of memory: set LIBGUESTFS_MEMSIZE to more than {memory} (MiB)",
)

# The kernel prints this when QEMU cannot write. The program that wrote may have ended before,
# without an error, because data reach the disk later.
_WRITE_FAILED: _Cause = (
    r"I/O error, dev vda\b",
    "the image cannot be written, {image} has {free} free: make room there, or look to its disk",
)

_WHILE_IT_RUNS: _Causes = (
    _OUT_OF_MEMORY,
    _WRITE_FAILED,
    (
        r"No space left on device",
        "the file system is full: give it more with ",
        Setting("size"),
        " or ",
        Setting("additional_space"),
    ),
)


def cause(log: str, facts: Mapping[str, str], *, started: bool) -> str:
    """Cause and remedy in one line, or "" if unknown.

    `log` is libguestfs's message and the log, `facts` are `memory` (MiB of the appliance), `path`
    (LIBGUESTFS_PATH), `cache` (where the appliance is built), `tmpdir`, `image` (its directory)
    and `free` (what the image's disk has free).
    """
    log = log.replace("\r", "\n")
    causes = _WHILE_IT_RUNS if started else (*_AT_THE_START, _OUT_OF_MEMORY)
    for pattern, *parts in causes:
        if found := re.search(pattern, log):
            groups = found.groupdict()
            what = (groups.get("what") or groups.get("kernel") or "").strip()
            texts = [
                part.format(what=what, **facts) if isinstance(part, str) else part for part in parts
            ]
            return Message(*texts)
    return ""


def too_slow_without_kvm(limit: int) -> str:
    """The message for an appliance that has not started in `limit` seconds, for `cause`."""
    return f"without KVM it has not started in {limit} seconds"


def kvm_failed(log: str) -> str:
    """QEMU's words for a KVM that it cannot use, or ""."""
    found = re.search(_KVM, log.replace("\r", "\n"))
    return found["what"].strip() if found else ""


def write_failed(log: str) -> bool:
    """Whether the log has an error in writing to the image."""
    return re.search(_WRITE_FAILED[0], log) is not None


def last_resort(message: str, *, started: bool) -> str:
    """The message for a dead appliance whose cause is unknown; `message` is libguestfs's."""
    first = message.partition("\n")[0].rstrip(".")
    if not started:
        return (
            f"the appliance did not start ({first}): the log ends with the messages of QEMU and "
            "its kernel"
        )
    return (
        f"the appliance died ({first}): QEMU was killed, or its kernel crashed (this host may be "
        "short of memory: LIBGUESTFS_MEMSIZE sets what the appliance takes, in MiB)"
    )
