"""The messages for programs that failed or did not start."""

import errno
import os
import re
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from assembler.errors import HostError, ProgramError

_TAIL_LINES = 12  # of what a program printed

_LIMIT = "the limit of processes is reached (ulimit -u, or pids.max of the container): raise it"
_MEMORY = "as Linux does when memory runs out: give the host, or the container, more"

# Messages of programs when the host is at fault: the dynamic loaders of glibc
# (elf/dl-error-skeleton.c) and musl (ldso/dynlink.c), every libc for ENOSPC and EFBIG, and GNU tar
# for its compressor. Words in the middle of a line may be part of a file name, so the end of the
# line, or the ` while ` of com_err(3), must follow.
_HOST_FAULTS = (
    (
        re.compile(
            r"rror (?:while )?loading shared librar(?:ies|y):? (?P<what>[^:\s]+)"
            r"|symbol lookup error: (?P<symbol>.+)"
            r"|version `(?P<version>[^']+)' not found"
        ),
        "cannot load a library that it needs ({what}): install it anew, or mend LD_LIBRARY_PATH",
    ),
    (
        re.compile(
            r"(?m)(?P<what>No space left on device|Disk quota exceeded)(?:[.)]? ?$| while )"
        ),
        "has no room to write to ({what}): make room {room}",
    ),
    (
        re.compile(r"(?m)(?P<what>File too large)(?:[.)]? ?$| while )"),
        "writes a larger file than ulimit -f or the file system allows ({what}): take another "
        "file system, or a smaller disk",
    ),
    (re.compile(r"(?m)^tar: (?P<what>Child died with signal 9)$"), f"failed ({{what}}), {_MEMORY}"),
    (re.compile("(?P<what>Resource temporarily unavailable)"), f"ran into a limit: {_LIMIT}"),
)

# Signals by which the host ends a program: why, and what to do. setrlimit(2) has the last two.
_KILLED: dict[int, str] = {
    signal.SIGKILL: f", {_MEMORY}",
    signal.SIGXFSZ: ": the limit for the size of files is reached (ulimit -f): raise it",
    signal.SIGXCPU: ": the limit for processor time is reached (ulimit -t): raise it",
}


def _host_fault(stderr: bytes, room: str) -> str:
    """Return what a failed program prints about the host, not its input: the end of a sentence."""
    printed, tmp = stderr.decode(errors="replace"), f"TMPDIR ({os.environ.get('TMPDIR') or '/tmp'})"
    for pattern, words in _HOST_FAULTS:
        if found := pattern.search(printed):
            what = next(filter(None, found.groups()))
            return words.format(what=what, room=room or f"where the output goes, or in {tmp}")
    return ""


def failure(
    program: str,
    done: subprocess.CompletedProcess[bytes],
    *,
    what: str,
    command: str,
    ok: Sequence[int],
    remedy: str,
    room: str = "",
) -> HostError | None:
    """Return the error for a failed program: what it did, how it failed, and what it printed.

    `what` names the job, `command` is the line that shows how the program was started, `room` is
    where to make room if the only place that it writes to is full. The error has one
    line if the host is at fault, and is a ProgramError otherwise. None for an exit status in `ok`,
    unless what the program printed shows a fault of the host.
    """
    status = done.returncode
    if status == 0:
        return None
    head = f"{what}: {Path(program).name}"
    if fault := _host_fault(done.stderr, room):
        return HostError(f"{head} {fault}")
    how = f"failed with status {status}"
    if status < 0:
        how = f"was killed by signal {_signal(-status)}"
        if -status in _KILLED:
            return HostError(f"{head} {how}{_KILLED[-status]}")
    if status in ok:
        return None
    printed = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()
    lines = [f"{head} {how}", command, *(f"  {one}" for one in printed[-_TAIL_LINES:])]
    lines += [remedy] if remedy else []
    complaint = done.stderr.decode(errors="replace").strip().partition("\n")[0]
    return ProgramError(*lines, complaint=complaint or how)


def _signal(number: int) -> str:
    """Return the number of a signal, with its name if it has one."""
    with suppress(ValueError):  # a real-time signal
        return f"{number} ({signal.Signals(number).name})"
    return str(number)


def unstartable(program: str, error: OSError) -> str:
    """Return why a program that exists does not start."""
    match error.errno:
        case errno.EAGAIN:
            why = _LIMIT
        case errno.ENOENT:
            why = "its interpreter, or its dynamic loader, is not on this host"
        case _:
            why = error.strerror or str(error)
    return f"cannot start {program}: {why}"
