"""The one way to start another program."""

import logging
import os
import select
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import IO, TYPE_CHECKING

from assembler.errors import HostError, TooSlowError
from assembler.host.failures import failure, unstartable
from assembler.host.programs import require, search_path, which
from assembler.host.temporary import temporary_directory

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

log = logging.getLogger(__name__)

_TICK = 0.05  # seconds
_SILENCE = 60  # seconds

Arg = str | bytes | os.PathLike[str]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """A small, fixed environment, so that an image does not depend on a user's settings."""
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
        "E2FSCK_CONFIG": "/dev/null",  # since /etc/e2fsck.conf changes how directories are packed
        **(extra or {}),
    }


def command_line(argv: Sequence[Arg]) -> str:
    """Return the command as it can be pasted into a shell."""
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
    killed: give a limit to every program that reads an image, since a damaged image can keep it
    busy for ever. Raises TooSlowError then, else HostError, with the command, the last lines that
    the program printed, and `remedy`; one line if the host is at fault.
    """
    log.debug("run: %s", command_line(argv))
    program, command = os.fsdecode(argv[0]), f"  command: {command_line(argv)}"
    try:
        done = subprocess.run(
            [os.fsencode(arg) for arg in argv],
            executable=_find(program, what),
            env=environment(env),
            capture_output=True,
            check=False,
            input=input,
            stdin=subprocess.DEVNULL if stdin is None and input is None else stdin,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        raise TooSlowError(
            f"{what}: {Path(program).name} did not end within {limit:.0f} seconds and was stopped: "
            "what it reads is damaged"
        ) from None
    except OSError as error:
        raise HostError(f"{what}: {unstartable(program, error)}") from None
    fault = failure(program, done, what=what, command=command, ok=ok, remedy=remedy)
    if fault is not None:
        raise fault
    return done


def _find(program: str, what: str) -> Path:
    """Return the path of a program; raises HostError where it is absent.

    The system would report a directory on PATH that may not be entered, not the absent program.
    """
    found = which(program)
    if found is None:
        raise HostError(f"{what}: {require(program)[0]}")
    return found


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
    log.debug("start: %s", command_line(argv))
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
        raise HostError(unstartable(os.fsdecode(argv[0]), error)) from None


def follow(
    argv: Sequence[Arg],
    *,
    what: str,
    tick: Callable[[int], None],
    stdin: int = DEVNULL,
    stdout: int = DEVNULL,
    room: str = "",
) -> None:
    """Run a long program to its end, and call `tick` with its pid some 20 times a second.

    `stdin` and `stdout` are open files, `room` is as in `failure`. Raises as `run`; whatever is
    raised, the program has ended.
    """
    with tempfile.TemporaryFile(dir=temporary_directory()) as errors:
        _find(os.fsdecode(argv[0]), what)
        running = start(argv, stdin=stdin, stdout=stdout, stderr=errors.fileno())
        try:
            while running.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    running.wait(_TICK)
                tick(running.pid)
        except BaseException:
            kill_group(running)
            raise
        _raise_if_failed(argv, running.returncode, errors, what, room)


class _Bounded(RawIOBase):
    """What a program writes; raises TimeoutExpired when it takes too long."""

    def __init__(self, stream: IO[bytes], limit: float) -> None:
        self._handle, self._end = stream.fileno(), time.monotonic() + limit
        self._poll = select.poll()
        self._poll.register(self._handle, select.POLLIN)

    def readable(self) -> bool:
        """True: BufferedReader asks for it."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Wait for some bytes, and read them."""
        if not self.left or not self._poll.poll(1000 * min(_SILENCE, self.left)):
            raise subprocess.TimeoutExpired([], _SILENCE)
        return os.readv(self._handle, [buffer])

    @property
    def left(self) -> float:
        """Seconds; 0 when the time is over."""
        return max(0, self._end - time.monotonic())


@contextmanager
def _killed_on_error(running: Running) -> Iterator[None]:
    try:
        yield
    except BaseException:
        kill_group(running)
        raise


@contextmanager
def reading(
    argv: Sequence[Arg], *, what: str, limit: float, stdin: int = DEVNULL
) -> Iterator[BufferedReader]:
    """Give what a program writes, to be read to its end; raises as `run`.

    `stdin` is an open file. A program that runs for `limit` seconds, or writes nothing for a
    minute, is killed: what it unpacks may be anybody's. When the block ends, however it does, the
    program has ended.
    """
    with tempfile.TemporaryFile(dir=temporary_directory()) as errors:
        _find(os.fsdecode(argv[0]), what)
        running = start(argv, stdin=stdin, stdout=PIPE, stderr=errors.fileno())
        assert running.stdout is not None
        bounded = _Bounded(running.stdout, limit)
        try:
            with running.stdout, _killed_on_error(running):  # before its output is closed
                yield BufferedReader(bounded)
            running.wait(bounded.left)
        except subprocess.TimeoutExpired:
            kill_group(running)
            raise TooSlowError(
                f"{what}: {Path(os.fsdecode(argv[0])).name} took too long and was stopped: what it "
                "reads is damaged, or holds far more than it seems to"
            ) from None
        except BaseException:
            kill_group(running)
            raise
        _raise_if_failed(argv, running.returncode, errors, what)


def _raise_if_failed(
    argv: Sequence[Arg], status: int, errors: IO[bytes], what: str, room: str = ""
) -> None:
    """Raise HostError for a program that has failed; `errors` has what it printed."""
    errors.seek(0)
    done = Done(argv, status, b"", errors.read())
    program, command = os.fsdecode(argv[0]), f"  command: {command_line(argv)}"
    fault = failure(program, done, what=what, command=command, ok=(0,), remedy="", room=room)
    if fault is not None:
        raise fault


def kill_group(running: Running) -> None:
    """Kill a program that `start` started, and all that it started in its process group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(running.pid, signal.SIGKILL)
    running.wait()
