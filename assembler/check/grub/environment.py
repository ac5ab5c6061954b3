"""GRUB's variables, and the commands `search` and `test`: GRUB manual, "Commands"."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from assembler.check.grub.script import ScriptError, Variable, pieces
from assembler.check.grub_reader import GrubReader
from assembler.check.menu import Location, locate

_WORDS = {"--fs-uuid": "the UUID", "--label": "the label"}
_MAX_WORD = 64 << 10  # characters, so those of a variable as well
_LOOK_UP, _WORD = 64 << 10, 96  # what a look for a file, of 10 ms, and a word cost of the budget


@dataclass(slots=True)
class Budget:
    """Limits for one configuration: about the characters to read or write, and the nesting."""

    work: int = 32 << 20
    depth: int = 100

    def spend(self, work: int) -> None:
        """Take work from the rest. Raises ScriptError when there is none."""
        self.work -= work
        if self.work < 0:
            raise ScriptError("it asks for more work than any menu needs")


@dataclass(slots=True)
class Environment:
    """GRUB's variables, and the parts of the configuration that are not followed."""

    reader: GrubReader
    variables: dict[str, str]
    lost: dict[str, str] = field(default_factory=dict)  # what a search did not find, by variable
    unknown: set[str] = field(default_factory=set)  # variables that a part not followed may set
    loaded: bool = False  # whether GRUB's environment block may have set variables
    unfollowed: list[str] = field(default_factory=list)
    budget: Budget = field(default_factory=Budget)

    def place(self, word: str) -> Location:
        """The file that a file name means; a variable for a device may be empty after a search."""
        place = locate(word, self.variables.get("root", ""))
        if self.lost and place.fault.startswith("GRUB has no device"):
            return replace(place, fault=next(reversed(self.lost.values())))
        return place

    def exists(self, word: str) -> bool:
        """Whether there is a file."""
        self.budget.spend(_LOOK_UP)
        place = self.place(word)
        return place.number is not None and self.reader.exists(place.number, place.path)

    def expand(self, words: Iterable[str]) -> list[str]:
        """Words with the values of their variables."""
        expanded = []
        for word in words:
            found = [*pieces(word)]
            values = [
                self.variables.get(one.name, "") if isinstance(one, Variable) else one
                for one in found
            ]
            size = sum(map(len, values))
            if max(size, len(values)) > _MAX_WORD:
                raise ScriptError(f"it has a word of more than {_MAX_WORD:,} characters")
            self.budget.spend(size + len(word) + _WORD)
            # As in any shell, an empty variable without quotes is no word.
            if size or not any(isinstance(one, Variable) and not one.quoted for one in found):
                expanded.append("".join(values))
        return expanded

    def unknown_in(self, words: Iterable[str]) -> list[str]:
        """The variables in words whose values we do not know, such as a function's arguments."""
        names = [one.name for word in words for one in pieces(word) if isinstance(one, Variable)]
        unset = [one for one in names if one not in self.variables and one not in self.lost]
        doubtful = {one for one in unset if self.loaded or not one[:1].isalpha()}
        return [one for one in names if one in self.unknown or one in doubtful]

    def assign(self, key: str, value: str) -> None:
        """Set a variable; GRUB keeps its root without brackets (grub_env_write_root)."""
        bare = key == "root" and value.startswith("(") and value.endswith(")")
        self.variables[key] = value[1:-1] if bare else value
        self.lost.pop(key, None)
        self.unknown.discard(key)

    def search(self, name: str, arguments: Sequence[str]) -> bool:
        """Run `search` or `search.fs_uuid`; whether it finds a partition."""
        variable, kind, values, odd = "root", "", list[str](), False
        for word in arguments:
            if word.startswith("--set="):
                variable = word.partition("=")[2]
            elif word in _WORDS:
                kind = word
            elif word.startswith("-"):
                odd = odd or not word.startswith(("--no-floppy", "--hint"))
            else:
                values.append(word)
        if name == "search.fs_uuid" and values:  # the UUID, the variable, hints
            kind, variable, values = "--fs-uuid", [*values[1:], "root"][0], values[:1]
        if odd or not kind or len(values) != 1:
            self.unfollowed.append(f"its command `{name}`")
            self.unknown |= {variable}
            return False
        for one in self.reader.file_systems:
            if one.has(kind, values[0]):
                self.assign(variable, f"hd0,{one.number}" if one.number else "hd0")
                return True
        self.variables.pop(variable, None)
        self.unknown.discard(variable)
        self.lost[variable] = f"no file system has {_WORDS[kind]} {values[0]}"
        return False


def evaluate(words: Sequence[str], exists: Callable[[str], bool]) -> bool | None:
    """The result of `test`, or of `[` without its `]`; None where we do not know it."""
    match words:
        case [*first, "-a", one, two] if "-a" not in first:
            results = [evaluate(part, exists) for part in (first, [one, two])]
            return None if None in results else all(results)
        case ["-e" | "-f" | "-s", path]:
            return exists(path)
        case ["-z", text]:
            return not text
        case ["-n", text] | [text]:
            return bool(text)
        case [left, "=" | "==" | "!=" as operator, right]:
            return (left == right) == (operator != "!=")
    return None if words else False
