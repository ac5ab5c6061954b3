"""Errors by whose fault they are, and the messages that they carry.

A message of the library names settings, which are the attributes of `Spec` and `RootSpec`, and no
flags of the command line. To name a setting, make a `Message` of parts:

    grub = Setting("boot_loader", "grub")
    Message(Setting("partition_table", table), " is for BIOS: take ", grub)

A Python user reads "partition_table legacy is for BIOS: take boot_loader grub". The command line
shows "--partition-table legacy is for BIOS: take --boot-loader grub", because `cli/flags.py` gives
each `Setting` the name of its flag. A message that names no setting is a plain `str`.

A `Message` is a `str`: it can go into every list of problems, every error, and as an argument into
a log record. An f-string makes a plain `str` of it, whose settings keep their Python names. So put
text before a message with `Message(f"generation {number}: ", problem)`, not with an f-string.
"""

import errno
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Setting:
    """An attribute of `Spec` or `RootSpec` in a message, with or without a value of it."""

    name: str
    value: object = None

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name} {self.value}"


class Message(str):
    """One line for people, made of text and settings; as a `str` it has their Python names."""

    __slots__ = ("parts",)
    parts: tuple[str | Setting, ...]

    def __new__(cls, *parts: str | Setting) -> "Message":
        """Joins the parts; a part that is a `Message` keeps its settings."""
        flat: list[str | Setting] = []
        for part in parts:
            flat += part.parts if isinstance(part, Message) else [part]
        message = super().__new__(cls, "".join(map(str, flat)))
        message.parts = tuple(flat)
        return message

    def render(self, show: Callable[[Setting], str]) -> str:
        """The line with what `show` makes of each setting."""
        return "".join(show(part) if isinstance(part, Setting) else part for part in self.parts)


def word_problems(field: str, value: object, words: Collection[object]) -> list[str]:
    """One line for a value of `field` that is none of `words`, of which None is not shown."""
    return [] if value in words else [Message(Setting(field, repr(value)), none_of(words))]


def none_of(words: Iterable[object]) -> str:
    """The end of a line that begins with a wrong word, with the right ones but for None."""
    return f" is none of {', '.join(str(word) for word in words if word is not None)}"


def either(words: Collection[str]) -> str:
    """At least one word, as a list in a sentence: "a, b or c"."""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


class AssembleError(Exception):
    """Anything that ends the program with a message; `str()` is that message."""

    exit_status = 1

    def __init__(self, *lines: str) -> None:
        """Takes the lines of the message. A line break inside one is escaped when it is shown."""
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


class ProgramError(HostError):
    """A program failed by itself, not by the host; it printed `complaint` first."""

    def __init__(self, *lines: str, complaint: str) -> None:
        self.complaint = complaint
        super().__init__(*lines)


class TooSlowError(HostError):
    """A program was stopped at its time limit."""


class DamagedError(HostError):
    """A file in an output format is damaged: its one line goes on after the name of the format."""


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
        except (RequestError, HostError) as error:
            self._add(error)

    def with_error(self, error: RequestError | HostError) -> RequestError | HostError:
        """One error for all that was found, `error` among it."""
        self._add(error)
        return self._joined()

    def raise_any(self) -> None:
        """Raise what was found, if anything."""
        if self.problems or self._failures:
            raise self._joined()

    def _add(self, error: RequestError | HostError) -> None:
        if isinstance(error, RequestError):
            self.problems += error.problems
        else:
            self._failures.append(error)

    def _joined(self) -> RequestError | HostError:
        if not self.problems:
            return self._failures[0]
        failures = [line for failure in self._failures for line in failure.lines]
        return RequestError([*dict.fromkeys(self.problems), *failures])


def reason(error: OSError) -> str:
    """The system's message for an error, with the file if it is known."""
    words = error.strerror or str(error)
    if error.errno == errno.EFBIG:
        words += " for ulimit -f, or for the file system"
    if isinstance(error.filename, str | bytes | os.PathLike):
        return f"{os.fsdecode(error.filename)}: {words}"
    return words
