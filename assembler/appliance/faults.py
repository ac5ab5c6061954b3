"""Why an appliance did not start, failed or died, and what to do about it."""

import re
from collections.abc import Mapping, Sequence

# Words of the log or of libguestfs → cause and remedy; the first that is found holds. The words
# are those of libguestfs 1.48, supermin 5.2, QEMU 7.2, coreutils 9 and Linux.
_Causes = Sequence[tuple[str, str]]

_KVM = (
    r"(?P<what>failed to set MSR[^\n]*|failed to initialize kvm[^\n]*"
    r"|Could not access KVM kernel module[^\n]*|kvm not available)"
)

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
    (_KVM, "KVM does not work on this host ({what}), but --accelerator tcg does"),
)

_OUT_OF_MEMORY = (
    r"Out of memory: Killed process|invoked oom-killer|System is deadlocked on memory"
    r"|Cannot allocate memory",
    "the appliance ran out of memory: set LIBGUESTFS_MEMSIZE to more than {memory} (MiB)",
)

# The kernel's word on a request that QEMU could not carry out. Of the write itself the program
# that wrote may hear nothing, for the data were to reach the disk later.
_WRITE_FAILED = (
    r"I/O error, dev vda\b",
    "the image cannot be written, {image} has {free} free: make room there, or look to its disk",
)

_WHILE_IT_RUNS: _Causes = (
    _OUT_OF_MEMORY,
    _WRITE_FAILED,
    (
        r"\b(?P<what>mkfs\.\w+): (?:command )?not found",
        "the appliance has no {what}: install the package of libguestfs for its file system "
        "(Debian: libguestfs-xfs)",
    ),
    (
        r"No space left on device",
        "the file system is full: give it more with --size or --additional-space",
    ),
)


def cause(said: str, facts: Mapping[str, str], *, started: bool) -> str:
    """Cause and remedy in one line, or "" if unknown.

    `said` is libguestfs's message and the log, `facts` are `memory` (MiB of the appliance), `path`
    (LIBGUESTFS_PATH), `cache` (where the appliance is built), `tmpdir`, `image` (its directory)
    and `free` (what the image's disk has free).
    """
    said = said.replace("\r", "\n")
    causes = _WHILE_IT_RUNS if started else (*_AT_THE_START, _OUT_OF_MEMORY)
    for pattern, words in causes:
        if found := re.search(pattern, said):
            groups = found.groupdict()
            what = groups.get("what") or groups.get("kernel") or ""
            return words.format(what=what.strip(), **facts)
    return ""


def kvm_failed(said: str) -> str:
    """What QEMU says of KVM when it cannot use it, or ""."""
    found = re.search(_KVM, said.replace("\r", "\n"))
    return found["what"].strip() if found else ""


def write_failed(log: str) -> bool:
    """Whether the log tells that something never reached the image."""
    return re.search(_WRITE_FAILED[0], log) is not None


def last_resort(message: str, *, started: bool) -> str:
    """What can be said of a dead appliance without knowing why; `message` is libguestfs's."""
    first = message.partition("\n")[0].rstrip(".")
    if not started:
        return (
            f"the appliance did not start ({first}): the log has the last words of QEMU and of its "
            "kernel"
        )
    return (
        f"the appliance died ({first}): QEMU was killed, or its kernel crashed (this host may be "
        "short of memory: LIBGUESTFS_MEMSIZE sets what the appliance takes, in MiB)"
    )
