"""Show the progress of a run: bars on a terminal, plain lines elsewhere."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Never

from assembler.host.console import Raw, TextStream, columns_of
from assembler.host.words import printable
from assembler.units import format_size

if TYPE_CHECKING:
    from tqdm import tqdm

_CLEAR = "\r\033[K"  # the terminal's line (ECMA-48, EL)
_BAR, _NO_BAR = "{desc} {percentage:3.0f}% |{bar}| {amounts}", "{desc} {percentage:3.0f}% {amounts}"
_NARROW = 60  # columns, below which a bar has no room beside the name and the amounts


class Step:
    """A running step; `advance` moves its bar."""

    def __init__(self, bar: "tqdm[Never] | None") -> None:
        self._bar = bar
        self._place = 0

    def advance(self, amount: int) -> None:
        """Count `amount` more bytes as done."""
        if self._bar is not None:
            self._bar.update(amount)

    def reach(self, place: int) -> None:
        """Count all up to byte `place` as done; one that was reached before changes nothing."""
        if place > self._place:
            self.advance(place - self._place)
            self._place = place


class Progress:
    """Names and times the steps of a run: bars on a terminal, a line for each step elsewhere.

    `bars` is None for what suits the stream; `quiet` shows neither bars nor lines.
    """

    def __init__(
        self, *, bars: bool | None = None, quiet: bool = False, stream: TextStream | None = None
    ) -> None:
        self._stream = Raw(sys.stderr) if stream is None else stream
        self._bars = not quiet and (draws_bars(self._stream) if bars is None else bars)
        self._lines = not quiet and not self._bars
        self.seconds: dict[str, float] = {}
        self.started = time.monotonic()

    @contextmanager
    def step(self, name: str, total: int | None = None, unit: str = "B") -> Iterator[Step]:
        """Do one step. `total` counts `unit`, bytes by default; without it there is no bar."""
        start = time.monotonic()
        bar = _make_bar(self._stream, name, total, unit) if self._bars and total else None
        if self._bars and bar is None:
            self._show(f"{_CLEAR}{printable(name)[: columns_of(self._stream) - 5]} ...")
        elif self._lines:
            size = f" ({format_size(total)})" if total and unit == "B" else ""
            self._show(f"{printable(name)}{size} ...\n")
        try:
            yield Step(bar)
        finally:
            if bar is not None:
                bar.close()
            elif self._bars:
                self._show(_CLEAR)
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - start

    def _show(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def draws_bars(stream: TextStream) -> bool:
    """Whether bars suit a stream: a terminal that can go back to the start of a line."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _make_bar(stream: TextStream, name: str, total: int, unit: str) -> "tqdm[Never]":
    # Imported only here: it takes 40 ms, which a run without bars saves.
    from tqdm import tqdm  # noqa: PLC0415

    class Bar(tqdm):  # type: ignore[type-arg]
        """A bar that counts in the units of the rest."""

        monitor_interval = 0  # no other thread, because some hosts allow none

        @property
        def format_dict(self) -> dict[str, Any]:
            facts = super().format_dict
            columns = columns_of(stream)
            form = _BAR if columns >= _NARROW else _NO_BAR
            return {
                **facts,
                "ncols": columns,
                "bar_format": form,
                "amounts": _amounts(facts["n"], total, facts["elapsed"]) if unit == "B" else "",
            }

    return Bar(
        total=total,
        desc=printable(name),
        file=stream,
        leave=False,
    )


def _amounts(done: float, total: int, seconds: float) -> str:
    """How many bytes are done, how many a second, and how long the rest takes."""
    words = f"{format_size(int(done))} of {format_size(total)}"
    if done < 1 or seconds < 1:  # too early to tell
        return words
    left = int((total - done) * seconds / done)
    return f"{words}, {format_size(int(done / seconds))}/s, {left // 60}:{left % 60:02} left"
