"""Configurations are run as GRUB runs them, and other parts are noted as not followed.

Without these tests, the check can follow a menu in another way than GRUB, and miss a kernel that is
gone.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembler.check.grub.script import ScriptError
from assembler.check.grub.shell import Shell
from assembler.check.grub_chain import default_entry
from assembler.check.grub_reader import GrubFileSystem, UnreadableError, device_number
from assembler.check.menu import Entry, Location

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
        ("if [ -e /mark ]; then set root=hd0,7; fi\n", "/k", (1, "/k")),
        ("if [ -s (hd0,3)/mark ]; then set root=hd0,7; fi\n", "/k", (7, "/k")),
        ('if [ "$none" ]; then set root=hd0,7; fi\n', "/k", (1, "/k")),
        ('if [ "${root}" = "hd0,1" ]; then set root=hd0,7; fi\n', "/k", (7, "/k")),
        ("if [ -n a -a -z '' ]; then set root=hd0,7; fi\n", "/k", (7, "/k")),
        ("if [ -z '' -a -f /none ]; then set root=hd0,7; fi\n", "/k", (1, "/k")),
        ("search --hint-efi=hd0,gpt8 --label nixos\n", "/k", (3, "/k")),
        ("if test a != a; then x; elif true; then set root=hd0,6; fi\n", "/k", (6, "/k")),
        ("if loadfont x; then set root=hd0,7; fi\n", "/k", (1, "/k")),
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
    assert default_entry(made.entries, made.variables["default"]) == made.entries[1]
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
        assert default_entry(entries, words) == entries[number]
    for words in ("saved", "9"):
        assert default_entry(entries, words) == entries[0]
    assert default_entry([], "0") is None


@pytest.mark.parametrize(
    ("device", "number"),
    [
        ("hd0,gpt3", 3), ("hd0,msdos1", 1), ("hd0,2", 2), ("hd0", 0), (",gpt4", 4), ("", None),
        ("hd1,gpt1", None), ("lvm/x", None), ("hostdisk//dev/vda,gpt2", 2), ("memdisk", None),
    ],
)  # fmt: skip
def test_devices(device: str, number: int | None) -> None:
    assert device_number(device) == number


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


DEEP = "if true; then\n" * 39

HOSTILE = [
    ("set a=xxxxxxxx\n" + "set a=$a$a\n" * 40, "it has a word of more than 65,536 characters"),
    ("set a=xxxxxxxx\n" + "set a=$a$a\n" * 12 + "echo " + "$a" * 400_000, "it has a word of more"),
    (
        "set a=xxxxxxxx\n" + "set a=$a$a\n" * 12 + "echo $a\n" * 100_000,
        "it asks for more work than any menu needs",
    ),
    ("if [ -e /x ]; then echo; fi\n" * 20_000, "it asks for more work than any menu needs"),
    (
        "".join(f"set a{number}=\n" for number in range(10_000))
        + "menuentry x {\n true\n}\n" * 40_000,
        "it asks for more work than any menu needs",
    ),
    ('"' + "\\" * 3_000_000, "it has a word of more than 65,536 characters"),
    ("$" * 3_000_000, "it has a word of more than 65,536 characters"),
    (f"{DEEP}\nconfigfile /a\n", "it is nested too deep"),
    (
        "".join(f"function f{level} {{ f{level + 1}; f{level + 1}; }}\n" for level in range(30))
        + "f0",
        "it asks for more work than any menu needs",
    ),
    ("x\n" * 1_000_000, "it has more than 500,000 words"),
]


@pytest.mark.parametrize(("text", "words"), HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_one_ends_soon(text: str, words: str) -> None:
    began = time.process_time()
    with pytest.raises(ScriptError) as caught:
        shell(text, {(1, "/a"): text})
    assert str(caught.value).startswith(words)
    assert time.process_time() - began < 10


def test_negations_without_end() -> None:
    made = shell("if [ " + "! " * 200_001 + "-z a ]; then true\nfi\n")
    assert made.unfollowed == ["its command `[`"]
    assert shell("if " + "! " * 200_001 + "true; then true\nfi\n").unfollowed == ["its command `!`"]


def test_a_menu_of_a_thousand_generations_is_not_hostile() -> None:
    before = "function savedefault {\n echo\n}\n" * 10
    text = f"menuentry x {{\n search --set=d --fs-uuid {UUID}\n linux ($d)/k {'a=b ' * 40}\n}}\n"
    assert len(shell(before + text * 3000).entries) == 3000


def test_one_of_nixos() -> None:
    """A menu in the shape that install-grub.pl gives it (nixpkgs)."""
    search = f"search --set=drive1 --fs-uuid {UUID}\n"
    text = (
        f"{search}if [ -s $prefix/grubenv ]; then\n  load_env\nfi\n"
        'if [ "${next_entry}" ]; then\n  set default="${next_entry}"\nelse\n  set default=0\n'
        '  set timeout=5\nfi\nfunction savedefault {\n    if [ -z "${boot_once}" ]; then\n'
        '    saved_entry="${chosen}"\n    save_env saved_entry\n    fi\n}\n'
        'if [ "${grub_platform}" = "efi" ]; then\n  insmod efi_gop\nfi\n'
        f'menuentry "NixOS - Default" --class nixos --unrestricted {{\n{search}'
        "  linux ($drive1)//nix/store/k/bzImage init=/nix/store/s/init loglevel=4\n"
        "  initrd ($drive1)//nix/store/i/initrd\n}\n\n"
        'submenu "NixOS - All configurations" --class submenu {\n'
        f'menuentry "NixOS - Configuration 1" --class nixos {{\n{search}'
        "  linux ($drive1)//nix/store/k/bzImage init=/nix/store/s/init loglevel=4\n"
        "  initrd ($drive1)//nix/store/i/initrd\n}\n\n}\n"
    )
    made = shell(text)
    assert [one.title for one in made.entries] == [
        "NixOS - Default",
        "NixOS - All configurations > NixOS - Configuration 1",
    ]
    for one in made.entries:
        assert [load.place for load in one.loads] == [
            Location(3, "/nix/store/k/bzImage"),
            Location(3, "/nix/store/i/initrd"),
        ]
        assert one.loads[0].arguments == ("init=/nix/store/s/init", "loglevel=4")


def test_a_submenu_without_an_entry() -> None:
    made = shell("submenu 'all' {\n  set a=b\n}\nmenuentry 'one' {\n  linux /k\n}\n")
    assert made.empty == ["all"]
    assert shell("submenu a {\n  menuentry b {\n    linux /k\n  }\n}\n").empty == []


@pytest.mark.parametrize(
    "text",
    [
        *(
            "a\n" * 1_000_000,
            "[" * 15_000,
            "[" * 2_000_000,
            "{ " * 1_000_000,
            "if true; then " * 100_000,
        ),
        *(
            "menuentry x {" * 100_000,
            '"$x"' * 500_000,
            "\\" * 2_000_000,
            "'" * 2_000_000,
            "! " * 500_000,
        ),
        "set a=$a$a$a\n" * 100_000,
        "".join(f"if [ -e /x{number} ]; then true; fi\n" for number in range(5000)),
        "".join(f"search --file /x{number}\n" for number in range(5000)),
        "menuentry x {\n  linux /k\n}\n" * 100_000,
        "linux /b\0z\n",
    ],
    ids=str.__len__,
)
def test_hostile_configurations_end_soon(text: str) -> None:
    begun = time.process_time()
    with suppress(ScriptError):
        shell(text)
    assert time.process_time() - begun < 20


NOT_FOLLOWED = [
    ("while true; do true; done\n", "its command `while`"),
    ("until false; do sleep 1; done\n", "its command `until`"),
    ("for a in 1 2; do halt; done\n", "its command `for`"),
    ("for a in 1 2; do menuentry $a {\n linux /k$a\n}\ndone\n", "its command `for`"),
    ("function f { f; }; f\n", "its function `f`, which calls itself"),
    ("function f { g; }\nfunction g\n{\nf\n}\ng\n", "its function `g`, which calls itself"),
    ("function f { if keystatus2; then f; fi; }; f\n", "its function `f`, which calls itself"),
    ("function f { return; }; f\n", "its command `return`"),
    ("halt\n", "its command `halt`"),
    ("reboot\n", "its command `reboot`"),
    ("exit\n", "its command `exit`"),
    ("fwsetup\n", "its command `fwsetup`"),
    ("read x\n", "its command `read`"),
    ("boot\n", "its command `boot`"),
    ("blscfg\n", "its command `blscfg`"),
    ("if true; then halt; fi\n", "its command `halt`"),
    ("if halt; then true; fi\n", "its command `halt`"),
    ("if ! true; then set root=hd0,7; fi\n", "its command `!`"),
    ("if [ ! -z a ]; then set root=hd0,7; fi\n", "its command `[`"),
    ("if [ 1 -lt 2 ]; then true; else halt; fi\n", "its command `[`"),
    ("if test a -o b; then true; fi\n", "its command `test`"),
    ("function f { exit; }; if f; then true; fi\n", "its command `exit`"),
    ("source /more\n", "its command `halt`"),
    ("if [ $none ]; then true; fi; halt\n", "its command `halt`"),
    ("search -l nixos\n", "its command `search`"),
    ("search --file --set=root /mark\n", "its command `search`"),
    ("search --hint hd0,gpt9 --label nixos\n", "its command `search`"),
    ("search.fs_label nixos root\n", "its command `search.fs_label`"),
    ("search.file /mark root\n", "its command `search.file`"),
    ("probe --set=uuid --fs-uuid $root; search --set=root --fs-uuid $uuid\n", "the variable uuid"),
    ("read x; source /$x\n", "the variable x in its command `source`"),
    ("legacy_configfile /menu.lst\n", "its command `legacy_configfile`"),
]


@pytest.mark.parametrize(("text", "words"), NOT_FOLLOWED)
def test_a_menu_with_parts_that_are_not_followed(text: str, words: str) -> None:
    """They are noted, and neither hide the entries that are followed nor are they faults."""
    for whole in (text + kernel("/k"), kernel("/k") + text):
        made = shell(whole, {(1, "/more"): "halt"})
        assert any(what.startswith(words) for what in made.unfollowed), made.unfollowed
        assert len(made.entries) == 1
        assert made.entries[0].unfollowed == ""


@pytest.mark.parametrize(("text", "words"), NOT_FOLLOWED)
def test_an_entry_with_parts_that_are_not_followed(text: str, words: str) -> None:
    made = shell(f"menuentry x {{\n{text}\nlinux /k\n}}\n", {(1, "/more"): "halt"})
    [one] = made.entries
    assert words in one.unfollowed
    assert made.unfollowed == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("linux /k; initrd newc:etc/x:/b", "its command `initrd`"),
        ("linux /boot/vmlinuz*", "its command `linux`"),
        ("regexp --set=1:a x y; linux /k$a", "the variable a in its command `linux`"),
        ("read a; b=$a; linux /k$b", "the variable b in its command `linux`"),
        ("load_env; linux /k$a", "the variable a in its command `linux`"),
        ("function f { linux /k$1\n}\nf 2", "the variable 1 in its command `linux`"),
        ("for a in b; do set k=$a; done; linux /k$a", "the variable a in its command `linux`"),
        ("ntldr /bootmgr", "its command `ntldr`"),
    ],
)
def test_an_entry_whose_files_are_not_known(text: str, words: str) -> None:
    [one] = shell(f"menuentry x {{\n{text}\n}}\n").entries
    assert words in one.unfollowed


def test_a_kernel_outside_of_any_entry_is_not_followed() -> None:
    made = shell("linux /k\ninitrd /i\nboot\n")
    assert made.entries == []
    assert made.unfollowed == ["its command `linux`", "its command `initrd`", "its command `boot`"]


@pytest.mark.parametrize(
    "text",
    [
        "if keystatus --shift; then halt; fi",
        'if [ "$next_entry" ]; then reboot; fi',
        "if [ -s $prefix/grubenv ]; then load_env; fi\nif [ $a ]; then halt; fi",
        "if search --label elsewhere; then halt; fi",
        "function f { halt; }",
        "function f { if [ $none ]; then f; fi; }; f",
        "function f { if [ $none ]; then return; fi; set gfxpayload=$1; }; f keep",
        "function halt2 { echo; }; halt2",
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


MKCONFIG = """
if [ -s $prefix/grubenv ]; then
  set have_grubenv=true
  load_env
fi
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default="0"
fi
if [ x"${feature_menuentry_id}" = xy ]; then
  menuentry_id_option="--id"
else
  menuentry_id_option=""
fi
export menuentry_id_option
function savedefault {
  if [ -z "${boot_once}" ]; then
    saved_entry="${chosen}"
    save_env saved_entry
  fi
}
function load_video {
  if [ x$feature_all_video_module = xy ]; then
    insmod all_video
  else
    insmod efi_gop
  fi
}
if loadfont unicode ; then
  set gfxmode=auto
  load_video
  insmod gfxterm
fi
terminal_output gfxterm
if [ "${recordfail}" = 1 ] ; then set timeout=30 ; else set timeout=5 ; fi
function gfxmode {
  set gfxpayload="${1}"
  if [ "${1}" = "keep" ]; then set vt_handoff=vt.handoff=7 ; fi
}
set linux_gfx_mode=keep
export linux_gfx_mode
menuentry 'Debian GNU/Linux' --class debian --class os $menuentry_id_option 'simple' {
  load_video
  gfxmode $linux_gfx_mode
  insmod gzio
  if [ x$grub_platform = xxen ]; then insmod xzio; insmod lzopio; fi
  insmod ext2
  if [ x$feature_platform_search_hint = xy ]; then
    search --no-floppy --fs-uuid --set=root --hint-bios=hd0,gpt1 --hint='hd0,gpt1'  UUID
  else
    search --no-floppy --fs-uuid --set=root UUID
  fi
  echo  'Loading Linux 6.1 ...'
  linux  /boot/vmlinuz-6.1 root=UUID=UUID ro  quiet $vt_handoff
  initrd  /boot/initrd.img-6.1
}
submenu 'Advanced options for Debian GNU/Linux' $menuentry_id_option 'advanced' {
  menuentry 'Debian GNU/Linux, with Linux 6.1' --class gnu $menuentry_id_option 'recovery' {
    search --no-floppy --fs-uuid --set=root UUID
    linux  /boot/vmlinuz-6.1 root=UUID=UUID ro single
    initrd  /boot/initrd.img-6.1
  }
}
if [ "$grub_platform" = "efi" ]; then
  fwsetup --is-supported
  if [ "$?" = 0 ]; then
    menuentry 'UEFI Firmware Settings' $menuentry_id_option 'uefi-firmware' {
      fwsetup
    }
  fi
fi
if [ -f  ${config_directory}/custom.cfg ]; then
  source ${config_directory}/custom.cfg
elif [ -z "${config_directory}" -a -f  $prefix/custom.cfg ]; then
  source $prefix/custom.cfg
fi
"""


def test_one_of_grub_mkconfig() -> None:
    """A menu in the shape that grub-mkconfig of Debian 12 gives it."""
    made = shell(MKCONFIG.replace(" UUID", f" {UUID}"))
    assert made.unfollowed == []
    assert [one.title for one in made.entries] == [
        "Debian GNU/Linux",
        "Advanced options for Debian GNU/Linux > Debian GNU/Linux, with Linux 6.1",
    ]
    for one in made.entries:
        assert [load.place for load in one.loads] == [
            Location(3, "/boot/vmlinuz-6.1"),
            Location(3, "/boot/initrd.img-6.1"),
        ]


def test_a_configuration_that_is_too_large() -> None:
    with pytest.raises(ScriptError, match="it asks for more work than any menu needs"):
        shell("source /a", {(1, "/a"): "#" * (9 << 20)})
