"""Lines of grub.cfg for the look of the menu: its font, background picture and theme.

Source: nixpkgs' nixos/modules/system/boot/loader/grub/install-grub.pl.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from assembler.boot.grub.config import GrubConfig
from assembler.boot.grub.quoting import setting

# The names of the files below /boot.
FONT = "converted-font.pf2"
THEME = "theme"


def background(splash_image: str) -> str:
    """The name of a splash image's copy below /boot; .jpg becomes .jpeg, as GRUB's module."""
    suffix = re.search(r"\..[^.]*$", PurePosixPath(splash_image).name)
    return "background" + ("" if suffix is None else suffix[0].replace(".jpg", ".jpeg"))


def appearance(config: GrubConfig, below_boot: Callable[[str], str]) -> Iterator[str]:
    """The lines for what `config` sets; `below_boot` returns GRUB's path of a file below /boot."""
    if config.font:
        yield from _FONT.format(
            font=below_boot(FONT),
            mode_efi=setting(config.gfxmode_efi),
            payload_efi=setting(config.gfxpayload_efi),
            mode_bios=setting(config.gfxmode_bios),
            payload_bios=setting(config.gfxpayload_bios),
        ).splitlines()
    if config.splash_image:
        yield from _splash(config, below_boot)
    if config.theme:
        yield from _theme([file.path for file in config.theme], below_boot(THEME))


def _splash(config: GrubConfig, below_boot: Callable[[str], str]) -> Iterator[str]:
    name = background(config.splash_image)
    if config.background_color:
        yield f"background_color '{config.background_color}'"
    yield from _SPLASH.format(
        module=PurePosixPath(name).suffix.removeprefix("."),
        mode=config.splash_mode,
        image=below_boot(name),
    ).splitlines()


def _theme(names: list[str], directory: str) -> Iterator[str]:
    for module, ending in (("png", r"\.png"), ("jpeg", r"\.jpe?g")):
        if any(re.search(f"{ending}$", name, re.IGNORECASE) for name in names):
            yield f"insmod {module}"
    yield f"set theme={directory}/theme.txt"
    yield "export theme"
    for name in names:
        if name.lower().endswith(".pf2"):
            yield f"loadfont {directory}/{setting(name)}"


_FONT = """\
insmod font
if loadfont {font}; then
  insmod gfxterm
  if [ "${{grub_platform}}" = "efi" ]; then
    set gfxmode={mode_efi}
    set gfxpayload={payload_efi}
  else
    set gfxmode={mode_bios}
    set gfxpayload={payload_bios}
  fi
  terminal_output gfxterm
fi
"""

_SPLASH = """\
insmod {module}
if background_image --mode '{mode}' {image}; then
  set color_normal=white/black
  set color_highlight=black/white
else
  set menu_color_normal=cyan/blue
  set menu_color_highlight=white/blue
fi
"""
