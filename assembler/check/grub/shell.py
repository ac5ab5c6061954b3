"""Run GRUB's configuration, far enough to find what each menu entry loads.

The commands are those of the menus that NixOS and grub-mkconfig write (nixpkgs, install-grub.pl;
GRUB, util/grub.d). Any other one is not run but noted in `unfollowed`. What a submenu and
`configfile` inherit: grub-core/normal/main.c and context.c. Files are named, not loaded.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from assembler.check.grub.environment import UNKNOWN, Environment
from assembler.check.grub.script import Block, Command, ScriptError, parse
from assembler.check.grub_reader import UnreadableError
from assembler.check.menu import KERNEL_COMMANDS, Entry, Load, Location, location_words

_LOADS = KERNEL_COMMANDS | {"initrd", "initrd16", "initrdefi", "module", "module2"}
_READS = ("configfile", "normal", "source", ".")
# They change nothing that we look at; whether they succeed is not known here.
_INERT = re.compile(
    "insmod|rmmod|echo|sleep|clear|save_env|password|password_pbkdf2|terminal_(in|out)put|serial"
    "|play|loadfont|background_(image|color)|cryptomount|drivemap|cpuid|cmostest|cmosclean"
    "|keystatus|hwmatch"
).fullmatch
_VALUED = ("--class", "--users", "--hotkey", "--source", "--id")  # grub_cmd_menuentry
# A pattern may stand for names of files; newc:name:path gives a file another name.
_ODD = re.compile(rf"[*?\[:{UNKNOWN}]").search
_MAX_CONFIG, _PARSE = 2 << 20, 16  # bytes, for thousands of entries; what each costs
_EXPORTED = ("root", "prefix", "cmdpath", "config_directory", "grub_cpu", "grub_platform")
_MAX_FILES = 40  # configurations that read one another


@dataclass(slots=True)
class Shell(Environment):
    """GRUB's state while it reads its configuration."""

    entries: list[Entry] = field(default_factory=list)
    files: list[Location] = field(default_factory=list)  # the configurations read, in order
    faults: list[str] = field(default_factory=list)  # of those that could not be read
    empty: list[str] = field(default_factory=list)  # submenus without an entry, by their titles
    unfollowed: list[str] = field(default_factory=list)  # of the menu; entries have their own
    _exported: set[str] = field(default_factory=lambda: {*_EXPORTED})  # at first by GRUB itself
    _functions: dict[str, Block] = field(default_factory=dict)
    # The lines of the menu that is read; and whether a condition that is not known decides on them.
    _items: list[tuple[str, list[str], Block, bool]] = field(default_factory=list)
    _loads: list[Load] | None = None  # of the entry that is run, None in a menu
    _doubts: int = 0  # how many conditions around this place are not known

    def run(self, text: str) -> None:
        """Run a configuration, and the entries of its menu. Raises ScriptError."""
        try:
            self.spend(_PARSE * len(text))
            self._run(parse(text))
            self._open((), ())
        except RecursionError:
            raise ScriptError("it is nested too deep") from None

    def _open(self, titles: tuple[str, ...], numbers: tuple[int, ...]) -> None:
        """Run each entry of the menu that was read, as GRUB does when it is chosen."""
        items, self._items = self._items, []
        variables, lost, unfollowed = self.variables, self.lost, self.unfollowed
        sure = True  # that an item has its number
        for number, (command, arguments, block, doubtful) in enumerate(items):
            sure = sure and not doubtful
            title, identity = _title_and_id(arguments)
            path = (*titles, title), (*numbers, number if sure else -1)
            self.spend(len(variables))
            self.variables, self.lost = dict(variables), lost
            if command == "submenu":
                before = len(self.entries)
                self._keep_exported()
                self._doubts = int(doubtful)
                self._run(block)
                self._doubts = 0
                self._open(*path)
                self.empty += [title] if len(self.entries) == before else []
            else:
                self._loads, self.unfollowed = [], ["its condition"] if doubtful else []
                self._run(block)
                loads, words = tuple(self._loads), ", ".join(self.unfollowed)
                self.entries.append(Entry(*path, identity, loads, words))
                self._loads, self.unfollowed = None, unfollowed
        self.variables, self.lost = variables, lost

    def _keep_exported(self) -> None:
        self.variables = {key: self.variables[key] for key in {*self.variables} & self._exported}

    def _run(self, block: Block) -> bool | None:
        """Run commands; the result is that of the last one, as `_command` has it."""
        result: bool | None = True
        for one in block:
            result = self._if(one.blocks) if one.words == ("if",) else self._command(one)
        return result

    def _if(self, blocks: Sequence[Block]) -> bool | None:
        """Run an `if`; where its condition is not known both ways, so that both may end alike."""
        if len(blocks) < 2:
            return self._run(*blocks) if blocks else True
        condition, body, *rest = blocks
        result = self._run(condition)
        if result is not None:
            return self._run(body) if result else self._if(rest)
        self.spend(len(self.variables))
        before = dict(self.variables)
        self._doubts += 1
        self._run(body)
        one, self.variables = self.variables, before
        self._if(rest)
        self._doubts -= 1
        for name in one.keys() | self.variables.keys():
            if one.get(name, "") != self.variables.get(name, ""):
                self.variables[name] = UNKNOWN
        return None

    def _command(self, command: Command) -> bool | None:
        """Run a command; whether it succeeds, None where that is not known."""
        name, *arguments = self.expand(command.words) or ["true"]
        block = command.blocks[0] if command.blocks else ()
        if name == "function" and arguments:
            self._functions[arguments[0]] = block
        elif name in ("menuentry", "submenu") and self._loads is None:
            self._items.append((name, arguments, block, self._doubts > 0))
        elif name in _READS and self._loads is None and not self._doubts:
            return self._read(name, arguments)
        elif name in _LOADS:
            self._load(name, arguments)
        elif body := self._functions.pop(name, ()):  # so one that calls itself is not followed
            result = self._run(body)
            self._functions[name] = body
            return result
        else:
            return self._simple(name, arguments)
        return True

    def _simple(self, name: str, arguments: Sequence[str]) -> bool | None:
        """Run a command that at most changes variables."""
        match name:
            case "true" | "false":
                return name == "true"
            case "[" | "test":
                return self.test([word for word in arguments if word != "]"])
            case "!" if arguments and arguments[0] != "!":
                opposite = self._simple(arguments[0], arguments[1:])
                return None if opposite is None else not opposite
            case "search" | "search.fs_uuid" if (found := self.search(name, arguments)) is not None:
                return found
            case "set":
                self.assign(arguments)
            case "export":
                self._exported.update(arguments)
            case "load_env" if not arguments:
                self.load_saved()
            case _ if "=" in name:
                self.assign([name])
            case _:
                if not _INERT(name) and (name, *arguments) != ("fwsetup", "--is-supported"):
                    self.unfollowed.append(f"its command `{name}`")
                return None
        return True

    def _load(self, name: str, arguments: Sequence[str]) -> None:
        """Note a kernel with its arguments, or any number of initial RAM disks."""
        files = [word for word in arguments if not word.startswith("-")]
        paths, more = (files, []) if name.startswith("initrd") else (files[:1], files[1:])
        loads = [Load(name, self.place(path), tuple(more)) for path in paths]
        unknown = UNKNOWN in "".join([*more, *(one.place.fault for one in loads)])
        if self._loads is None or self._doubts or unknown or any(map(_ODD, paths)):
            self.unfollowed.append(f"its command `{name}`")
        else:
            self._loads += loads

    def _read(self, name: str, arguments: Sequence[str]) -> bool | None:
        """Run another configuration; whether it can be read."""
        home, beside = (f"{self.variables.get(one, '')}/grub.cfg" for one in ("prefix", "cmdpath"))
        path = arguments[0] if arguments else home
        if path.startswith("(memdisk)"):  # which leads to one of these (Debian, build-efi-images)
            path = beside if not self.exists(home) and self.exists(beside) else home
        place = self.place(path)
        if UNKNOWN in path + place.fault:
            self.unfollowed.append(f"its command `{name}`")
            return None
        if len(self.files) >= _MAX_FILES:
            raise ScriptError("configurations read one another without end")
        try:
            data = self.reader.read(place.number, place.path, _MAX_CONFIG + 1)
        except UnreadableError as error:
            where = location_words(self.reader.file_systems, place)
            self.faults.append(f"{where}: {place.fault or error}")
            return False
        self.files.append(place)
        if len(data) > _MAX_CONFIG:
            raise ScriptError(f"it is larger than {_MAX_CONFIG >> 20} MiB")
        if name in ("configfile", "normal"):
            self._keep_exported()
            self.variables["config_directory"] = path.rpartition("/")[0]
        self.spend(_PARSE * len(data))
        self._run(parse(data.decode(errors="replace")))
        return True


def _title_and_id(arguments: Sequence[str]) -> tuple[str, str]:
    """The title and the --id of the commands `menuentry` and `submenu`."""
    pairs = [*pairwise(["", *arguments])]
    titles = [two for one, two in pairs if one not in _VALUED and not two.startswith("--")]
    return next(iter(titles), ""), next((two for one, two in pairs if one == "--id"), "")
