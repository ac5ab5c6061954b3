"""The process that holds the libguestfs handle, seen from ours; `worker.py` runs in it."""

import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from subprocess import TimeoutExpired
from typing import IO, Any, Self

from assembler.appliance import worker
from assembler.host import process
from assembler.host.progress import Step

log = logging.getLogger(__name__)

_PATIENCE = 15  # seconds for an appliance to clear up before it is killed
_LONGEST_RUNTIME_PATH = 70  # bytes: a socket's path has 108 (unix(7)), libguestfs adds its own

Answer = dict[str, Any]  # see worker.py
OnLine = Callable[[str], None]


class WorkerProcess:
    """Starts and ends the process, which writes to a log, and sends it requests."""

    def __init__(self, log_path: Path, directory: Path) -> None:
        """`directory` is where libguestfs and QEMU put their temporary files."""
        self._log_path, self._directory = log_path, directory
        self._running: process.Running | None = None
        self.was_too_slow = False  # whether the last request was ended at its limit

    def start(self) -> None:
        """Start a process; none may be running."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(("LIBGUESTFS_", "SUPERMIN_")) and value  # "" is an error to it
        }
        # QEMU, too, leaves a file there when it is killed early.
        environment |= {
            "LIBGUESTFS_TMPDIR": str(self._directory),
            "TMPDIR": str(self._directory),
        }
        if len(os.fsencode(self._directory)) <= _LONGEST_RUNTIME_PATH:
            environment |= {"XDG_RUNTIME_DIR": str(self._directory)}
        with self._log_path.open("ab") as file:
            self._running = process.start(
                [sys.executable, "-I", worker.__file__],
                stdin=process.PIPE,
                stdout=process.PIPE,
                stderr=file.fileno(),
                env=environment,
            )

    def call(
        self,
        request: dict[str, object],
        on_line: OnLine | None = None,
        step: Step | None = None,
        limit: float | None = None,
    ) -> Answer:
        """Send a request, handle the events that come before its answer, and return the answer.

        With `limit`, the worker is ended if QEMU has run for so many seconds without an answer; the
        answer is then an error.
        """
        assert self._running is not None
        assert self._running.stdin is not None
        assert self._running.stdout is not None
        with suppress(BrokenPipeError):
            self._running.stdin.write(json.dumps(request).encode() + b"\n")
            self._running.stdin.flush()
        with _Watch(self._running.stdin, limit) as watch:
            answer = _wait(self._running.stdout, on_line, step, watch)
        self.was_too_slow = watch.expired
        if watch.expired:
            answer.setdefault("error", "it was ended")
        return answer

    def end(self) -> None:
        """End the process and QEMU with it, whatever they do; a second call does nothing."""
        running, self._running = self._running, None
        if running is None:
            return
        for pipe in (running.stdin, running.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        try:
            running.wait(_PATIENCE)
        except TimeoutExpired:
            pass
        finally:
            process.kill_group(running)


class _Watch:
    """Closes a worker's standard input, which ends it, after `limit` seconds; None: never."""

    def __init__(self, stdin: IO[bytes], limit: float | None) -> None:
        self._stdin, self._limit = stdin, limit
        self._timer: threading.Timer | None = None
        self.expired = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def begin(self) -> None:
        """Let the time run, if there is a limit and it does not run already."""
        if self._timer is None and self._limit is not None:
            self._timer = threading.Timer(self._limit, self._expire)
            self._timer.daemon = True
            self._timer.start()

    def _expire(self) -> None:
        self.expired = True
        with suppress(OSError):
            self._stdin.close()


def _wait(stdout: IO[bytes], on_line: OnLine | None, step: Step | None, watch: _Watch) -> Answer:
    """Handle events until the answer."""
    done = 0
    for raw in stdout:
        match json.loads(raw):
            case {"line": line}:
                log.debug("appliance: %s", line)
                if on_line is not None:
                    on_line(line)
            case {"progress": [position, total]} if step is not None and total:
                step.advance(100 * position // total - done)
                done = 100 * position // total
            case {"progress": _}:
                pass
            case {"qemu": _}:
                watch.begin()
            case answer:
                assert isinstance(answer, dict)
                return answer
    return {"error": "libguestfs's process ended", "alive": False}
