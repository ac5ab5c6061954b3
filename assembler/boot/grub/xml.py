"""Read a set of settings that Nix wrote as XML.

Source: builtins.toXML (Nix manual, "Built-in Functions"; src/libexpr/value-to-xml.cc).
"""

from collections.abc import Iterator
from xml.etree import ElementTree

from assembler.boot.lookup import target_of
from assembler.errors import RequestError, reason
from assembler.host.regular import read_file
from assembler.store.paths import Store


class Settings:
    """Reads values by their names, and collects in `problems` what is wrong with them."""

    def __init__(self, where: str, attributes: ElementTree.Element) -> None:
        self.where = where
        self.problems: list[str] = []
        self._attributes = {attr.get("name", ""): attr for attr in attributes.iterfind("attr")}

    def text(self, name: str, default: str = "") -> str:
        """A string; Nix writes paths and, here and there, numbers in place of some."""
        value = self._value(name, ("string", "path", "int"))
        return default if value is None else value

    def flag(self, name: str) -> bool:
        """A truth value, false where there is none."""
        return self._value(name, ("bool",)) == "true"

    def number(self, name: str, default: int) -> int:
        """A whole number."""
        value = self._value(name, ("int", "string"))
        try:
            return default if value is None else int(value)
        except ValueError:
            self.problems.append(f"{self.where}: {name} should be a number, not {value!r}")
            return default

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings, empty where there is none."""
        attribute = self._attributes.get(name)
        if attribute is None:
            return ()
        values = attribute.findall("list/string")
        if attribute.find("list") is None or len(values) != len(attribute.findall("list/*")):
            self.problems.append(f"{self.where}: {name} should be a list of strings")
        return tuple(value.get("value", "") for value in values)

    def inner(self, name: str, what: str) -> Iterator[tuple[str, "Settings"]]:
        """The sets in the set `name`, by their names; `what` is their name in messages."""
        attribute = self._attributes.get(name)
        if attribute is None:
            return
        if attribute.find("attrs") is None:
            self.problems.append(f"{self.where}: {name} should be a set")
        for entry in attribute.iterfind("attrs/attr"):
            key, attributes = entry.get("name", ""), entry.find("attrs")
            if attributes is None:
                self.problems.append(f"{self.where}: {what} {key!r} should be a set")
            else:
                yield key, Settings(f"{self.where}, {what} {key!r}", attributes)

    def _value(self, name: str, kinds: tuple[str, ...]) -> str | None:
        """The value of an attribute, None if it is absent or null."""
        attribute = self._attributes.get(name)
        value = None if attribute is None else next(iter(attribute), None)
        if value is None or value.tag == "null":
            return None
        if value.tag not in kinds:
            self.problems.append(f"{self.where}: {name} should be {kinds[0]}, not {value.tag}")
            return None
        return value.get("value", "")


def read_settings(store: Store, path: str) -> Settings:
    """Read the file at `path`, which holds one set; raises RequestError."""
    try:
        text = read_file(store.host(target_of(store, path))).decode()
    except OSError as error:
        raise RequestError(f"GRUB's settings: cannot read {reason(error)}") from None
    except UnicodeDecodeError:
        raise RequestError(f"{path} is not UTF-8, as Nix writes it") from None
    if "<!" in text:  # Nix writes neither a document type nor entities, and escapes every <
        raise RequestError(f"{path} has a document type or a comment, which Nix does not write")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise RequestError(f"{path} is not XML: {error}") from None
    attributes = root.find("attrs")
    if root.tag != "expr" or attributes is None:
        raise RequestError(f"{path} is not a set that Nix wrote")
    return Settings(path, attributes)
