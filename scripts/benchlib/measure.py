"""Run a program, and measure how long it took and how much memory it and its children held."""

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from assembler.errors import HostError
from assembler.host import process, programs

_INTERVAL = 0.02  # seconds between two looks at the processes
_PATIENCE = 20  # seconds that an interrupted program has for cleaning up
_TAIL_LINES = 12


@dataclass(frozen=True, slots=True)
class Measured:
    """One row's figures in one round."""

    row: str
    seconds: float
    peak: int | None = None  # bytes


@dataclass(frozen=True, slots=True)
class Finished:
    """What a program took and printed."""

    seconds: float
    peak: int  # bytes
    stdout: str
    stderr: str


def run(argv: Sequence[process.Arg], env: Mapping[str, str] | None = None) -> Finished:
    """Run a program to its end; `env` is laid over this process's own environment.

    Raises HostError when it fails. When this process is interrupted, the program is ended too.
    """
    start = time.perf_counter()
    child = subprocess.Popen(
        [os.fsencode(arg) for arg in argv],
        env={**os.environ, "PATH": programs.search_path(), **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # a terminal's interrupt is for us: we pass it on, once
    )
    memory = _Memory(child.pid)
    try:
        memory.start()
        stdout, stderr = child.communicate()
        seconds = time.perf_counter() - start
    except BaseException:
        _end(child)
        raise
    finally:
        memory.stop()
    if child.returncode:
        tail = "\n".join(f"  {line}" for line in (stdout + stderr).splitlines()[-_TAIL_LINES:])
        raise HostError(
            f"{process.command_line(argv)} failed with status {child.returncode}:\n{tail}"
        )
    return Finished(seconds, memory.peak, stdout, stderr)


def _end(child: "subprocess.Popen[str]") -> None:
    """End a program: first with SIGTERM, then with SIGKILL."""
    with child:
        child.terminate()
        try:
            child.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            child.kill()


class Elsewhere:
    """Measures how busy all other processes kept the processors since it was made.

    Their work makes figures worse, those of several processes more than those of one.
    """

    def __init__(self) -> None:
        self._start, self._busy, self._own = time.monotonic(), _all_busy(), _own_busy()

    def processors(self) -> float:
        """How many processors they took, on average."""
        busy = _all_busy() - self._busy - (_own_busy() - self._own)
        return max(0.0, busy / (time.monotonic() - self._start))


def _all_busy() -> float:
    """Seconds that all processors together were not idle (`cpu` in proc_stat(5))."""
    user, nice, system, _, _, *rest = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def _own_busy() -> float:
    """Seconds that this process and its children took."""
    return sum(os.times()[:4])


class _Memory(threading.Thread):
    """Watches a process and all below it; `peak` is the most that they held at once, in bytes.

    Resident memory is summed over the processes alive at one time; a peak between two looks is
    known only of single processes (VmHWM, proc_pid_status(5)). wait4's ru_maxrss would not do:
    a process counts there as large as the one that it was forked from.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._pid = pid
        self._known: frozenset[int] = frozenset()
        self._done = threading.Event()

    def run(self) -> None:
        """Look until `stop` is called: often at first, because some programs end soon."""
        pause = _INTERVAL / 16
        while not self._done.wait(pause):
            self._look()
            pause = min(2 * pause, _INTERVAL)

    def stop(self) -> None:
        """Look no more."""
        self._done.set()
        if self.is_alive():
            self.join()

    def _look(self) -> None:
        pids = _processes(self._pid)
        total = 0
        for pid in pids:
            resident, high = _memory_of(pid)
            # Until it calls exec, a new process shares its parent's memory, and its command line.
            if pid == self._pid or (pid in self._known and not _is_parents_copy(pid)):
                total += resident
                self.peak = max(self.peak, high)
        self.peak = max(self.peak, total)
        self._known = frozenset(pids)


def _processes(pid: int) -> list[int]:
    """A process and all below it, those that have just ended left out."""
    found = [pid]
    for parent in found:
        with suppress(OSError):
            for thread in os.listdir(f"/proc/{parent}/task"):
                words = Path(f"/proc/{parent}/task/{thread}/children").read_text().split()
                found += map(int, words)
    return found


def _is_parents_copy(pid: int) -> bool:
    """Whether a process has the command line of its parent, as before it runs another program."""
    with suppress(OSError):
        status = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        parent = status.rpartition(")")[2].split()[1]
        lines = [Path(f"/proc/{one}/cmdline").read_bytes() for one in (pid, parent)]
        return lines[0] == lines[1]
    return True


def _memory_of(pid: int) -> tuple[int, int]:
    """Bytes that a process holds resident now, and the most it ever did."""
    fields = {}
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name in ("VmRSS", "VmHWM"):
                fields[name] = int(value.split()[0]) * 1024
    return fields.get("VmRSS", 0), fields.get("VmHWM", 0)
