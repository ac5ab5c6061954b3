"""Whose fault it is: errors, each of which prints as what the user should read."""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class AssembleError(Exception):
    """Anything that ends the program with a message; `str()` is that message."""

    exit_status = 1

    def __init__(self, *lines: str) -> None:
        """Takes the message, line by line: a line break in one of them is not for show."""
        self.lines = lines
        super().__init__("\n".join(lines))


class RequestError(AssembleError):
    """The caller's fault: the request cannot be met as it stands (exit status 2).

    Takes every problem found, one line each, so that all can be mended at once.
    """

    exit_status = 2

    def __init__(self, problems: Sequence[str] | str) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__(*self.problems)


class HostError(AssembleError):
    """The environment's fault: a tool is missing or failed, a disk is full (exit status 1)."""


class TooSlowError(HostError):
    """A program was stopped at its time limit."""


class InternalError(AssembleError):
    """Our fault: something this program computed turned out wrong (exit status 1)."""

    def __init__(self, message: str) -> None:
        super().__init__(f"bug in assemble, please report it: {message}")


class Findings:
    """Gathers what is wrong with a request, and which tools failed, until all was looked at."""

    def __init__(self, problems: Sequence[str] = ()) -> None:
        self.problems = [*problems]
        self._failures: list[HostError] = []

    @contextmanager
    def gather(self) -> Iterator[None]:
        """Go on after the block, whatever it raised."""
        try:
            yield
        except RequestError as error:
            self.problems += error.problems
        except HostError as error:
            self._failures.append(error)

    def tell(self) -> None:
        """Raise what was found, if anything."""
        if self.problems:
            failures = [line for failure in self._failures for line in failure.lines]
            raise RequestError([*dict.fromkeys(self.problems), *failures])
        if self._failures:
            raise self._failures[0]


def reason(error: OSError) -> str:
    """What the system said, with the file that it said it of where it is known."""
    words = error.strerror or str(error)
    if error.errno == errno.EFBIG:
        words += " for ulimit -f, or for the file system"
    if isinstance(error.filename, str | bytes | os.PathLike):
        return f"{os.fsdecode(error.filename)}: {words}"
    return words
