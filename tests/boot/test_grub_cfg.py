"""The menu has the commands that install-grub.pl writes, and grub-script-check accepts it.

Without these tests, an image can start another entry, or with other parameters, than after its
first rebuild.
"""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from assembler.boot.boot_file import BootFile
from assembler.boot.bootspec import Bootspec
from assembler.boot.generation import Generation, Specialisation
from assembler.boot.grub.appearance import background
from assembler.boot.grub.config import GrubConfig, User
from assembler.boot.grub.grub_cfg import grub_cfg, kernel_copy
from assembler.boot.grub.quoting import kernel_words
from assembler.boot.places import Places
from assembler.boot.volumes import Role, Volume
from assembler.errors import RequestError
from assembler.filesystems.ext4.kind import EXT4
from assembler.filesystems.fat.kind import FAT as VFAT
from tests.boot.test_grub_quoting import words
from tests.support.boots import path_of, script_check

ROOT = Volume(Role.ROOT, "6d3c1b0a-0f5e-4b7c-9f1d-2a3b4c5d6e7f", "nixos")
SAME = Places(ROOT, "/boot", ROOT, lambda path: path, separate=False, boot_kind=EXT4)
FAT = Places(
    Volume(Role.BOOT, "ABCD-1234", "BOOT"),
    "",
    ROOT,
    lambda path: path,
    separate=True,
    boot_kind=VFAT,
)
BTRFS = Places(ROOT, "/@/boot", ROOT, lambda path: f"/@{path}", separate=False, boot_kind=EXT4)


def spec(digit: str, *params: str) -> Bootspec:
    top = path_of("nixos-system-demo", digit)
    return Bootspec(
        init=f"{top}/init",
        kernel=f"{path_of('linux-6.6', digit)}/bzImage",
        initrd=f"{path_of('initrd', digit)}/initrd",
        kernel_params=params or ("loglevel=4",),
        label="NixOS",
        system="x86_64-linux",
        toplevel=top,
    )


def generation(number: int, *inner: Specialisation, params: tuple[str, ...] = ()) -> Generation:
    return Generation(number, "2023-11-14", f"24.05.{number}", spec(str(number), *params), inner)


DEBUG = Specialisation("debug", "", "1970-01-01", "24.05.8", spec("8", "debug"))
NAMED = Specialisation("other", "Stable one", "1970-01-01", "24.05.9", spec("9", "quiet"))
DEFAULTS = GrubConfig()
PLAIN = generation(1)
RICH = generation(2, DEBUG, NAMED)


def text_of(
    config: GrubConfig = DEFAULTS,
    generations: tuple[Generation, ...] = (PLAIN,),
    places: Places = SAME,
) -> str:
    """A grub.cfg whose first entry boots the last of the generations."""
    text = grub_cfg(config, generations, generations[-1], places)
    script_check(text)
    return text


def lines_of(text: str, first: str) -> list[str]:
    """The lines of the block whose first line contains `first`, that one among them."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if first in line)
    end = lines.index("}", start)
    return lines[start : end + 1]


def titles(text: str) -> list[str]:
    return [
        shlex.split(line)[1]
        for line in text.splitlines()
        if line.startswith(("menuentry", "submenu"))
    ]


def test_the_whole_text() -> None:
    # As install-grub.pl writes it, but for comments, indentation and empty lines.
    search = "search --set={} --fs-uuid 6d3c1b0a-0f5e-4b7c-9f1d-2a3b4c5d6e7f"
    drive1, drive2 = search.format("drive1"), search.format("drive2")
    body = [
        f"  {drive1}",
        f"  {drive2}",
        "  linux ($drive2)/nix/store/11111111111111111111111111111111-linux-6.6/bzImage "
        "init=/nix/store/11111111111111111111111111111111-nixos-system-demo/init loglevel=4",
        "  initrd ($drive2)/nix/store/11111111111111111111111111111111-initrd/initrd",
        "}",
        "",
    ]
    assert text_of().splitlines() == [
        "# Written for NixOS; do not edit: the next rebuild replaces it.",
        drive2,
        drive1,
        "if [ -s $prefix/grubenv ]; then",
        "  load_env",
        "fi",
        'if [ "${next_entry}" ]; then',
        '  set default="${next_entry}"',
        "  set next_entry=",
        "  save_env next_entry",
        "  set timeout=1",
        "  set boot_once=true",
        "else",
        "  set default=0",
        "  set timeout=1",
        "fi",
        "set timeout_style=menu",
        "function savedefault {",
        '  if [ -z "${boot_once}" ]; then',
        '    saved_entry="${chosen}"',
        "    save_env saved_entry",
        "  fi",
        "}",
        'if [ "${grub_platform}" = "efi" ]; then',
        "  insmod efi_gop",
        "  insmod efi_uga",
        "else",
        "  insmod vbe",
        "fi",
        "",
        "",
        'menuentry "NixOS" --class nixos --unrestricted {',
        *body,
        "",
        'submenu "NixOS - All configurations" --class submenu {',
        'menuentry "NixOS - Configuration 1 (2023-11-14 - 24.05.1)" --class nixos {',
        *body,
        "}",
    ]


def test_specialisations_are_beside_the_default_and_in_submenus() -> None:
    assert titles(text_of(generations=(PLAIN, RICH))) == [
        "NixOS - Default",
        "NixOS - (debug - 1970-01-01 - 24.05.8)",
        "NixOS - Stable one",
        "NixOS - All configurations",
        "NixOS - Configuration 2 (2023-11-14 - 24.05.2)",
        "NixOS - Configuration 2 - Default (2023-11-14 - 24.05.2)",
        "NixOS - Configuration 2 - (debug - 1970-01-01 - 24.05.8)",
        "NixOS - Configuration 2 - Stable one",
        "NixOS - Configuration 1 (2023-11-14 - 24.05.1)",
    ]


def test_the_default_need_not_be_the_newest_and_the_limit_counts_from_that() -> None:
    generations = [generation(number) for number in (9, 3, 7)]
    text = grub_cfg(GrubConfig(configuration_limit=2), generations, generations[1], SAME)
    assert [title[:23] for title in titles(text)] == [
        "NixOS",
        "NixOS - All configurati",
        "NixOS - Configuration 9",
        "NixOS - Configuration 7",
    ]
    assert path_of("nixos-system-demo", "3") in lines_of(text, '"NixOS"')[3]


def test_a_generation_without_version_is_not_in_the_submenu() -> None:
    text = text_of(generations=(replace(PLAIN, version=""), generation(2)))
    assert "Configuration 1" not in text


def test_kernels_lie_in_a_boot_partition() -> None:
    text = text_of(places=FAT)
    assert "drive2" not in text
    assert lines_of(text, '"NixOS"') == [
        'menuentry "NixOS" --class nixos --unrestricted {',
        "  search --set=drive1 --fs-uuid ABCD-1234",
        # NixOS has two slashes as well; GRUB takes them for one.
        f"  linux ($drive1)//kernels/{'1' * 32}-linux-6.6-bzImage "
        f"init={path_of('nixos-system-demo', '1')}/init loglevel=4",
        f"  initrd ($drive1)//kernels/{'1' * 32}-initrd-initrd",
        "}",
    ]


def test_kernels_may_be_copied_for_the_asking() -> None:
    text = text_of(GrubConfig(copy_kernels=True))
    assert f"linux ($drive1)/boot/kernels/{'1' * 32}-linux-6.6-bzImage " in text


def test_a_store_in_a_subvolume() -> None:
    text = text_of(GrubConfig(extra_config="a @bootRoot@"), places=BTRFS)
    assert f"linux ($drive2)/@/nix/store/{'1' * 32}-linux-6.6/bzImage " in text
    assert "\na ($drive1)/@/boot\n" in text


def test_file_systems_by_label() -> None:
    label = GrubConfig(path="/x", fs_identifier="label")
    assert "\nsearch --set=drive1 --label nixos\n" in text_of(label)
    named = replace(SAME, boot=Volume(Role.ROOT, "u", "two words"))
    assert "\nsearch --set=drive1 --label 'two words'\n" in text_of(label, places=named)
    with pytest.raises(RequestError, match=r"^/x: fsIdentifier is label, but .* ABCD has none"):
        grub_cfg(label, [PLAIN], PLAIN, replace(SAME, store=Volume(Role.BOOT, "ABCD", "")))


def test_file_systems_as_provided_are_where_grub_is() -> None:
    text = text_of(GrubConfig(fs_identifier="provided", extra_config="a @bootRoot@/b"))
    assert "search" not in text
    assert f"  linux /nix/store/{'1' * 32}-linux-6.6/bzImage " in text
    assert "\na /boot/b\n" in text
    copied = text_of(GrubConfig(fs_identifier="provided"), places=FAT)
    assert f"  linux /kernels/{'1' * 32}-linux-6.6-bzImage " in copied


def test_a_saved_default() -> None:
    text = text_of(GrubConfig(default="saved", timeout=-1, timeout_style="hidden"))
    assert '  set default="${saved_entry}"\n  set timeout=-1\nfi\nset timeout_style=hidden' in text
    assert lines_of(text, '"NixOS"')[1] == "  savedefault"
    assert "'2>1'" in text_of(GrubConfig(default="2>1"))


def test_extra_entries_and_configuration() -> None:
    config = GrubConfig(
        extra_config="# mine\n",
        extra_entries='menuentry "mine" {\n  chainloader @bootRoot@/mine\n}\n',
        extra_per_entry_config="set mine=1\nset more=1",
        entry_options="",
        sub_entry_options="--class other",
    )
    after = text_of(config)
    assert titles(after)[:2] == ["NixOS", "mine"]
    assert "\n  chainloader ($drive1)/boot/mine\n" in after
    assert lines_of(after, '"NixOS"')[:5] == [
        'menuentry "NixOS" {',
        *lines_of(text_of(), '"NixOS"')[1:3],
        "  set mine=1",
        "set more=1",
    ]
    assert '24.05.1)" --class other {\n' in after
    before = text_of(replace(config, extra_entries_before_nixos=True))
    assert titles(before)[:2] == ["mine", "NixOS"]
    assert before.index("# mine") < before.index('"mine"')


def test_users() -> None:
    users = (User("root", "grub.pbkdf2.x.AB", hashed=True), User("bob", "Pa$$w0rd!", hashed=False))
    assert text_of(GrubConfig(users=users)).splitlines()[1:4] == [
        "password_pbkdf2 root grub.pbkdf2.x.AB",
        "password bob 'Pa$$w0rd!'",
        'set superusers="root bob"',
    ]


def test_font_picture_and_theme() -> None:
    config = GrubConfig(
        font="/nix/store/f",
        splash_image="/nix/store/x-my.photo.jpg",
        background_color="#2F302F",
        theme=tuple(
            BootFile(name, Path("/nix/store", name), 0o444)
            for name in ("a.PNG", "b c.pf2", "f.pf2", "theme.txt")
        ),
    )
    text = text_of(config, places=BTRFS)
    start = text.index("insmod font")
    assert text[start : text.index('menuentry "NixOS"')].split("\n") == [
        "insmod font",
        "if loadfont ($drive1)/@/boot/converted-font.pf2; then",
        "  insmod gfxterm",
        '  if [ "${grub_platform}" = "efi" ]; then',
        "    set gfxmode=auto",
        "    set gfxpayload=keep",
        "  else",
        "    set gfxmode=1024x768",
        "    set gfxpayload=text",
        "  fi",
        "  terminal_output gfxterm",
        "fi",
        "background_color '#2F302F'",
        "insmod jpeg",
        "if background_image --mode 'stretch' ($drive1)/@/boot/background.jpeg; then",
        "  set color_normal=white/black",
        "  set color_highlight=black/white",
        "else",
        "  set menu_color_normal=cyan/blue",
        "  set menu_color_highlight=white/blue",
        "fi",
        "insmod png",
        "set theme=($drive1)/@/boot/theme/theme.txt",
        "export theme",
        "loadfont ($drive1)/@/boot/theme/'b c.pf2'",
        "loadfont ($drive1)/@/boot/theme/f.pf2",
        "",
        "",
        "",
    ]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("/nix/store/x-nixos.png", "background.png"),
        ("/nix/store/x-a.b.jpeg", "background.jpeg"),
        ("/nix/store/x-a.jpg", "background.jpeg"),
        ("/nix/store/x.y/none", "background"),
    ],
)
def test_what_a_picture_is_called(image: str, expected: str) -> None:
    assert background(image) == expected


def test_what_a_kernel_is_called() -> None:
    assert kernel_copy("/nix/store/x-linux/a/b") == "kernels/x-linux-a-b"


SERIAL = (
    "serial --unit=1 --speed=115200\n"
    "terminal_input --append serial\n"
    "terminal_output --append serial\n"
)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("", True),
        ("set a=serial\n", True),
        ("  serial --unit=0\n", False),
        ("a\nterminal_output console", False),
    ],
)
def test_a_serial_console_of_the_kernel_is_grubs_too(extra: str, expected: bool) -> None:
    one = generation(1, params=("console=tty0", "console=ttyS1,115200n8"))
    text = text_of(GrubConfig(extra_config=extra), (one,))
    assert (SERIAL in text) == expected


def test_a_submenu_of_nothing_is_left_out() -> None:
    assert titles(text_of(GrubConfig(configuration_limit=0))) == ["NixOS"]
    assert titles(text_of(generations=(replace(PLAIN, version=""),))) == ["NixOS"]


def test_without_initrd() -> None:
    one = replace(PLAIN, bootspec=replace(PLAIN.bootspec, initrd=None))
    assert "  initrd" not in text_of(generations=(one,))


@settings(max_examples=60, deadline=None)
@given(kernel=words, param=words, title=words, name=words)
def test_grub_understands_whatever_a_system_holds(
    kernel: str, param: str, title: str, name: str
) -> None:
    boots = replace(spec("1", param), kernel=f"/nix/store/{kernel}")
    inner = Specialisation(name, title, "1970-01-01", "24.05", boots)
    text = text_of(generations=(Generation(1, "2023-11-14", name or "1", boots, (inner,)),))
    linux = {line for line in text.splitlines() if line.startswith("  linux ")}
    assert len(linux) == 1  # four times
    rest = linux.pop().removesuffix(" ".join(["", *kernel_words([param])]))
    assert shlex.split(rest) == ["linux", f"($drive2)/nix/store/{kernel}", f"init={boots.init}"]
    assert titles(text)[1] == f"NixOS - {title or f'({name} - 1970-01-01 - 24.05)'}"
