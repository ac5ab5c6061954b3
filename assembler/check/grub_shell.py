"""Run GRUB's configuration as GRUB would, far enough to know what each menu entry loads.

Commands: GRUB manual, "Commands"; what a submenu and `configfile` inherit: grub-core/normal/main.c
and grub-core/normal/context.c. Nothing is loaded here: each file is only named, with its place.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import dropwhile

from assembler.check.grub_menu import (
    INITRD_COMMANDS,
    KERNEL_COMMANDS,
    Counter,
    Entry,
    Load,
    Location,
    device_name,
    device_number,
    location_words,
    plain_path,
    title_of,
)
from assembler.check.grub_reader import GrubReader, UnreadableError
from assembler.check.grub_script import (
    Branches,
    Budget,
    Command,
    ScriptError,
    Statement,
    Variable,
    Word,
    parse,
)
from assembler.check.grub_search import holds, read_search
from assembler.units import format_size

_FAILING = frozenset({"keystatus", "loadfont", "false"})
_MAX_CONFIG = 4 << 20  # bytes: a menu of a thousand generations has a tenth of it
_MAX_FILES = 40  # configurations that read one another, and submenus in one another
_EXPORTED = ("root", "prefix", "cmdpath")
_MAX_WORD = 64 << 10  # characters, so those of a variable as well
_LOOK_UP = 64 << 10  # what asking for a file costs of the budget: it takes 10 ms
_PARSE = 4  # what a character of a configuration costs


@dataclass(slots=True)
class Shell:
    """GRUB's state while it reads its configuration."""

    reader: GrubReader
    variables: dict[str, str]
    exported: set[str] = field(default_factory=lambda: set(_EXPORTED))
    lost: dict[str, str] = field(default_factory=dict)  # what a search did not find, by variable
    entries: list[Entry] = field(default_factory=list)
    files: list[Location] = field(default_factory=list)  # the configurations read, in order
    faults: list[str] = field(default_factory=list)  # of those that could not be read
    empty: list[str] = field(default_factory=list)  # submenus without an entry, by their titles
    parsed: dict[Location, tuple[Statement, ...]] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)

    def run(self, text: str) -> None:
        """Run a configuration. Raises ScriptError for one that no menu can be."""
        self._run_menu(parse(text), (), ())

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

    def _run_menu(
        self, statements: Iterable[Statement], titles: tuple[str, ...], numbers: tuple[int, ...]
    ) -> None:
        """Run what may make a menu; what loads a kernel outside any entry counts as one."""
        counter = Counter(titles, numbers)
        loads = self._run(statements, counter)
        if any(load.is_kernel for load in loads):
            at = (*numbers, counter.next())
            self.entries.append(Entry((*titles, "without a menu"), at, "", tuple(loads)))

    def _run(self, statements: Iterable[Statement], menu: "Counter | None") -> list[Load]:
        loads: list[Load] = []
        with self.budget.deeper():
            for statement in statements:
                match statement:
                    case Branches(branches):
                        for condition, body in branches:
                            if not condition or self._holds(condition):
                                loads += self._run(body, menu)
                                break
                    case Command():
                        loads += self._command(statement, menu)
        return loads

    def _command(self, command: Command, menu: "Counter | None") -> list[Load]:
        words = self._expand(command.words)
        if not words:
            return []
        name, arguments = words[0], words[1:]
        if name in ("menuentry", "submenu"):
            if menu is not None:
                self._entry(name, arguments, command.block or (), menu)
        elif name in KERNEL_COMMANDS or name in INITRD_COMMANDS:
            return self._load(name, arguments)
        elif name in ("configfile", "normal", "source", "."):
            self._read_another(name, arguments, menu)
        else:
            self._simple(name, arguments)
        return []

    def _simple(self, name: str, arguments: Sequence[str]) -> bool:
        """Run a command that loads nothing; whether it succeeds."""
        match name:
            case "set":
                for word in arguments:
                    key, equals, value = word.partition("=")
                    if equals:
                        self.variables[key] = _device(value) if key == "root" else value
                        self.lost.pop(key, None)
            case "unset":
                for key in arguments:
                    self.variables.pop(key, None)
            case "export":
                self.exported.update(word.partition("=")[0] for word in arguments)
            case "search" | "search.fs_uuid" | "search.fs_label" | "search.file":
                return self._search(name, arguments)
            case "[" | "test":
                return holds([word for word in arguments if word != "]"], self._exists)
            case "!":
                rest = [*dropwhile(lambda word: word == "!", arguments)]
                negated = (len(arguments) - len(rest)) % 2 == 0
                return self._simple(rest[0], rest[1:]) != negated if rest else negated
        return name not in _FAILING

    def _holds(self, condition: Iterable[Statement]) -> bool:
        result = False
        for statement in condition:
            if isinstance(statement, Command) and (words := self._expand(statement.words)):
                result = self._simple(words[0], words[1:])
        return result

    def _exists(self, word: str) -> bool:
        self.budget.spend(_LOOK_UP)
        place = self.place(word)
        return place.number is not None and self.reader.exists(place.number, place.path)

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

    def _entry(
        self, name: str, arguments: list[str], block: tuple[Statement, ...], menu: "Counter"
    ) -> None:
        title, identity = title_of(arguments)
        titles, numbers = (*menu.titles, title), (*menu.numbers, menu.next())
        if len(titles) > _MAX_FILES:
            return
        self.budget.spend(len(self.variables) + len(self.lost))
        inner = self._child()
        if name == "submenu":
            before = len(self.entries)
            inner._run_menu(block, titles, numbers)
            if len(self.entries) == before:
                self.empty.append(title)
            return
        inner.variables, inner.lost = dict(self.variables), dict(self.lost)
        loads = inner._run(block, None)
        self.entries.append(Entry(titles, numbers, identity, tuple(loads)))

    def _child(self) -> "Shell":
        """A shell that inherits what is exported, and adds to the same menu."""
        kept = {key: self.variables[key] for key in self.exported & self.variables.keys()}
        lost = {key: self.lost[key] for key in self.exported & self.lost.keys()}
        return replace(self, variables=kept, exported=set(self.exported), lost=lost)

    def _load(self, name: str, arguments: list[str]) -> list[Load]:
        """A kernel with its arguments, or any number of initial RAM disks."""
        files = [word for word in arguments if not word.startswith("-")]
        if name in KERNEL_COMMANDS or name.startswith("module"):
            return [Load(name, self.place(files[0]), tuple(files[1:]))] if files else []
        return [
            Load(name, self.place(word.split(":", 2)[-1] if ":" in word[:8] else word), ())
            for word in files
        ]

    def _read_another(self, name: str, arguments: list[str], menu: "Counter | None") -> None:
        path = arguments[0] if arguments else f"{self.variables.get('prefix', '')}/grub.cfg"
        if path.startswith("(memdisk)"):
            path = self._after_memdisk()
        place = self.place(path)
        if len(self.files) >= _MAX_FILES:
            raise ScriptError("configurations read one another without end")
        try:
            statements = self._parse(place)
        except UnreadableError as error:
            self.faults.append(f"{location_words(self.reader.file_systems, place)}: {error}")
            return
        if name in ("source", "."):
            self._run(statements, menu)
        elif menu is not None:
            child = self._child()
            child._run_menu(statements, menu.titles, menu.numbers)
            self.variables = child.variables

    def _parse(self, place: Location) -> tuple[Statement, ...]:
        """The statements of a configuration; raises UnreadableError and ScriptError."""
        known = self.parsed.get(place)
        text = "" if known is not None else self.read(place)
        self.files.append(place)
        if known is None:
            self.budget.spend(_PARSE * len(text))
            known = self.parsed[place] = parse(text)
        return known

    def _after_memdisk(self) -> str:
        """What a distribution's own configuration leads to: one in the prefix, or beside GRUB.

        So does Debian's (its grub2, debian/build-efi-images), if no installer's disk is there.
        """
        paths = [f"{self.variables.get(name, '')}/grub.cfg" for name in ("prefix", "cmdpath")]
        for path in paths:
            if self._exists(path):
                return path
        return paths[0]

    def _expand(self, words: Iterable[Word]) -> list[str]:
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


def _device(name: str) -> str:
    """A device without its brackets, as GRUB keeps its root (grub_env_write_root)."""
    return name[1:-1] if name.startswith("(") and name.endswith(")") else name
