"""Tell the user what is happening: bars on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, Never, TextIO

if TYPE_CHECKING:
    from tqdm import tqdm


class Step:
    """A running step; `advance` moves its bar."""

    def __init__(self, bar: "tqdm[Never] | None") -> None:
        self._bar = bar

    def advance(self, amount: int) -> None:
        """Count `amount` more bytes as done."""
        if self._bar is not None:
            self._bar.update(amount)


class Progress:
    """Names and times the steps of a run: bars on a terminal, a line for each step elsewhere.

    `bars` is None for what suits the stream; `quiet` shows neither bars nor lines.
    """

    def __init__(
        self, *, bars: bool | None = None, quiet: bool = False, stream: TextIO | None = None
    ) -> None:
        if stream is None and sys.stderr is None:  # closed by who started us
            stream, quiet = StringIO(), True
        self._stream = sys.stderr if stream is None else stream
        self._bars = not quiet and (self._stream.isatty() if bars is None else bars)
        self._lines = not quiet and not self._bars
        self.seconds: dict[str, float] = {}
        self.started = time.monotonic()

    @contextmanager
    def step(self, name: str, total: int | None = None, unit: str = "B") -> Iterator[Step]:
        """Do one step. `total` is in bytes, or what `unit` says; without it there is no bar."""
        start = time.monotonic()
        bar = self._bar(name, total, unit) if self._bars and total else None
        if self._bars and bar is None:
            self._stream.write(f"\r\033[K{name} …")
            self._stream.flush()
        try:
            yield Step(bar)
        finally:
            if bar is not None:
                bar.close()
            elif self._bars:
                self._stream.write("\r\033[K")
                self._stream.flush()
        seconds = time.monotonic() - start
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        if self._lines:
            self._stream.write(f"{name}: {seconds:.2f} s\n")
            self._stream.flush()

    def _bar(self, name: str, total: int, unit: str) -> "tqdm[Never]":
        # Imported only now: it takes 40 ms, which a run without bars can spare.
        from tqdm import tqdm  # noqa: PLC0415

        return tqdm(
            total=total,
            desc=name,
            unit=unit,
            unit_scale=unit == "B",
            unit_divisor=1024,
            file=self._stream,
            leave=False,
        )
