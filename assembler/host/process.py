"""The one way to start another program."""

import errno
import logging
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from assembler.errors import HostError, RequestError, TooSlowError, reason

log = logging.getLogger(__name__)

# Administrators' directories hold mke2fs and friends but are not on every user's PATH.
_ADMIN_DIRECTORIES = ("/usr/local/sbin", "/usr/sbin", "/sbin")
_TAIL_LINES = 12

# Which Debian package brings a program, and its name in nixpkgs.
PACKAGES = {
    "chmod": ("coreutils", "coreutils"),
    "cp": ("coreutils", "coreutils"),
    "e2fsck": ("e2fsprogs", "e2fsprogs"),
    "fdisk": ("fdisk", "util-linux"),
    "find": ("findutils", "findutils"),
    "fsck.fat": ("dosfstools", "dosfstools"),
    "grub-fstest": ("grub-common", "grub2"),
    "grub-mkimage": ("grub-common", "grub2"),
    "grub-script-check": ("grub-common", "grub2"),
    "mcopy": ("mtools", "mtools"),
    "mke2fs": ("e2fsprogs", "e2fsprogs"),
    "mkfs.fat": ("dosfstools", "dosfstools"),
    "mmd": ("mtools", "mtools"),
    "nix-hash": ("nix-bin", "nix"),
    "nix-store": ("nix-bin", "nix"),
    "rm": ("coreutils", "coreutils"),
    "sfdisk": ("fdisk", "util-linux"),
    "xargs": ("findutils", "findutils"),
}

Arg = str | bytes | os.PathLike[str]


def search_path() -> str:
    """PATH as given, with the administrators' directories behind it."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), *_ADMIN_DIRECTORIES])


def which(program: str) -> Path | None:
    """Where `program` is on the search path, or None."""
    for directory in search_path().split(os.pathsep):
        candidate = os.path.join(directory or ".", program)
        # Not Path.is_file, which raises for a directory on PATH that we may not enter.
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return Path(candidate).absolute()
    return None


def require(*programs: str) -> list[str]:
    """One line for each program that is absent, saying which package has it."""
    lines = []
    for program in programs:
        if which(program) is None:
            debian, nixpkgs = PACKAGES.get(program, (program, program))
            lines.append(
                f"the program {program} is not on PATH: it is in the package {debian} "
                f"(Debian) or {nixpkgs} (nixpkgs)"
            )
    return lines


def temporary_directory() -> Path:
    """TMPDIR, or else /tmp, absolute and without links, as Nix insists on.

    Raises HostError where it is not a directory that may be written to, and RequestError for a
    name in which e2fsprogs finds options, after a `?`, or mtools an offset, after an `@`.
    """
    given = os.environ.get("TMPDIR") or "/tmp"
    try:
        path = Path(os.path.realpath(given))
    except OSError as error:  # it is relative, and the working directory has gone
        raise HostError(f"TMPDIR {given}: {reason(error)}") from None
    if not set(str(path)).isdisjoint("?@"):
        raise RequestError(
            f"TMPDIR {given}: e2fsck and mtools cannot use a path with ? or @ in it: set TMPDIR to "
            "another directory"
        )
    if os.path.isdir(path) and os.access(path, os.W_OK | os.X_OK):
        return path
    fault = "may not be written to" if os.path.isdir(path) else "is not a directory"
    raise HostError(f"TMPDIR {given} {fault}: set TMPDIR to a directory that you may write to")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """A small, fixed environment, so that a user's settings cannot colour an image."""
    kept = {
        name: os.environ[name]
        for name in ("NIX_REMOTE", "NIX_CONF_DIR", "NIX_STATE_DIR")
        if name in os.environ
    }
    if "TMPDIR" in os.environ:
        kept["TMPDIR"] = str(temporary_directory())
    home = os.environ.get("HOME", "/nonexistent")
    return {
        **kept,
        "PATH": search_path(),
        "HOME": home,
        "LC_ALL": "C",
        "TZ": "UTC",
        "E2FSCK_CONFIG": "/dev/null",  # /etc/e2fsck.conf changes how directories are packed
        **(extra or {}),
    }


def describe(argv: Sequence[Arg]) -> str:
    """The command as it can be pasted into a shell."""
    return shlex.join(os.fsdecode(arg) for arg in argv)


def run(
    argv: Sequence[Arg],
    *,
    what: str,
    input: bytes | None = None,
    stdin: int | None = None,
    env: Mapping[str, str] | None = None,
    ok: Sequence[int] = (0,),
    remedy: str = "",
    limit: float | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end and return its output.

    `what` names the job in the user's words ("making the Nix database"), `ok` lists the exit
    statuses that are no failure, `env` is laid over `environment()`, `stdin` is a file
    descriptor to read from instead of `input`. A program that still runs after `limit` seconds is
    killed: pass one for every program that reads an image, which may be damaged so that the
    program never ends. Raises TooSlowError for that, else HostError, with the command, the tail
    of what the program printed, and `remedy`.
    """
    log.debug("run: %s", describe(argv))
    if stdin is None and input is None:
        stdin = subprocess.DEVNULL
    program = os.fsdecode(argv[0])
    # Looked up here: a directory on PATH that may not be entered would hide the real fault.
    found = which(program)
    if found is None:
        raise HostError(f"{what}: {require(program)[0]}")
    try:
        done = subprocess.run(
            [os.fsencode(arg) for arg in argv],
            executable=found,
            env=environment(env),
            capture_output=True,
            check=False,
            input=input,
            stdin=stdin,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        raise TooSlowError(
            f"{what}: {Path(program).name} did not end within {limit:.0f} seconds and was stopped: "
            "what it reads is damaged",
            f"  command: {describe(argv)}",
        ) from None
    except OSError as error:
        raise HostError(f"{what}: {_unstartable(program, error)}") from None
    if done.returncode and (fault := _host_fault(done.stderr)):
        name = Path(program).name
        raise HostError(f"{what}: {name} {fault}", f"  command: {describe(argv)}")
    if done.returncode not in ok:
        raise HostError(*_failure(argv, done, what, remedy))
    return done


_LIMIT = "the limit of processes is reached (ulimit -u, or pids.max of the container)"

# What programs say of a host that they cannot run on, whatever they were to do: the dynamic
# loaders of glibc (elf/dl-error-skeleton.c) and musl (ldso/dynlink.c), and of ENOSPC every libc.
# Words in the middle of a line may be part of a file name. `while` follows them in com_err(3).
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
        re.compile(r"(?m)(?P<what>No space left on device|Disk quota exceeded)(?:[.)]?$| while )"),
        "has no room to write to ({what}): TMPDIR, {tmp}, or the disk of the image is full",
    ),
    (re.compile("(?P<what>Resource temporarily unavailable)"), f"ran into a limit: {_LIMIT}"),
)


def _host_fault(stderr: bytes) -> str:
    """What a failed program says of the host and not of its input, as the end of a message."""
    said = stderr.decode(errors="replace")
    for pattern, words in _HOST_FAULTS:
        if found := pattern.search(said):
            what = next(filter(None, found.groups()))
            return words.format(what=what, tmp=os.environ.get("TMPDIR") or "/tmp")
    return ""


def _failure(
    argv: Sequence[Arg], done: subprocess.CompletedProcess[bytes], what: str, remedy: str
) -> list[str]:
    """The message for a failed program: what, how, its last words, and what to do."""
    status = done.returncode
    how = _killed(-status) if status < 0 else f"failed with status {status}"
    said = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()
    lines = [f"{what}: {Path(os.fsdecode(argv[0])).name} {how}", f"  command: {describe(argv)}"]
    lines += [f"  {line}" for line in said[-_TAIL_LINES:]]
    return [*lines, remedy] if remedy else lines


def _killed(number: int) -> str:
    """How a program ended that a signal ended; the limits of setrlimit(2) send some."""
    name = ""
    with suppress(ValueError):  # a real-time signal
        name = f" ({signal.Signals(number).name})"
    limits: dict[int, str] = {
        signal.SIGXFSZ: ": the limit for the size of files is reached (ulimit -f)",
        signal.SIGXCPU: ": the limit for processor time is reached (ulimit -t)",
    }
    return f"was killed by signal {number}{name}{limits.get(number, '')}"


Done = subprocess.CompletedProcess[bytes]
Running = subprocess.Popen[bytes]
PIPE, DEVNULL = subprocess.PIPE, subprocess.DEVNULL


def start(
    argv: Sequence[Arg],
    *,
    stdin: int,
    stdout: int,
    stderr: int | None = None,
    env: Mapping[str, str] | None = None,
) -> Running:
    """Start a program that runs beside us; its streams are our descriptors, PIPE or DEVNULL.

    It is in a process group of its own: an interrupt from the terminal reaches us, and we end it.
    Raises HostError.
    """
    log.debug("start: %s", describe(argv))
    try:
        return subprocess.Popen(
            [os.fsencode(arg) for arg in argv],
            env=environment(env),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            process_group=0,
        )
    except OSError as error:
        raise HostError(_unstartable(os.fsdecode(argv[0]), error)) from None


def _unstartable(program: str, error: OSError) -> str:
    """Why a program that is there does not start."""
    match error.errno:
        case errno.EAGAIN:
            why = _LIMIT
        case errno.ENOENT:
            why = "its interpreter, or its dynamic loader, is not on this host"
        case _:
            why = error.strerror or str(error)
    return f"cannot start {program}: {why}"


def kill_group(running: Running) -> None:
    """Kill a program that `start` started, and all that it started in its process group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(running.pid, signal.SIGKILL)
    running.wait()
