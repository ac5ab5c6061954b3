"""Run GRUB's configuration as GRUB would, far enough to know what each menu entry loads.

Control flow: GRUB manual, "Shell-like scripting"; what a submenu and `configfile` inherit:
grub-core/normal/main.c and grub-core/normal/context.c. Nothing is loaded here: each file is only
named, with its place.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from assembler.check.grub.environment import COMMANDS, Environment, StopError
from assembler.check.grub.menu import (
    INITRD_COMMANDS,
    KERNEL_COMMANDS,
    Counter,
    Entry,
    Load,
    Location,
    location_words,
    title_of,
)
from assembler.check.grub.reader import UnreadableError
from assembler.check.grub.script import (
    Branches,
    Command,
    Loop,
    ScriptError,
    Statement,
    commands_in,
    literal,
    parse,
)

_MAX_FILES = 40  # configurations that read one another, and submenus in one another
_MAX_ROUNDS = 1000  # of a loop: GRUB cannot count, so that those that end are short
_MAX_CALLS = 20  # of a function by itself
_PARSE = 4  # what a character of a configuration costs
_STATEMENT = 64  # what running a statement costs
_LEAVING = frozenset({"break", "continue", "return"})


class _LeaveError(Exception):
    """A script leaves a loop or a function, by one of `_LEAVING`."""


@dataclass(slots=True)
class Shell(Environment):
    """GRUB's state while it reads its configuration."""

    entries: list[Entry] = field(default_factory=list)
    files: list[Location] = field(default_factory=list)  # the configurations read, in order
    faults: list[str] = field(default_factory=list)  # of those that could not be read
    empty: list[str] = field(default_factory=list)  # submenus without an entry, by their titles
    parsed: dict[Location, tuple[Statement, ...]] = field(default_factory=dict)
    functions: dict[str, tuple[Statement, ...]] = field(default_factory=dict)
    calls: tuple[str, ...] = ()  # the functions that are being run
    loops: int = 0  # how many are being run
    has_kernel: bool = False

    def run(self, text: str) -> None:
        """Run a configuration. Raises ScriptError for one that no menu can be."""
        self._run_menu(parse(text), (), ())

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
                self.budget.spend(_STATEMENT)
                match statement:
                    case Branches():
                        loads += self._branch(statement, menu)
                    case Loop():
                        loads += self._loop(statement, menu)
                    case Command():
                        loads += self._command(statement, menu)
        return loads

    def _branch(self, statement: Branches, menu: "Counter | None") -> list[Load]:
        """Run the branch that seems right; it is guarded where another one may be."""
        guarded, loads = self.guarded, list[Load]()
        left = False
        try:
            for condition, body in statement.branches:
                result = not condition or self._holds(condition)
                self.guarded = self.guarded or not self.is_sure(condition, result=result)
                if result:
                    loads = self._run(body, menu)
                    break
        except _LeaveError:
            if self.guarded == guarded:
                raise
        finally:
            unsure = self.guarded and not guarded
            self.guarded = guarded
        if unsure:
            self.doubt([statement])
            names = {literal(command.words[0]) for command in commands_in([statement])}
            left = not names.isdisjoint(_LEAVING)
        # Until the loop or the function ends, GRUB may have left it.
        self.guarded = guarded or left
        return loads

    def _loop(self, loop: Loop, menu: "Counter | None") -> list[Load]:
        guarded, loads = self.guarded, list[Load]()
        self.loops += 1
        try:
            for _ in self._rounds(loop):
                try:
                    loads += self._run(loop.body, menu)
                except _LeaveError as error:
                    if str(error) == "return":
                        raise
                    if str(error) == "break":
                        break
        finally:
            self.loops -= 1
            self.guarded = guarded
        return loads

    def _rounds(self, loop: Loop) -> Iterator[None]:
        """The rounds of a loop, before each of which its variable or condition is seen to.

        A loop is passed over where it is not known how often it is run.
        """
        if loop.kind == "for":
            words = self.loop_words(loop.head)
            for word in words[2:]:
                self.simple("set", [f"{words[0]}={word}"])
                yield
            if not words:
                self.doubt(loop.body)
            return
        for _ in range(_MAX_ROUNDS):
            result = self._holds(loop.head)
            if self.passed or not self.is_sure(loop.head, result=result):
                self.doubt(loop.body)
                return
            if result == (loop.kind == "until"):
                return
            yield
        self.stop(f"its loop `{loop.kind}` never ends")

    def _call(self, name: str, menu: "Counter | None") -> list[Load]:
        """Run a function. One that may call itself is run once."""
        if self.passed and name in self.calls:
            return []
        if self.calls.count(name) > _MAX_CALLS:
            self.stop(f"its function `{name}` calls itself without end")
        guarded, calls = self.guarded, self.calls
        self.calls = (*calls, name)
        try:
            return self._run(self.functions[name], menu)
        except _LeaveError:
            return []
        finally:
            self.guarded, self.calls = guarded, calls

    def _command(self, command: Command, menu: "Counter | None") -> list[Load]:
        words = self.expand(command.words)
        if not words:
            return []
        name, arguments = words[0], words[1:]
        if name in ("menuentry", "submenu"):
            if menu is not None:
                self._entry(name, arguments, command.block or (), menu)
        elif name in KERNEL_COMMANDS or name in INITRD_COMMANDS:
            self.has_kernel = self.has_kernel or name in KERNEL_COMMANDS
            return self.loads(name, arguments)
        elif name in ("configfile", "normal", "source", "."):
            self._read_another(name, arguments, menu)
        elif name == "function":
            self.functions.update({arguments[0]: command.block or ()} if arguments else {})
        elif name == "boot":
            self.started = self.started or self.has_kernel
        elif name in _LEAVING and (self.calls if name == "return" else self.loops):
            raise _LeaveError(name)
        elif name in self.functions and name not in COMMANDS:
            return self._call(name, menu)
        else:
            self.simple(name, arguments)
        return []

    def _holds(self, condition: Iterable[Statement]) -> bool:
        result = False
        for statement in condition:
            if isinstance(statement, Command) and (words := self.expand(statement.words)):
                if words[0] in self.functions and words[0] not in COMMANDS:
                    self._call(words[0], None)
                result = self.simple(words[0], words[1:])
        return result

    def _entry(
        self, name: str, arguments: list[str], block: tuple[Statement, ...], menu: "Counter"
    ) -> None:
        title, identity = title_of(arguments)
        titles, numbers = (*menu.titles, title), (*menu.numbers, menu.next())
        if len(titles) > _MAX_FILES:
            return
        self.budget.spend(len(self.variables) + len(self.lost) + len(self.unsure))
        inner = self._child()
        if name == "submenu":
            self._submenu(inner, block, titles, numbers)
            return
        inner.variables, inner.lost = dict(self.variables), dict(self.lost)
        loads, fault = list[Load](), ""
        try:
            loads = inner._run(block, None)
        except StopError as error:
            fault = str(error)
        self.entries.append(Entry(titles, numbers, identity, tuple(loads), fault))

    def _submenu(
        self,
        inner: "Shell",
        block: tuple[Statement, ...],
        titles: tuple[str, ...],
        numbers: tuple[int, ...],
    ) -> None:
        """Add the entries of a submenu; where it never shows, none of them is ever started."""
        before = len(self.entries)
        try:
            inner._run_menu(block, titles, numbers)
        except StopError as error:
            fault = str(error)
            self.entries[before:] = [replace(one, fault=fault) for one in self.entries[before:]]
        else:
            if len(self.entries) == before:
                self.empty.append(titles[-1])

    def _child(self) -> "Shell":
        """A shell that inherits what is exported, and adds to the same menu."""
        kept = {key: self.variables[key] for key in self.exported & self.variables.keys()}
        lost = {key: self.lost[key] for key in self.exported & self.lost.keys()}
        return replace(
            self,
            variables=kept,
            exported=set(self.exported),
            lost=lost,
            unsure=set(self.unsure),
            loops=0,
            calls=(),
            has_kernel=False,
        )

    def _read_another(self, name: str, arguments: list[str], menu: "Counter | None") -> None:
        path = arguments[0] if arguments else f"{self.variables.get('prefix', '')}/grub.cfg"
        if path.startswith("(memdisk)"):
            path = self.after_memdisk()
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
            child, before = self._child(), len(self.entries)
            child._run_menu(statements, menu.titles, menu.numbers)
            self.variables = child.variables
            # What has a menu does not return from it.
            self.started = self.started or len(self.entries) > before

    def _parse(self, place: Location) -> tuple[Statement, ...]:
        """The statements of a configuration; raises UnreadableError and ScriptError."""
        known = self.parsed.get(place)
        text = "" if known is not None else self.read(place)
        self.files.append(place)
        if known is None:
            self.budget.spend(_PARSE * len(text))
            known = self.parsed[place] = parse(text)
        return known
