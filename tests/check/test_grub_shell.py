"""Configurations are run as GRUB runs them, and other parts are noted as not followed.

Without these tests, the check can follow a menu in another way than GRUB, and miss a kernel that is
gone.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembler.check.grub.script import ScriptError
from assembler.check.grub.shell import Shell
from assembler.check.grub_chain import default_entry
from assembler.check.grub_reader import GrubFileSystem, UnreadableError
from assembler.check.menu import Entry, Location
from tests.support.helpers import output

UUID = "6d3c1b0a-0f5e-4b7c-9f1d-2a3b4c5d6e7f"


@dataclass(frozen=True)
class FakeFiles:
    """FakeFiles in two file systems, in place of an image."""

    files: Mapping[tuple[int, str], str]
    file_systems = (
        GrubFileSystem(1, "fat", "ESP", "1234-ABCD"),
        GrubFileSystem(3, "ext2", "nixos", UUID),
    )

    def read(self, number: int, path: str, _limit: int = 0) -> bytes:
        if (number, path) not in self.files:
            raise UnreadableError("not found")
        return self.files[number, path].encode()

    def exists(self, number: int, path: str) -> bool:
        return (number, path) in self.files


def shell(text: str, files: Mapping[tuple[int, str], str] | None = None) -> Shell:
    made = Shell(FakeFiles(files or {}), {"root": "hd0,1", "prefix": "(hd0,1)/grub"})
    made.run(text)
    return made


def loads(text: str, files: Mapping[tuple[int, str], str] | None = None) -> list[object]:
    """The files that the only entry of a menu loads, and their arguments."""
    [entry] = shell(text, files).entries
    return [(load.place.number, load.place.path, *load.arguments) for load in entry.loads]


def kernel(path: str) -> str:
    return f"menuentry x {{ linux {path} a=b\n}}\n"


@pytest.mark.parametrize(
    ("before", "path", "expected"),
    [
        ("", "/k", (1, "/k")),
        ("", "(hd0,gpt3)/k", (3, "/k")),
        ("", "(hd0,msdos2)//k", (2, "/k")),
        ("", "(,gpt2)/k", (2, "/k")),
        ("", "(hd0)/k", (0, "/k")),
        ("set root=(hd0,gpt3)\n", "/k", (3, "/k")),
        ("", "(hd0,4)+1", (4, "+1")),
        ("", "+1,5+2", (1, "+1,5+2")),
        ("set root=hd0,gpt4\n", "/k", (4, "/k")),
        ("set root='hd0,gpt4'; set p=/a\n", "$p/${p}b", (4, "/a/ab")),
        (f"search --set=drive1 --fs-uuid {UUID}\n", "($drive1)//nix/k", (3, "/nix/k")),
        (f"search --no-floppy --fs-uuid --set=root {UUID.upper()}\n", "/k", (3, "/k")),
        ("search --label nixos --set=root\n", "/k", (3, "/k")),
        ("search.fs_uuid 1234-ABCD d\n", "($d)/k", (1, "/k")),
        ("if search --label none; then set root=hd0,7; else set root=hd0,8; fi\n", "/k", (8, "/k")),
        ("if [ -f /mark ]; then set root=hd0,7; fi\n", "/k", (1, "/k")),
        ("if [ -s (hd0,3)/mark ]; then set root=hd0,7; fi\n", "/k", (7, "/k")),
        ('if [ "$none" ]; then set root=hd0,7; fi\n', "/k", (1, "/k")),
        ('if [ "${root}" = "hd0,1" ]; then set root=hd0,7; fi\n', "/k", (7, "/k")),
        ("if [ -n a -a -z '' ]; then set root=hd0,7; fi\n", "/k", (7, "/k")),
        ("if [ -z '' -a -f /none ]; then set root=hd0,7; fi\n", "/k", (1, "/k")),
        ("search --hint-efi=hd0,gpt8 --label nixos\n", "/k", (3, "/k")),
        ("if [ a = b -o -f (hd0,3)/mark ]; then set root=hd0,7; fi\n", "/k", (7, "/k")),
        ("if [ a = b -o -f /none ]; then set root=hd0,7; fi\n", "/k", (1, "/k")),
        ("if test a != a; then x; elif true; then set root=hd0,6; fi\n", "/k", (6, "/k")),
        ("if ! true; then x; else set root=hd0,6; fi\n", "/k", (6, "/k")),
        ("if loadfont x; then set root=hd0,7; else set root=hd0,7; fi\n", "/k", (7, "/k")),
        ("if loadfont x; then set mode=a; fi\n", "/k", (1, "/k")),
        ("if cpuid; then search --label nixos; else search --label nixos; fi\n", "/k", (3, "/k")),
        ("source (hd0,3)/more\n", "/k", (5, "/k")),
    ],
)  # fmt: skip
def test_where_a_kernel_is(before: str, path: str, expected: tuple[int, str]) -> None:
    files = {(3, "/mark"): "", (3, "/more"): "set root=hd0,5\n"}
    made = shell(before + kernel(path), files)
    [load] = made.entries[0].loads
    assert (load.place.number, load.place.path, *load.arguments) == (*expected, "a=b")
    assert made.unfollowed == []
    assert made.entries[0].unfollowed == ""


@pytest.mark.parametrize(
    ("before", "path", "words"),
    [
        ("search --set=d --fs-uuid 99\n", "($d)/k", "no file system has the UUID 99"),
        ("search --set=d --label home\n", "($d)/k", "no file system has the label home"),
        ("", "($d)/k", "GRUB has no device for '()/k'"),
        ("", "(hd1,gpt1)/k", "(hd1,gpt1) is no partition of this disk"),
        ("", "(lvm/a-b)/k", "(lvm/a-b) is no partition of this disk"),
    ],
)
def test_a_kernel_that_is_nowhere(before: str, path: str, words: str) -> None:
    [entry] = shell(before + kernel(path)).entries
    assert entry.loads[0].place == Location(None, "/k", words)


def test_several_initial_ram_disks() -> None:
    text = "menuentry x {\n linux /k\n initrd /a /b /c\n}\n"
    assert loads(text) == [(1, "/k"), (1, "/a"), (1, "/b"), (1, "/c")]


def test_xen() -> None:
    text = "menuentry x {\n multiboot /xen.gz placeholder\n module /k init=/i\n module /r\n}\n"
    assert loads(text) == [(1, "/xen.gz", "placeholder"), (1, "/k", "init=/i"), (1, "/r")]


def test_a_submenu_knows_only_what_is_exported() -> None:
    """grub_cmd_submenu opens a context of its own."""
    inner = "submenu s {\n menuentry x {\n linux ($a)/k\n }\n}\n"
    assert shell(f"set a=hd0,3\n{inner}").entries[0].loads[0].place.number is None
    assert loads(f"set a=hd0,3\nexport a\n{inner}") == [(3, "/k")]


def test_a_stub_leads_on() -> None:
    files = {(3, "/boot/grub/grub.cfg"): "set default=1\n" + kernel("/a") + kernel("/b")}
    made = shell(
        f"search.fs_uuid {UUID} root\nset prefix=($root)'/boot/grub'\n"
        "configfile $prefix/grub.cfg\n",
        files,
    )
    assert made.files == [Location(3, "/boot/grub/grub.cfg")]
    assert default_entry(made.entries, made.variables["default"]) == (made.entries[1], True)
    assert made.faults == []


def test_configurations_that_read_one_another() -> None:
    for word in ("configfile", "source", "."):
        with pytest.raises(ScriptError, match="configurations read one another without end"):
            shell(f"{word} /a", {(1, "/a"): f"{word} /a\n" * 3})
    assert shell("configfile /b").faults == ["partition 1 (FAT), /b: not found"]


def entry(title: str, *numbers: int, identity: str = "") -> Entry:
    return Entry((title,), numbers, identity, ())


def test_the_default() -> None:
    entries = [entry("a", 0), entry("b", 1, 0), entry("c", 1, 1), entry("d", 2, identity="dd")]
    wanted = {
        "": 0,
        "0": 0,
        "2": 3,
        "1": 1,
        "1>1": 2,
        "b": 1,
        "s>c": 2,
        "dd": 3,
        "saved": 0,
        "9": 0,
    }
    for words, number in wanted.items():
        assert default_entry(entries, words) == (entries[number], True)
    assert default_entry([], "0") == (None, True)


@pytest.mark.parametrize(
    ("device", "number"),
    [
        ("hd0,gpt3", 3), ("hd0,msdos1", 1), ("hd0,2", 2), ("hd0", 0), (",gpt4", 4), ("", None),
        ("hd1,gpt1", None), ("lvm/x", None), ("hostdisk//dev/vda,gpt2", 2), ("memdisk", None),
    ],
)  # fmt: skip
def test_devices(device: str, number: int | None) -> None:
    assert shell("").place(f"({device})/k").number == number


WORDS = st.sampled_from(
    [
        *(
            "menuentry",
            "submenu",
            "{",
            "}",
            "\n",
            "linux",
            "initrd",
            "search",
            "--set=x",
            "-u",
            "x",
        ),
        *(
            "configfile",
            "/a",
            "source",
            "set",
            "root=hd0",
            "if",
            "[",
            "!",
            "then",
            "fi",
            "$x",
            "''",
        ),
    ]
)


@given(text=st.lists(WORDS, max_size=60).map(" ".join))
def test_any_configuration_is_survived(text: str) -> None:
    with suppress(ScriptError):
        shell(text, {(1, "/a"): text, (0, "/a"): text})


DEEP = "if true; then\n" * 60 + "source /a\n" + "fi\n" * 60
TOO_MUCH = "it asks for more work than any menu needs"

HOSTILE = [
    ("set a=xxxxxxxx\n" + "set a=$a$a\n" * 40, TOO_MUCH),
    ("set a=xxxxxxxx\n" + "set a=$a$a\n" * 20 + "echo " + "$a" * 1000, TOO_MUCH),
    ("set a=xxxxxxxx\n" + "set a=$a$a\n" * 12 + "echo $a\n" * 100_000, TOO_MUCH),
    (
        "".join(f"set a{number}=\n" for number in range(10_000))
        + "menuentry x {\n true\n}\n" * 40_000,
        TOO_MUCH,
    ),
    ("if [ -f /x ]; then true; fi\n" * 2000, TOO_MUCH),
    ("if true; then\n" * 900 + "true\n" + "fi\n" * 900, "it is nested too deep"),
    (DEEP, "it is nested too deep"),
    (
        "".join(f"function f{level} {{ f{level + 1}; f{level + 1}; }}\n" for level in range(30))
        + "f0",
        TOO_MUCH,
    ),
    ("x\n" * 500_000, TOO_MUCH),
    ("source /large\n", "it is larger than 2 MiB"),
]


@pytest.mark.parametrize(("text", "words"), HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_one_ends_soon(text: str, words: str) -> None:
    began = time.process_time()
    with pytest.raises(ScriptError) as caught:
        shell(text, {(1, "/a"): text, (1, "/large"): "#" * (5 << 20)})
    assert str(caught.value).startswith(words)
    assert time.process_time() - began < 10


def test_a_menu_of_a_thousand_generations_is_not_hostile() -> None:
    before = "function savedefault {\n echo\n}\n" * 10
    text = f"menuentry x {{\n search --set=d --fs-uuid {UUID}\n linux ($d)/k {'a=b ' * 40}\n}}\n"
    assert len(shell(before + text * 3000).entries) == 3000


def test_a_submenu_without_an_entry() -> None:
    made = shell("submenu 'all' {\n  set a=b\n}\nmenuentry 'one' {\n  linux /k\n}\n")
    assert made.empty == ["all"]
    assert shell("submenu a {\n  menuentry b {\n    linux /k\n  }\n}\n").empty == []


FUNCTIONS = """
function itself { itself; }
function one { two; }
function two
{
  one
}
function perhaps { if keystatus; then perhaps; fi; }
function returns { return; }
function exits { exit; }
function loads { linux /k$1; }
"""
NOT_FOLLOWED = [
    ("while true; do true; done\n", "its command `while`"),
    ("until false; do sleep 1; done\n", "its command `until`"),
    ("for a in 1 2; do halt; done\n", "its command `for`"),
    ("for a in 1 2; do menuentry $a {\n linux /k$a\n}\ndone\n", "its command `for`"),
    ("itself\n", "its command `itself`"),
    ("one\n", "its command `one`"),
    ("perhaps\n", "its command `perhaps`"),
    ("returns\n", "its command `return`"),
    ("halt\n", "its command `halt`"),
    ("reboot\n", "its command `reboot`"),
    ("exit\n", "its command `exit`"),
    ("fwsetup\n", "its command `fwsetup`"),
    ("read x\n", "its command `read`"),
    ("boot\n", "its command `boot`"),
    ("blscfg\n", "its command `blscfg`"),
    ("if true; then halt; fi\n", "its command `halt`"),
    ("if halt; then true; fi\n", "its command `halt`"),
    ("! ! true\n", "its command `!`"),
    ("if [ 1 -lt 2 ]; then true; else halt; fi\n", "its command `halt`"),
    ("if keystatus --shift; then halt; fi\n", "its command `halt`"),
    ("if keystatus --shift; then linux /k; fi\n", "its command `linux`"),
    ("if keystatus --shift; then source /more; fi\n", "its command `source`"),
    ("if exits; then true; fi\n", "its command `exit`"),
    ("source /$?\n", "its command `source`"),
    ("if [ $none ]; then true; fi; halt\n", "its command `halt`"),
    ("search -l nixos\n", "its command `search`"),
    ("search --file --set=root /mark\n", "its command `search`"),
    ("search --hint hd0,gpt9 --label nixos\n", "its command `search`"),
    ("search.fs_label nixos root\n", "its command `search.fs_label`"),
    ("search.file /mark root\n", "its command `search.file`"),
    (
        "probe --set=uuid --fs-uuid $root; search --set=root --fs-uuid $uuid\n",
        "its command `probe`",
    ),
    ("load_env --file /env\n", "its command `load_env`"),
    ("loopback loop /x.iso\n", "its command `loopback`"),
    ("legacy_configfile /menu.lst\n", "its command `legacy_configfile`"),
]


@pytest.mark.parametrize(("text", "words"), NOT_FOLLOWED)
def test_a_menu_with_parts_that_are_not_followed(text: str, words: str) -> None:
    """They are noted, and neither hide the entries that are followed nor are they faults."""
    for whole in (text + kernel("/k"), kernel("/k") + text):
        made = shell(FUNCTIONS + whole)
        assert words in made.unfollowed
        assert len(made.entries) == 1
        assert made.entries[0].unfollowed == ""


@pytest.mark.parametrize(("text", "words"), NOT_FOLLOWED)
def test_an_entry_with_parts_that_are_not_followed(text: str, words: str) -> None:
    made = shell(f"{FUNCTIONS}menuentry x {{\n{text}\nlinux /k\n}}\n")
    [one] = made.entries
    assert words in one.unfollowed
    assert made.unfollowed == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("linux /k; initrd newc:etc/x:/b", "its command `initrd`"),
        ("linux /boot/vmlinuz*", "its command `linux`"),
        ("regexp --set=1:a x y; linux /k$a", "its command `regexp`"),
        ("loads 2", "its command `linux`"),
        ("linux /k quiet $?", "its command `linux`"),
        ("for a in b; do set k=$a; done; linux /k$a", "its command `for`"),
        ("if [ /a -nt /b ]; then set k=1; fi; linux /k$k", "its command `linux`"),
        ("if [ ! -z a ]; then set root=hd0,7; fi; linux /k", "its command `linux`"),
        ("if cpuid; then set k=1; elif cpuid; then set k=1; fi; linux /k$k", "its command `linux`"),
        ("if cpuid; then search --set=d --label nixos; fi; linux ($d)/k", "its command `linux`"),
        ("configfile /more", "its command `configfile`"),
        ("source /more", "its command `source`"),
        ("submenu y { linux /k\n}", "its command `submenu`"),
        ("ntldr /bootmgr", "its command `ntldr`"),
        ("devicetree /dtb", "its command `devicetree`"),
    ],
)
def test_an_entry_whose_files_are_not_known(text: str, words: str) -> None:
    [one] = shell(f"{FUNCTIONS}menuentry x {{\n{text}\n}}\n").entries
    assert one.unfollowed == words
    assert [load.place.path for load in one.loads] in ([], ["/k"])


def test_a_variable_that_only_a_condition_knows_is_not_known_in_entries() -> None:
    made = shell("if cpuid; then set root=hd0,7; fi\nset path=/k\n" + kernel("$path"))
    assert made.unfollowed == []
    assert made.entries[0].unfollowed == "its command `linux`"


MEMTEST = "if cpuid -l; then\n menuentry m --id mem {\n linux /m\n}\nfi\n"


@pytest.mark.parametrize(
    ("text", "default", "title", "sure"),
    [
        (kernel("/k") + MEMTEST, "", "x", True),
        (kernel("/k") + MEMTEST + kernel("/l"), "2", "x", False),
        (kernel("/k") + MEMTEST, "7", "x", False),
        (MEMTEST + kernel("/k"), "0", "m", False),
        (MEMTEST + kernel("/k"), "x", "x", True),
        (MEMTEST + kernel("/k"), "mem", "m", True),  # which has a part that is not followed
        (f"submenu s {{\n{MEMTEST}}}\n" + kernel("/k"), "1", "x", True),
        ("if cmostest 1:2; then set default=1; fi\n" + kernel("/k"), "", "x", False),
    ],
)
def test_entries_that_depend_on_the_machine(
    text: str, default: str, title: str, sure: bool
) -> None:
    made = shell(f"set default='{default}'\n{text}")
    entry, known = default_entry(made.entries, made.variables["default"])
    assert made.unfollowed == []
    assert entry is not None
    assert (entry.titles[-1], known) == (title, sure)
    for one in made.entries:
        assert one.unfollowed == ("its condition" if one.identity == "mem" else "")


def test_entries_of_a_submenu_that_depends_on_the_machine() -> None:
    made = shell("if cpuid; then\nsubmenu s {\n menuentry x {\n linux /k\n}\n}\nfi\n")
    assert [one.unfollowed for one in made.entries] == ["its condition"]


def test_entries_run_when_they_are_chosen() -> None:
    """What stands behind them counts; a submenu has its own variables."""
    text = f"menuentry x {{\n set root=$d\n linux /k\n}}\nset d=hd0,3\n{kernel('/l')}"
    made = shell(text)
    assert [one.loads[0].place.number for one in made.entries] == [3, 1]


def test_a_saved_entry(tmp_path: Path) -> None:
    """grub-editenv(1) writes what grub-reboot and grub-set-default do."""
    block = tmp_path / "grubenv"
    output("grub-editenv", block, "create")
    text = 'load_env\nset default="${saved_entry}"\n' + kernel("/k")
    made = shell(text, {(1, "/grub/grubenv"): block.read_text()})
    assert made.variables["default"] == ""
    output("grub-editenv", block, "set", "saved_entry=A \\ title>B", "next_entry=", "c=d=e")
    made = shell(text, {(1, "/grub/grubenv"): block.read_text()})
    assert {name: made.variables[name] for name in ("default", "next_entry", "c")} == {
        "default": "A \\ title>B",
        "next_entry": "",
        "c": "d=e",
    }
    assert made.unfollowed == []


def test_a_kernel_outside_of_any_entry_is_not_followed() -> None:
    made = shell("linux /k\ninitrd /i\nboot\n")
    assert made.entries == []
    assert made.unfollowed == ["its command `linux`", "its command `initrd`", "its command `boot`"]


@pytest.mark.parametrize(
    "text",
    [
        "if keystatus --shift; then set timeout=9; fi",
        'if [ "$next_entry" ]; then reboot; fi',
        "if [ -s $prefix/grubenv ]; then load_env; fi\nif [ $a ]; then halt; fi",
        "if search --label elsewhere; then halt; fi",
        "function f { halt; }",
        "function f { if [ $none ]; then f; fi; }; f",
        "function f { if [ $none ]; then return; fi; set gfxpayload=$1; }; f keep",
        "function halt2 { echo; }; halt2; halt2",
        "function f { f2; }; function f2 { true; }; if f; then true; else halt; fi",
        "if false; then halt; fi",
        "fwsetup --is-supported",
        "menuentry off {\n halt\n}\nsubmenu more {\n menuentry r {\n reboot\n}\n}",
        "insmod gfxterm; terminal_output gfxterm; play 480 440 1; sleep 1",
        "save_env next_entry; set next_entry=",
    ],
)
def test_a_menu_that_is_followed_as_a_whole(text: str) -> None:
    made = shell(f"{kernel('/k')}{text}\n", {(1, "/grub/grubenv"): ""})
    assert made.entries[0].loads
    assert not made.entries[0].unfollowed
    assert not made.unfollowed
    assert not made.empty
