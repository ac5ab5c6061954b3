"""Run GRUB's configuration, far enough to know what each menu entry loads.

The commands are those of the menus that NixOS and grub-mkconfig write (nixpkgs, install-grub.pl;
GRUB, util/grub.d). A part that may do more, such as a loop, is not run but kept in `unfollowed`.
What a submenu and `configfile` inherit: grub-core/normal/main.c and context.c. Nothing is loaded
here: each file is only named, with its place.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from assembler.check import menu
from assembler.check.grub.environment import Environment, evaluate
from assembler.check.grub.script import Branches, Command, ScriptError, Statement, parse
from assembler.check.grub_reader import UnreadableError

_LOADS = menu.KERNEL_COMMANDS | menu.INITRD_COMMANDS
_READS = frozenset({"configfile", "normal", "source", "."})
_SEARCHES = frozenset({"search", "search.fs_uuid"})
_WITH_FILES = _LOADS | _READS | _SEARCHES
_FAILING = frozenset({"keystatus", "loadfont", "false"})  # a font changes nothing that we look at
# These end or leave the menu, wait, add entries, or start something that is not checked.
_UNFOLLOWED = re.compile(
    "for|while|until|halt|reboot|fwsetup|exit|normal_exit|read|return|break|continue|boot|eval|!"
    "|setparams|shift|search.*|blscfg|legacy_.*|.*configfile|extract_.*|ntldr|freedos|plan9|xnu.*"
).fullmatch
_MAX_FILES = 40  # configurations that read one another, and submenus in one another
_MAX_CONFIG, _PARSE = 8 << 20, 4  # bytes, and the cost of each: so many take the whole budget


@dataclass(slots=True)
class Shell(Environment):
    """GRUB's state while it reads its configuration."""

    exported: frozenset[str] = frozenset({"root", "prefix", "cmdpath"})
    entries: list[menu.Entry] = field(default_factory=list)
    files: list[menu.Location] = field(default_factory=list)  # the configurations read, in order
    faults: list[str] = field(default_factory=list)  # of those that could not be read
    empty: list[str] = field(default_factory=list)  # submenus without an entry, by their titles
    functions: dict[str, tuple[Statement, ...] | None] = field(default_factory=dict)  # None: runs
    titles: tuple[str, ...] = ()  # of the menu that entries are added to
    numbers: tuple[int, ...] = ()
    count: int = 0  # entries in it
    loads: list[menu.Load] | None = None  # of the entry that is run, None in a menu

    def run(self, text: str) -> None:
        """Run a configuration. Raises ScriptError for one that no menu can be."""
        self.budget.spend(_PARSE * len(text))
        self._run(parse(text))

    def _run(self, statements: Iterable[Statement]) -> None:
        self.budget.depth -= 1
        if self.budget.depth < 0:
            raise ScriptError("it is nested too deep")
        for statement in statements:
            match statement:
                case Branches(branches):
                    self._run(next((body for on, body in branches if self._holds(on)), ()))
                case Command():
                    self._command(statement)
        self.budget.depth += 1

    def _holds(self, condition: Sequence[Statement]) -> bool:
        """The result of a condition, which is that of its last command; `else` has none."""
        results = [isinstance(one, Command) and self._command(one) for one in condition]
        return all(results[-1:])

    def _command(self, command: Command) -> bool:
        """Run a command; whether it succeeds."""
        name, *arguments = self.expand(command.words) or ["true"]
        if name in _WITH_FILES and (unknown := self.unknown_in(command.words)):
            self.unfollowed.append(f"the variable {unknown[0]} in its command `{name}`")
        if name in _SEARCHES:
            return self.search(name, arguments)
        if name in ("[", "test"):
            result = evaluate([word for word in arguments if word != "]"], self.exists)
            self.unfollowed += [f"its command `{name}`"] if result is None else []
            return bool(result)
        if name in ("menuentry", "submenu") and self.loads is None:
            self._entry(name, arguments, command.block or ())
        elif name in _LOADS:
            self._load(name, arguments)
        elif name in _READS:
            self._read_another(name, arguments)
        elif name == "function" and arguments:
            self.functions[arguments[0]] = command.block or ()
        elif name in self.functions:
            body, self.functions[name] = self.functions[name], None
            if body is None:
                self.unfollowed.append(f"its function `{name}`, which calls itself")
            self._run(body or ())
            self.functions[name] = body
        else:
            self._simple(name, arguments, command)
        return name not in _FAILING

    def _simple(self, name: str, arguments: list[str], command: Command) -> None:
        """Run a command that changes variables only, if it does anything here."""
        if name == "set" or "=" in name:
            unknown = any(self.unknown_in(command.words))
            for key, equals, value in (word.partition("=") for word in arguments or [name]):
                if equals:
                    self.assign(key, value)
                    self.unknown |= {key} if unknown else set()
        elif name == "export":
            self.exported |= {*arguments}
        elif name == "load_env":
            self.loaded = True
        else:
            if _UNFOLLOWED(name) and "--is-supported" not in arguments:
                self.unfollowed.append(f"its command `{name}`")
            # Some commands set variables that they are given the names of.
            self.unknown.update(part for word in arguments for part in re.split("[=:]", word))

    def _load(self, name: str, arguments: Sequence[str]) -> None:
        """A kernel with its arguments, or any number of initial RAM disks."""
        files = [word for word in arguments if not word.startswith("-")]
        single = name in menu.KERNEL_COMMANDS or name.startswith("module")
        paths, more = (files[:1], files[1:]) if single else (files, [])
        # A pattern may stand for names of files; newc:name:path gives a file another name.
        if self.loads is None or any(re.search(r"[*?\[:]", path) for path in paths):
            self.unfollowed.append(f"its command `{name}`")
        else:
            self.loads += [menu.Load(name, self.place(path), tuple(more)) for path in paths]

    def _entry(self, name: str, arguments: list[str], block: tuple[Statement, ...]) -> None:
        title, identity = menu.title_and_id(arguments)
        child = self._child((*self.titles, title), (*self.numbers, self.count))
        self.count += 1
        if name == "submenu":
            before = len(self.entries)
            child._run(block)
            self.empty += [title] if len(self.entries) == before else []
            return
        child.variables, child.lost = dict(self.variables), dict(self.lost)
        child.loads, child.unfollowed = [], []
        child._run(block)
        loads, unfollowed = tuple(child.loads), ", ".join(child.unfollowed)
        self.entries.append(menu.Entry(child.titles, child.numbers, identity, loads, unfollowed))

    def _child(self, titles: tuple[str, ...], numbers: tuple[int, ...]) -> "Shell":
        """A shell that inherits what is exported, and adds to the same lists."""
        self.budget.spend(len(self.variables) + len(self.lost) + len(self.unknown))
        kept = {key: self.variables[key] for key in self.exported & self.variables.keys()}
        lost = {key: self.lost[key] for key in self.exported & self.lost.keys()}
        child = replace(self, variables=kept, lost=lost, unknown=set(self.unknown))
        child.titles, child.numbers, child.count = titles, numbers, 0
        return child

    def _read_another(self, name: str, arguments: Sequence[str]) -> None:
        prefix, beside = (
            f"{self.variables.get(one, '')}/grub.cfg" for one in ("prefix", "cmdpath")
        )
        path = arguments[0] if arguments else prefix
        if path.startswith("(memdisk)"):  # which leads to one of these (Debian, build-efi-images)
            path = beside if not self.exists(prefix) and self.exists(beside) else prefix
        place = self.place(path)
        if len(self.files) >= _MAX_FILES:
            raise ScriptError("configurations read one another without end")
        try:
            data = self.reader.read(place.number, place.path, _MAX_CONFIG)
        except UnreadableError as error:
            why = place.fault or error
            self.faults.append(f"{menu.location_words(self.reader.file_systems, place)}: {why}")
            return
        self.files.append(place)
        text = data.decode(errors="replace")
        if name in ("source", "."):
            self.run(text)
        elif self.loads is None:
            child = self._child(self.titles, self.numbers)
            child.run(text)
            self.variables = child.variables
