"""The menu of systemd-boot, and which entry it starts by itself.

Without these tests, the check can look at another entry than the one that systemd-boot starts by
itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from assembler.check.grub_reader import UnreadableError
from assembler.check.loader_entries import default_of, read_entries
from assembler.check.menu import Load, Location

ENTRY = "# made by hand\ntitle\tNixOS\nlinux /k\ninitrd /a\ninitrd b\noptions init=/i\noptions x\n"


@dataclass(frozen=True)
class MenuFiles:
    """MenuFiles in two partitions, in place of an image."""

    files: Mapping[tuple[int, str], str]

    def read(self, number: int, path: str, _limit: int) -> bytes:
        if (number, path) not in self.files:
            raise UnreadableError("not found")
        return self.files[number, path].encode()

    def names(self, number: int, directory: str) -> list[str]:
        start = f"{directory}/"
        return [path[len(start) :] for one, path in self.files if one == number and start in path]


def entries(*names: str, number: int = 1) -> dict[tuple[int, str], str]:
    return {(number, f"/loader/entries/{name}"): ENTRY for name in names}


def test_an_entry() -> None:
    [entry] = read_entries(MenuFiles(entries("a.conf", "b.txt")), (1, 2))
    assert entry.title == "NixOS"
    assert entry.loads == (
        Load("linux", Location(1, "/k"), ("init=/i", "x")),
        Load("initrd", Location(1, "/a"), ()),
        Load("initrd", Location(1, "/b"), ()),
    )


def test_quotes_keep_spaces_in_options() -> None:
    text = 'linux /k\noptions init=/a b="c init=/d"\noptions e\n'
    [entry] = read_entries(MenuFiles({(1, "/loader/entries/x.conf"): text}), (1,))
    assert entry.loads[0].arguments == ("init=/a", 'b="c init=/d"', "e")


def test_an_efi_program() -> None:
    files = {(1, "/loader/entries/x.conf"): "efi /EFI/tool.efi\n"}
    [entry] = read_entries(MenuFiles(files), (1,))
    assert entry.title == "x.conf"
    assert entry.loads == (Load("chainloader", Location(1, "/EFI/tool.efi"), ()),)


def test_entries_of_two_partitions() -> None:
    files = entries("a.conf") | entries("b.conf", number=2)
    found = read_entries(MenuFiles(files), (1, 2))
    assert {entry.loads[0].place.number for entry in found} == {1, 2}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, "nixos-generation-10.conf"),
        ("timeout 5\n", "nixos-generation-10.conf"),
        ("default nixos-generation-9.conf\n", "nixos-generation-9.conf"),
        ("default nixos-generation-9\n", "nixos-generation-9.conf"),
        ("default arch-*\n", "arch-1.conf"),
        ("default gone\n", "nixos-generation-10.conf"),
        ("#default arch-*\n", "nixos-generation-10.conf"),
    ],
)
def test_the_default(config: str | None, expected: str) -> None:
    files = entries("nixos-generation-9.conf", "nixos-generation-10.conf", "arch-1.conf")
    if config is not None:
        files[1, "/loader/loader.conf"] = config
    reader = MenuFiles(files)
    found, remark = default_of(reader, 1, read_entries(reader, (1,)))
    assert found is not None
    assert (found.identity, remark) == (expected, "")


def test_the_menu_is_in_the_order_of_systemd_boot() -> None:
    """By sort key, then newest version first; what boot counting gave up comes last."""
    texts = {
        "a.conf": "title none\n",
        "b+0-3.conf": "title bad\nsort-key a\nversion 9\n",
        "c.conf": "title old\nsort-key nixos\nversion Generation 9 x\n",
        "d+3.conf": "title new\nsort-key nixos\nversion Generation 10 x\n",
        "e.conf": "title other\nsort-key o\nversion 99\n",
    }
    files = {(1, f"/loader/entries/{name}"): text for name, text in texts.items()}
    files[1, "/loader/loader.conf"] = "preferred c.conf\ndefault *\n"
    reader = MenuFiles(files)
    found = read_entries(reader, (1,))
    assert [entry.title for entry in found] == ["new", "old", "other", "none", "bad"]
    assert found[0].identity == "d.conf"
    default, _ = default_of(reader, 1, found)
    assert default is not None
    assert default.title == "old"


def test_without_entries() -> None:
    assert default_of(MenuFiles({}), 1, read_entries(MenuFiles({}), (1,))) == (None, "")


def test_a_default_that_is_not_there() -> None:
    """It is no fault: systemd-boot starts the first entry instead."""
    files = MenuFiles(
        entries("nixos-1.conf") | {(1, "/loader/loader.conf"): "default nixos-2.conf\n"}
    )
    found = read_entries(files, (1,))
    assert default_of(files, 1, found) == (
        found[0],
        "the default of loader.conf, nixos-2.conf, is not there: the first entry starts",
    )


@pytest.mark.parametrize(
    "pattern", ["@saved", "nixos-*.conf", "auto-windows", "[" * 15_000, "*.efi"]
)
def test_defaults_that_need_not_be_there(pattern: str) -> None:
    files = MenuFiles(entries("a.conf") | {(1, "/loader/loader.conf"): f"default {pattern}\n"})
    found, remark = default_of(files, 1, read_entries(files, (1,)))
    assert found is not None
    assert remark == ""


def test_a_line_of_nixos_that_systemd_boot_does_not_know() -> None:
    text = ENTRY.replace("options init", "optionz init")
    with pytest.raises(
        UnreadableError, match=r"nixos-1\.conf has a line that begins with 'optionz'"
    ):
        read_entries(MenuFiles({(1, "/loader/entries/nixos-1.conf"): text}), (1,))
    assert read_entries(MenuFiles({(1, "/loader/entries/other.conf"): text}), (1,))


def test_more_entries_than_anyone_reads() -> None:
    with pytest.raises(UnreadableError, match="there are more than 1000 entries"):
        read_entries(MenuFiles(entries(*(f"{number}.conf" for number in range(1001)))), (1,))
