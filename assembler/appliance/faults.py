"""Why an appliance did not start or died, and what to do about it."""

import os
import re
from pathlib import Path

# Words in the appliance's log or in libguestfs's message → cause and remedy; the first that is
# found holds. The words are those of libguestfs 1.48, supermin 5.2 and Linux.
_CAUSES: tuple[tuple[str, str], ...] = (
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
        r"Out of memory: Killed process|invoked oom-killer|System is deadlocked on memory"
        r"|Cannot allocate memory",
        "the appliance ran out of memory: set LIBGUESTFS_MEMSIZE to more than {memory} (MiB)",
    ),
    (
        r"cannot set up guest memory",
        "this host has not enough memory for an appliance of {memory} MiB: set LIBGUESTFS_MEMSIZE "
        "to less",
    ),
    (
        r"(?P<what>failed to set MSR[^\n]*|failed to initialize kvm[^\n]*"
        r"|Could not access KVM kernel module[^\n]*)",
        "KVM does not work on this host ({what}), but --accelerator tcg does",
    ),
    (
        r"No space left on device",
        "the disk of TMPDIR ({tmpdir}) is full: set TMPDIR to a directory with room",
    ),
)


def cause(message: str, log: Path, *, memory: str) -> str:
    """Cause and remedy in one line, out of libguestfs's message and the log; "" if unknown."""
    try:
        said = f"{message}\n{log.read_text(errors='replace')}".replace("\r", "\n")
    except OSError:
        said = message
    facts = {
        "memory": memory,
        "path": os.environ.get("LIBGUESTFS_PATH", ""),
        "tmpdir": os.environ.get("TMPDIR", "/tmp"),
    }
    for pattern, words in _CAUSES:
        if found := re.search(pattern, said):
            groups = found.groupdict()
            what = groups.get("what") or groups.get("kernel") or ""
            return words.format(what=what.strip(), **facts)
    return ""


def last_resort(*, started: bool) -> str:
    """What can be said of a dead appliance without knowing why it died."""
    if not started:
        return "the appliance did not start: the log has the last words of QEMU and of its kernel"
    return (
        "the appliance died: QEMU was killed, or its kernel crashed (this host may be short of "
        "memory: LIBGUESTFS_MEMSIZE sets what the appliance takes, in MiB)"
    )
