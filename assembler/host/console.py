"""The output of the commands: free of control characters, on streams that may fail.

Everything that the commands print goes through here. A stream may be closed, its disk may be full,
or its reader may have ended: none of these ends a run.
"""

import io
import os
import sys
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol, TextIO

from assembler.errors import reason
from assembler.host.words import printable

_HANGING = 4  # columns by which the rest of a folded line is indented
_USUAL = 80  # columns of a terminal of unknown width


def folded(line: str, columns: int) -> list[str]:
    """A line as lines of at most so many columns where its words allow it; 0 is no limit."""
    if not columns or len(line) <= columns:
        return [line]
    margin = " " * (len(line) - len(line.lstrip()) + _HANGING)
    return textwrap.wrap(
        line,
        columns,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )


class TextStream(Protocol):
    """Where text is shown."""

    def write(self, text: str, /) -> object:
        """Take text."""

    def flush(self) -> object:
        """Show what was written."""

    def isatty(self) -> bool:
        """Whether it is a terminal."""

    def fileno(self) -> int:
        """Its file descriptor; raises OSError where it has none."""


def columns_of(stream: TextStream) -> int:
    """The width of a terminal: COLUMNS, or the terminal's own, or else 80."""
    with suppress(ValueError):
        if (columns := int(os.environ.get("COLUMNS", ""))) > 0:
            return columns
    with suppress(OSError, ValueError):
        return os.get_terminal_size(stream.fileno()).columns or _USUAL
    return _USUAL


class Raw:
    """A stream that never raises: `fault` is why it takes nothing more, None while it works.

    If its reader has ended, as in `| head`, nobody needs a message: the fault is "".
    """

    def __init__(self, stream: TextIO | None, twin: "Raw | None" = None) -> None:
        """`twin` writes to the same stream: if one fails, both have failed."""
        self._stream = stream
        closed = ["it is closed"] if stream is None else []
        self._faults: list[str] = closed if twin is None else twin._faults
        if isinstance(stream, io.TextIOWrapper) and not stream.closed:
            # Its encoding need not have all characters.
            stream.reconfigure(errors="backslashreplace")

    @property
    def fault(self) -> str | None:
        """Why nothing more is taken."""
        return self._faults[0] if self._faults else None

    def write(self, text: str) -> int:
        """Write text, unless the stream has failed before."""
        with self._guarded() as stream:
            stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Let what was written arrive."""
        with self._guarded() as stream:
            stream.flush()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream is not None and not self._stream.closed and self._stream.isatty()

    def fileno(self) -> int:
        """Its file descriptor, which tqdm asks for the width of the terminal; raises OSError."""
        if self._stream is None:
            raise io.UnsupportedOperation
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        """Its encoding, by which tqdm chooses what bars are drawn with."""
        return getattr(self._stream, "encoding", None) or "ascii"

    @property
    def columns(self) -> int:
        """How wide the terminal is; 0 where it is none."""
        return columns_of(self) if self.isatty() else 0

    @contextmanager
    def _guarded(self) -> Iterator[TextIO]:
        if self._stream is None or self.fault is not None:
            yield io.StringIO()
            return
        try:
            yield self._stream
        except BrokenPipeError:
            self._fail("")
        except (OSError, ValueError) as error:  # ValueError: a closed file
            self._fail(reason(error) if isinstance(error, OSError) else str(error))

    def _fail(self, why: str) -> None:
        """Take nothing more, and drop what is buffered, so that it is no error at exit."""
        self._faults.append(why)
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(null, self.fileno())
            os.close(null)


class Printer(Raw):
    """A stream for text: control characters are escaped."""

    def write(self, text: str) -> int:
        """Write text; newlines are its only control characters."""
        return super().write("\n".join(map(printable, text.split("\n"))))

    def lines(self, lines: Iterable[str], *, fold: bool = True) -> None:
        """Write lines; with `fold`, long lines are folded on a terminal."""
        columns = self.columns if fold else 0
        for line in lines:
            for part in folded(printable(line), columns):
                super().write(f"{part}\n")


class Console:
    """The streams of a command, in place of sys.stdout and sys.stderr while it runs.

    `bars` are drawn on `err` without escaping. `is_result`: the command is only for what it prints
    to `out`. `prints_data`: that is for a program, JSON or an image, so that no error goes there.
    """

    def __init__(self) -> None:
        self.out, self.err = Printer(sys.stdout), Printer(sys.stderr)
        self.bars = Raw(sys.stderr, self.err)
        self.is_result, self.prints_data = True, False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Let all output of the process go through these streams."""
        before = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = self.out, self.err
        try:
            yield
        finally:
            self.out.flush()
            self.err.flush()
            sys.stdout, sys.stderr = before

    def complain(self, lines: Iterable[str]) -> None:
        """Print errors to `err`, or to `out` if `err` fails."""
        errors = [*lines]
        self.err.lines(errors, fold=False)
        self.err.flush()
        if self.err.fault and not self.prints_data:
            self.out.lines(errors, fold=False)
