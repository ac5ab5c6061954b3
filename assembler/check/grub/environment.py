"""GRUB's variables and devices, and the commands `search` and `test`: GRUB manual, "Commands"."""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from assembler.check.grub.script import ScriptError, expand
from assembler.check.grub_reader import GrubReader, UnreadableError
from assembler.check.menu import Location, plain_path

UNKNOWN = "\0"  # in the value of a variable, as in no text: we do not know it

_HINTS = ("--set=", "--no-floppy", "--hint-", "--hint=")
_NAMES = {"--fs-uuid": "the UUID", "--label": "the label"}
_DEVICE = re.compile(r"(?=.)(?:hd0|hostdisk/[^,]*)?(?:,(?:gpt|msdos)?([0-9]{1,9}))?")
_SAVED = re.compile(r"^([^#=\n]+)=((?:\\.|[^\\\n])*)", re.MULTILINE | re.DOTALL)  # lib/envblk.c
_MAX_BLOCK = 64 << 10  # bytes
_WORK = 48 << 20  # characters, for one configuration
_LOOK, _WORD = 128 << 10, 100  # what a look for a file, of 10 ms, and a word cost of them


@dataclass(slots=True)
class Environment:
    """GRUB's variables, with the file systems that it finds."""

    reader: GrubReader
    variables: dict[str, str]
    lost: str = ""  # what the last search in vain looked for
    work: int = _WORK  # that is left

    def spend(self, work: int) -> None:
        """Take work from the rest. Raises ScriptError when there is none."""
        self.work -= work
        if self.work < 0:
            raise ScriptError("it asks for more work than any menu needs")

    def place(self, word: str) -> Location:
        """The file that a file name of GRUB's means."""
        device, path = self.variables.get("root", ""), word
        if word.startswith("("):
            device, _, path = word[1:].partition(")")
        # A name that does not begin with a slash is no path: see Location.is_blocks.
        path = plain_path(path) if path[:1] in ("", "/") else path
        if match := _DEVICE.fullmatch(device):
            return Location(int(match[1] or 0), path)
        fault = f"({device}) is no partition of this disk" if device else self.lost
        return Location(None, path, fault or f"GRUB has no device for {word!r}")

    def exists(self, word: str) -> bool | None:
        """Whether there is a file, None where it is not known."""
        self.spend(_LOOK)
        place = self.place(word)
        if UNKNOWN in word + place.fault:
            return None
        return place.number is not None and self.reader.exists(place.number, place.path)

    def expand(self, words: Sequence[str]) -> list[str]:
        """Words with the values of their variables; one that is empty and without quotes goes."""
        self.spend(sum(len(word) + _WORD for word in words))
        pairs = ((word, expand(word, self._value)) for word in words)
        return [text for word, text in pairs if text or "'" in word or '"' in word]

    def _value(self, name: str) -> str:
        known = name[:1].isalpha() or name.startswith("_")  # others are $?, $1 and such
        # What GRUB can do since release 2.00 has y (grub-core/normal/main.c).
        unset = "y" if name.startswith("feature_") else "" if known else UNKNOWN
        value = self.variables.get(name, unset)
        self.spend(len(value))
        return value

    def assign(self, words: Iterable[str]) -> None:
        """Set variables; GRUB keeps its root without brackets (grub_env_write_root)."""
        for key, equals, value in (word.partition("=") for word in words):
            bare = key == "root" and value.startswith("(") and value.endswith(")")
            if equals:
                self.variables[key] = value[1:-1] if bare else value

    def load_saved(self) -> None:
        """Set the variables that `save_env`, grub-reboot and grub-set-default have saved."""
        place = self.place(f"{self.variables.get('prefix', '')}/grubenv")
        with suppress(UnreadableError):
            text = self.reader.read(place.number, place.path, _MAX_BLOCK).decode(errors="replace")
            for key, value in _SAVED.findall(text):
                self.variables[key] = re.sub(r"(?s)\\(.)", r"\1", value)

    def test(self, words: Sequence[str]) -> bool | None:
        """The result of `test`, or of `[` without its `]`; None where it is not known."""
        for joint, decides in (("-o", True), ("-a", False)):
            if joint in words:
                at = words.index(joint)
                results = {self._simple_test(words[:at]), self._simple_test(words[at + 1 :])}
                return decides if decides in results else None if None in results else not decides
        return self._simple_test(words)

    def _simple_test(self, words: Sequence[str]) -> bool | None:
        match words:
            case _ if UNKNOWN in "".join(words):
                return None
            case ["-f" | "-s", path]:
                return self.exists(path)
            case ["-z", text]:
                return not text
            case ["-n", text] | [text]:
                return bool(text)
            case [left, "=" | "==" | "!=" as operator, right]:
                return (left == right) == (operator != "!=")
        return None if words else False

    def search(self, name: str, arguments: Sequence[str]) -> bool | None:
        """Set a variable to the partition with a UUID or a label; None for another search."""
        variable = next((word[6:] for word in arguments if word.startswith("--set=")), "root")
        words = [word for word in arguments if not word.startswith(_HINTS)]
        if name == "search.fs_uuid":  # the UUID, the variable, hints
            variable, words = [*words[1:], "root"][0], ["--fs-uuid", *words[:1]]
        match words:
            case [("--fs-uuid" | "--label") as kind, value] if UNKNOWN not in variable + value:
                for one in self.reader.file_systems:
                    if one.has(kind, value):
                        self.variables[variable] = f"hd0,{one.number}" if one.number else "hd0"
                        return True
                self.variables.pop(variable, None)
                self.lost = f"no file system has {_NAMES[kind]} {value}"
                return False
        return None
