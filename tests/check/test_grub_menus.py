"""Menus in the forms that NixOS and grub-mkconfig write are followed as a whole.

Without these tests, check-image can leave out what systems really boot by, or take another entry
for the one that starts by itself.
"""

import pytest

from assembler.check.grub.shell import Shell
from assembler.check.grub_chain import default_entry
from assembler.check.menu import Location
from tests.check.test_grub_shell import UUID, FakeFiles

PLATFORMS = [("i386", "pc"), ("x86_64", "efi")]


def run(text: str, platform: tuple[str, str], grubenv: str = "") -> Shell:
    """A menu that the GRUB of a platform reads at its prefix, as it does when it starts."""
    files = {(3, "/boot/grub/grub.cfg"): text, (3, "/boot/grub/grubenv"): grubenv}
    names = {"grub_cpu": platform[0], "grub_platform": platform[1]}
    made = Shell(FakeFiles(files), {"root": "hd0,1", "prefix": "(hd0,3)/boot/grub", **names})
    made.run("normal")
    assert made.unfollowed == []
    assert made.faults == []
    return made


def starts(made: Shell) -> str:
    """The title of the entry that starts by itself."""
    entry, sure = default_entry(made.entries, made.variables["default"])
    assert sure
    assert entry is not None
    return entry.titles[-1]


SEARCH = f"search --set=drive1 --fs-uuid {UUID}\n"
NIXOS = f"""
password_pbkdf2 root grub.pbkdf2.sha512.10000.AA.BB
set superusers="root"
{SEARCH}
if [ -s $prefix/grubenv ]; then
  load_env
fi
if [ "${{next_entry}}" ]; then
  set default="${{next_entry}}"
  set next_entry=
  save_env next_entry
  set timeout=1
  set boot_once=true
else
  set default="${{saved_entry}}"
  set timeout=5
fi
set timeout_style=menu
function savedefault {{
    if [ -z "${{boot_once}}"]; then
    saved_entry="${{chosen}}"
    save_env saved_entry
    fi
}}
if [ "${{grub_platform}}" = "efi" ]; then
  insmod efi_gop
else
  insmod vbe
fi
insmod font
if loadfont ($drive1)/boot/converted-font.pf2; then
  insmod gfxterm
  if [ "${{grub_platform}}" = "efi" ]; then
    set gfxmode=auto
  else
    set gfxmode=1024x768
  fi
  terminal_output gfxterm
fi
background_color '#2F302F'
insmod png
if background_image --mode 'stretch' ($drive1)/boot/background.png; then
  set color_normal=white/black
else
  set menu_color_normal=cyan/blue
fi
set theme=($drive1)/boot/theme/theme.txt
export theme
loadfont ($drive1)/boot/theme/a.pf2
serial --unit=0 --speed=115200
terminal_input --append serial
menuentry "NixOS" --class nixos --unrestricted {{
savedefault
{SEARCH}
  linux ($drive1)//nix/store/k/bzImage init=/nix/store/s/init loglevel=4
  initrd ($drive1)//nix/store/i/initrd ($drive1)//boot/kernels/s-secrets
}}

menuentry "Memtest86+" {{
  linux ($drive1)/boot/memtest.bin console=ttyS0
}}
menuentry "Windows 7" {{
  chainloader (hd0,4)+1
}}
submenu "NixOS - All configurations" --class submenu {{
submenu "NixOS - Configuration 2 (2024-01-01 - 24.05)" --class submenu {{
menuentry "NixOS - Configuration 2 - Default (2024-01-01 - 24.05)" --class nixos {{
{SEARCH}
  multiboot ($drive1)//nix/store/x/xen.gz dom0_mem=1G
  module ($drive1)//nix/store/k/bzImage init=/nix/store/s/init loglevel=4
  module ($drive1)//nix/store/i/initrd
}}

}}
}}
"""
ARGUMENTS = {"init=/nix/store/s/init", "loglevel=4"}


@pytest.mark.parametrize("platform", PLATFORMS)
def test_one_of_nixos(platform: tuple[str, str]) -> None:
    """As install-grub.pl writes it (nixpkgs), with what its options add."""
    made = run(NIXOS, platform)
    last = "NixOS - Configuration 2 - Default (2024-01-01 - 24.05)"
    inside = "NixOS - All configurations > NixOS - Configuration 2 (2024-01-01 - 24.05)"
    assert [one.title for one in made.entries] == [
        *("NixOS", "Memtest86+", "Windows 7", f"{inside} > {last}")
    ]
    assert [one.unfollowed for one in made.entries] == [""] * 4
    first, memtest, windows, xen = ([load.place for load in one.loads] for one in made.entries)
    kernel, initrd = Location(3, "/nix/store/k/bzImage"), Location(3, "/nix/store/i/initrd")
    assert first == [kernel, initrd, Location(3, "/boot/kernels/s-secrets")]
    assert memtest == [Location(3, "/boot/memtest.bin")]
    assert windows == [Location(4, "+1")]
    assert xen == [Location(3, "/nix/store/x/xen.gz"), kernel, initrd]
    assert (
        {*made.entries[0].loads[0].arguments} == {*made.entries[3].loads[1].arguments} == ARGUMENTS
    )


@pytest.mark.parametrize(
    ("grubenv", "title"),
    [
        ("", "NixOS"),
        ("saved_entry=Windows 7\n", "Windows 7"),
        ("next_entry=1\nsaved_entry=Windows 7\n", "Memtest86+"),
        ("saved_entry=gone\n", "NixOS"),
    ],
)
def test_a_saved_entry_of_nixos(grubenv: str, title: str) -> None:
    assert starts(run(NIXOS, PLATFORMS[0], grubenv)) == title


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
insmod gfxmenu
set theme=($root)/grub/themes/t/theme.txt
export theme
background_image -m stretch /grub/a.png
play 480 440 1
if [ "${recordfail}" = 1 ] ; then set timeout=30 ; else set timeout=5 ; fi
function gfxmode {
  set gfxpayload="${1}"
}
set linux_gfx_mode=keep
export linux_gfx_mode
menuentry 'Debian GNU/Linux' --class debian --class os $menuentry_id_option 'simple' {
  load_video
  gfxmode $linux_gfx_mode
  insmod gzio
  if [ x$grub_platform = xxen ]; then insmod xzio; insmod lzopio; fi
  insmod ext2
  cryptomount -u 0123
  set root='hd0,gpt2'
  if [ x$feature_platform_search_hint = xy ]; then
    search --no-floppy --fs-uuid --set=root --hint-bios=hd0,gpt1 --hint='hd0,gpt1'  UUID
  else
    search --no-floppy --fs-uuid --set=root UUID
  fi
  echo  'Loading Linux 6.1 ...'
  linux  /boot/vmlinuz-6.1 root=UUID=UUID ro  quiet
  initrd  /boot/initrd.img-6.1
}
if [ "$grub_platform" = efi -a "$grub_cpu" = x86_64 ]; then
  menuentry "Memory test (efi)" --class memtest $menuentry_id_option "memtest86+" {
    search --no-floppy --fs-uuid --set=root UUID
    linux /memtest86+x64.efi
  }
fi
if [ "$grub_platform" = pc ]; then if cpuid -l ; then
  menuentry "Memory test (64)" --class memtest $menuentry_id_option "memtest86+" {
    linux /memtest86+x64.bin
  }
fi ; fi
if [ "$grub_platform" = pc ]; then if ! cpuid -l ; then
  menuentry "Memory test (32)" --class memtest $menuentry_id_option "memtest86+" {
    linux /memtest86+ia32.bin
  }
fi ; fi
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


XEN = """
menuentry 'Debian GNU/Linux, with Xen hypervisor' --class xen $menuentry_id_option 'xen' {
  search --no-floppy --fs-uuid --set=root UUID
  if [ "$grub_platform" = "pc" -o "$grub_platform" = "" ]; then
    xen_rm_opts=
  else
    xen_rm_opts="no-real-mode edd=off"
  fi
  multiboot2 /boot/xen.gz placeholder ${xen_rm_opts}
  module2 /boot/vmlinuz-6.1 placeholder root=UUID=UUID ro quiet
  module2 --nounzip /boot/initrd.img-6.1
}
"""
BUTTON = """
if cmostest 1:2 ; then
  set default="2"
elif [ "${next_entry}" ] ; then
  set default="${next_entry}"
else
  set default="0"
fi
"""


def mkconfig(text: str = MKCONFIG) -> str:
    return text.replace(" UUID", f" {UUID}")


@pytest.mark.parametrize("platform", PLATFORMS)
def test_one_of_grub_mkconfig(platform: tuple[str, str]) -> None:
    """As grub-mkconfig of Debian 12 and 13 writes it."""
    made = run(mkconfig(), platform)
    linux = [one for one in made.entries if one.titles[-1].startswith("Debian")]
    assert [one.titles[-1] for one in made.entries if one not in linux] == (
        ["Memory test (efi)", "UEFI Firmware Settings"]
        if platform[1] == "efi"
        else ["Memory test (64)", "Memory test (32)"]
    )
    assert [(one.title, one.identity) for one in linux] == [
        ("Debian GNU/Linux", "simple"),
        (
            "Advanced options for Debian GNU/Linux > Debian GNU/Linux, with Linux 6.1",
            "recovery",
        ),
    ]
    for one in linux:
        assert one.unfollowed == ""
        assert [load.place for load in one.loads] == [
            Location(3, "/boot/vmlinuz-6.1"),
            Location(3, "/boot/initrd.img-6.1"),
        ]
    assert starts(made) == "Debian GNU/Linux"


@pytest.mark.parametrize("platform", PLATFORMS)
def test_one_with_xen(platform: tuple[str, str]) -> None:
    [one] = run(mkconfig(XEN), platform).entries
    assert one.unfollowed == ""
    names = ["/boot/xen.gz", "/boot/vmlinuz-6.1", "/boot/initrd.img-6.1"]
    assert [load.place for load in one.loads] == [Location(3, name) for name in names]


def test_an_entry_by_its_name() -> None:
    """grub-set-default writes --id and titles of submenus."""
    made = run(mkconfig(), PLATFORMS[0], "next_entry=advanced>recovery\n")
    assert starts(made) == "Debian GNU/Linux, with Linux 6.1"


def test_a_button_that_chooses_the_entry() -> None:
    made = run(BUTTON + mkconfig(XEN), PLATFORMS[0])
    assert default_entry(made.entries, made.variables["default"]) == (made.entries[0], False)


def test_entries_of_the_administrators() -> None:
    """GRUB finds custom.cfg beside grub.cfg."""
    files = {
        (3, "/boot/grub/grub.cfg"): mkconfig(),
        (3, "/boot/grub/custom.cfg"): "menuentry own {\n linux /own\n}\n",
    }
    made = Shell(FakeFiles(files), {"root": "hd0,1", "prefix": "(hd0,3)/boot/grub"})
    made.run("normal")
    assert made.entries[-1].title == "own"
    assert [place.path for place in made.files] == ["/boot/grub/grub.cfg", "/boot/grub/custom.cfg"]
