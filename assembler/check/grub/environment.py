"""GRUB's variables, and the commands that change them or test something.

Commands: GRUB manual, "Commands". What a variable holds is known for sure only where nothing but
the configuration sets it: users, the firmware and GRUB's environment block set others.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import dropwhile

from assembler.check.grub.menu import (
    KERNEL_COMMANDS,
    Load,
    Location,
    device_name,
    device_number,
    plain_path,
)
from assembler.check.grub.reader import GrubReader, UnreadableError
from assembler.check.grub.script import (
    Budget,
    Command,
    ScriptError,
    Statement,
    Variable,
    Word,
    commands_in,
    literal,
)
from assembler.check.grub.search import holds, read_search
from assembler.units import format_size

_FAILING = frozenset({"keystatus", "loadfont", "false"})
_SURE = frozenset({"true", "false", "[", "test", "set", "unset", "export", "echo"})
_SEARCHES = ("search", "search.fs_uuid", "search.fs_label", "search.file")
_STOPS = {
    "halt": "turns the machine off",
    "reboot": "starts the machine anew",
    "fwsetup": "starts the machine anew",
    "exit": "leaves GRUB",
    "normal_exit": "leaves GRUB's menus",
    "read": "waits for the user",
}
# What may stand in place of a command; functions of these names are never called.
COMMANDS = _SURE | _FAILING | {*_SEARCHES, *_STOPS}
_ODD_TEST = re.compile(r"-(?![efszn]$)|[<>()]").match  # what we do not understand in `test`
_PATTERN = re.compile(r"[*?\[]").search  # GRUB puts names of files and devices in its place
_EXPORTED = ("root", "prefix", "cmdpath")
_MAX_CONFIG = 4 << 20  # bytes: a menu of a thousand generations has a tenth of it
_MAX_WORD = 64 << 10  # characters, so those of a variable as well
_LOOK_UP = 64 << 10  # what asking for a file costs of the budget: it takes 10 ms


class StopError(ScriptError):
    """A script never gets to its end: which command keeps it from that."""


@dataclass(slots=True)
class Environment:
    """GRUB's variables, and what is known of them."""

    reader: GrubReader
    variables: dict[str, str]
    exported: set[str] = field(default_factory=lambda: set(_EXPORTED))
    lost: dict[str, str] = field(default_factory=dict)  # what a search did not find, by variable
    unsure: set[str] = field(default_factory=set)  # variables that may hold something else
    guarded: bool = False  # whether GRUB may never come here
    started: bool = False  # whether something was started before, so that GRUB never comes here
    budget: Budget = field(default_factory=Budget)

    @property
    def passed(self) -> bool:
        """Whether it is not known that GRUB comes here."""
        return self.guarded or self.started

    def place(self, word: str) -> Location:
        """Where a file name of GRUB's leads."""
        device, path = self.variables.get("root", ""), word
        if word.startswith("("):
            device, _, path = word[1:].partition(")")
        number = device_number(device)
        # What does not begin with a slash is no path: see Location.is_blocks.
        path = plain_path(path) if path[:1] in ("", "/") else path
        if number is not None:
            return Location(number, path)
        fault = f"GRUB has no device for {word!r}"
        # The variable that was to hold the device is empty when its search found nothing.
        if self.lost and not device:
            fault = next(reversed(self.lost.values()))
        elif device:
            fault = f"({device}) is no partition of this disk"
        return Location(None, path, fault)

    def read(self, place: Location) -> str:
        """The text of a configuration. Raises UnreadableError."""
        if place.number is None:
            raise UnreadableError(place.fault)
        data = self.reader.read(place.number, place.path, _MAX_CONFIG + 1)
        if len(data) > _MAX_CONFIG:
            raise ScriptError(f"it is larger than {format_size(_MAX_CONFIG)}")
        return data.decode(errors="replace")

    def loads(self, name: str, arguments: list[str]) -> list[Load]:
        """A kernel with its arguments, or any number of initial RAM disks."""
        files = [word for word in arguments if not word.startswith("-")]
        if name in KERNEL_COMMANDS or name.startswith("module"):
            return [Load(name, self.place(files[0]), tuple(files[1:]))] if files else []
        return [
            Load(name, self.place(word.split(":", 2)[-1] if ":" in word[:8] else word), ())
            for word in files
        ]

    def after_memdisk(self) -> str:
        """What a distribution's own configuration leads to: one in the prefix, or beside GRUB.

        So does Debian's (its grub2, debian/build-efi-images), if no installer's disk is there.
        """
        paths = [f"{self.variables.get(name, '')}/grub.cfg" for name in ("prefix", "cmdpath")]
        for path in paths:
            if self.exists(path):
                return path
        return paths[0]

    def simple(self, name: str, arguments: Sequence[str]) -> bool:
        """Run a command that loads nothing; whether it succeeds. Raises StopError."""
        match name:
            case "set":
                for word in arguments:
                    self._assign(word)
            case "unset":
                for key in arguments:
                    self.variables.pop(key, None)
            case "export":
                self.exported.update(word.partition("=")[0] for word in arguments)
            case "load_env":
                self.unsure.update(arguments or self.variables.keys() - {*_EXPORTED})
            case "[" | "test":
                return holds([word for word in arguments if word != "]"], self.exists)
            case "!":
                rest = [*dropwhile(lambda word: word == "!", arguments)]
                negated = (len(arguments) - len(rest)) % 2 == 0
                return self.simple(rest[0], rest[1:]) != negated if rest else negated
            case _ if name in _SEARCHES:
                return self._search(name, arguments)
            case _ if name in _STOPS and "--is-supported" not in arguments:
                self.stop(f"its command `{name}` {_STOPS[name]} before anything is started")
            case _ if "=" in name:
                self._assign(name)
            case _ if name not in _SURE:  # some set variables that they are given the names of
                self.unsure.update(re.split("[=:]", word)[-1] for word in arguments)
        return name not in _FAILING

    def stop(self, words: str) -> None:
        """Raise StopError, unless it is not known whether GRUB comes here."""
        if not self.passed:
            raise StopError(words)

    def is_sure(self, condition: Iterable[Statement], *, result: bool) -> bool:
        """Whether a condition surely has the result that it seems to have."""
        for statement in condition:
            if not isinstance(statement, Command):
                return False
            words = [*dropwhile(lambda name: name == "!", map(literal, statement.words))]
            name = next(iter(words), None)
            found = name in _SEARCHES and result  # else it may be on another disk
            odd = name in ("[", "test") and any(word and _ODD_TEST(word) for word in words)
            if odd or not (name in _SURE or found) or not self._knows(statement.words):
                return False
        return True

    def loop_words(self, head: Sequence[Statement]) -> list[str]:
        """The words behind `for`, none where it is not known what GRUB makes of them."""
        match head:
            case [Command(words)] if self._knows(words):
                expanded = self.expand(words)
                return expanded if not any(map(_PATTERN, expanded)) else []
        return []

    def doubt(self, statements: Iterable[Statement]) -> None:
        """Take variables for unsure that statements set, which may have been run."""
        for command in commands_in(statements):
            self.budget.spend(16 * (1 + len(command.words)))
            for word in command.words:
                if isinstance(word[0], str):
                    self.unsure.add(word[0].partition("=")[0])

    def exists(self, word: str) -> bool:
        """Whether there is a file."""
        self.budget.spend(_LOOK_UP)
        place = self.place(word)
        return place.number is not None and self.reader.exists(place.number, place.path)

    def expand(self, words: Iterable[Word]) -> list[str]:
        """Words with the values of their variables."""
        expanded = []
        for word in words:
            texts, size = [], 0
            for piece in word:
                value = self.variables.get(piece.name, "") if isinstance(piece, Variable) else piece
                texts.append(value)
                size += len(value)
                if size > _MAX_WORD:
                    raise ScriptError(f"it has a word of more than {_MAX_WORD:,} characters")
            self.budget.spend(size + 1)
            # As in any shell, an empty variable without quotes is no word at all.
            if size or not any(isinstance(piece, Variable) and not piece.quoted for piece in word):
                expanded.append("".join(texts))
        return expanded

    def _knows(self, words: Iterable[Word]) -> bool:
        names = {piece.name for word in words for piece in word if isinstance(piece, Variable)}
        return names <= self.variables.keys() - self.unsure

    def _assign(self, word: str) -> None:
        key, equals, value = word.partition("=")
        if equals:
            self.variables[key] = _device(value) if key == "root" else value
            self.lost.pop(key, None)
            self.unsure.discard(key)

    def _search(self, name: str, arguments: Sequence[str]) -> bool:
        search = read_search(name, arguments)
        if search is None:
            return False
        if search.kind == "--file":
            self.budget.spend(_LOOK_UP * len(self.reader.file_systems))
        number = search.find(self.reader)
        if number is None:
            self.variables.pop(search.variable, None)
            self.lost[search.variable] = search.failure
            return False
        self.variables[search.variable] = device_name(number)
        self.lost.pop(search.variable, None)
        return True


def _device(name: str) -> str:
    """A device without its brackets, as GRUB keeps its root (grub_env_write_root)."""
    return name[1:-1] if name.startswith("(") and name.endswith(")") else name
