"""How a command runs and ends: signals, messages, exit status.

Only this module ends the process.
"""

import logging
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from assembler.cli.flags import record_with_flags, with_flags
from assembler.errors import AssembleError, InternalError, reason
from assembler.host.console import Console
from assembler.host.scratch import remove_scratch

log = logging.getLogger(__name__)

# The signals that end a command, and the message for each.
_SIGNALS = {
    signal.SIGHUP: "the terminal has gone",
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "terminated",
}
_NO_THREADS = "can't start new thread"  # CPython, Modules/_threadmodule.c


class _StoppedError(BaseException):
    """SIGTERM or SIGHUP arrived; it ends a command as an interrupt does."""


class _Signals:
    """Turns the first signal that ends a command into an exception.

    Later signals are ignored, because they would interrupt the clean-up.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.heeded = True
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup stays in force
                signal.signal(number, self._receive)

    def ignore(self) -> None:
        """Ignore all signals from now on: Python removes our handlers while it ends."""
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        # Ignored here and not by SIG_IGN, which the programs that we start would inherit.
        if self.heeded:
            self.heeded = False
            self.received = signal.Signals(number)
            raise KeyboardInterrupt if number == signal.SIGINT else _StoppedError


def run_command(name: str, run: Callable[[Console], int]) -> NoReturn:
    """Run a command that returns its exit status, print errors, and end the process."""
    signals = _Signals()
    console = Console()
    with console.installed():
        try:
            status = run(console)
        except (Exception, KeyboardInterrupt, SystemExit, _StoppedError) as error:
            signals.heeded = False
            remove_scratch()
            if signals.received:  # errors of the clean-up do not matter
                status, lines = 128 + signals.received, [_SIGNALS[signals.received]]
            else:
                status, lines = _explain(error)
            console.complain(f"{name}: {line}" for line in lines)
        signals.ignore()
        console.out.flush()
        if console.out.fault is not None:
            status = status or int(console.is_result)
        if console.out.fault:
            console.err.lines([f"{name}: {_lost(console)}"])
    sys.exit(status)


def _lost(console: Console) -> str:
    """The message for output that was lost; empty if nothing was."""
    why = f"standard output could not be written: {console.out.fault}"
    return why if console.is_result else f"it is done, but its result could not be printed: {why}"


def _explain(error: BaseException) -> tuple[int, list[str]]:
    """The exit status for an exception of a command, and the lines to print."""
    match error:
        case SystemExit():  # --help and --version
            return int(error.code or 0), []
        case AssembleError():
            return error.exit_status, [*map(with_flags, error.lines)]
    if fault := _host_fault(error):
        return 1, [fault]
    log.debug("where it happened:", exc_info=error)
    bug = InternalError(f"{type(error).__name__}: {error}")
    return 1, [*bug.lines, "-vv tells where it happened"]


def _host_fault(error: BaseException) -> str:
    """The fault of this host behind an error of Python; empty if the fault is in this program."""
    match error:
        case FileNotFoundError(filename=None):  # nothing else fails so
            return "the working directory is gone: go to another one"
        case OSError():
            return reason(error)
        case MemoryError():
            return "this host has not enough memory"
        case RuntimeError() if _NO_THREADS in str(error):
            return (
                "this host lets us start no more threads: raise the limit of the user's processes "
                "(ulimit -u), or that of the container (pids.max)"
            )
    return ""


class _Handler(logging.Handler):
    """Prints each record as one line; with `bars`, it first clears a bar from that line."""

    def __init__(self, console: Console, *, bars: bool) -> None:
        super().__init__()
        self._console, self._bars = console, bars

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record, and below it where an error happened."""
        if self._bars:
            self._console.bars.write("\r\033[K")
        where = self._formatter.formatException(record.exc_info) if record.exc_info else ""
        self._console.err.lines([record_with_flags(record), *where.splitlines()], fold=False)

    _formatter = logging.Formatter()


def set_up_log(console: Console, level: int, *, bars: bool) -> None:
    """Print records from `level` on."""
    logging.raiseExceptions = False
    logging.basicConfig(level=level, handlers=[_Handler(console, bars=bars)], force=True)
