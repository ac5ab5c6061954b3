"""Write grub.cfg: the menu of a NixOS system, as NixOS itself writes it.

Source: nixpkgs' nixos/modules/system/boot/loader/grub/install-grub.pl for what is in it and in
which order; the language is that of the GRUB manual, sections "Shell-like scripting" and
"Commands". Unlike NixOS, it quotes titles and paths that GRUB's shell would interpret, and
kernel parameters that would break the menu. GRUB also uses a serial port that the kernel parameters
name.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from assembler.boot.bootspec import Bootspec
from assembler.boot.generation import Generation
from assembler.boot.grub.appearance import appearance
from assembler.boot.grub.config import GrubConfig
from assembler.boot.grub.quoting import (
    kernel_words,
    quote,
    quote_title,
    serial_console,
    setting,
)
from assembler.boot.places import Places
from assembler.boot.volumes import Volume
from assembler.errors import RequestError
from assembler.store.paths import STORE

KERNELS = "kernels"  # below /boot
_NAME = "NixOS"
_BOOT_ROOT = "@bootRoot@"
_OWN_TERMINAL = re.compile(r"^[ \t]*(serial|terminal_output)\b", re.MULTILINE)


def grub_cfg(
    config: GrubConfig, generations: Sequence[Generation], default: Generation, places: Places
) -> str:
    """The text of /boot/grub/grub.cfg.

    `default` is what the first entry boots, with its specialisations; the submenu has the newest
    of `generations`, as many as the configuration allows. Raises RequestError where a file system
    lacks the label by which it is to be found.
    """
    menu = _Menu(config, places, _drives(config, places))
    lines = [
        "# Written for NixOS; do not edit: the next rebuild replaces it.",
        *menu.settings(default),
        "",
        *([config.extra_entries] if config.extra_entries_before_nixos else []),
        *menu.entries(_NAME, "", default, config.entry_options, nested=False),
        *([] if config.extra_entries_before_nixos else [config.extra_entries]),
    ]
    # NixOS puts the path in before it adds the submenu.
    text = "\n".join(lines).replace(_BOOT_ROOT, menu.drives.boot_root)
    return "\n".join([text, *menu.all_configurations(generations), ""])


def kernel_copy(path: str) -> str:
    """Where below /boot the copy of a kernel or an initrd in the store is."""
    return f"{KERNELS}/{path.removeprefix(f'{STORE}/').replace('/', '-')}"


def listed_generations(config: GrubConfig, generations: Sequence[Generation]) -> list[Generation]:
    """The generations in the submenu, newest first; NixOS omits those without nixos-version."""
    newest = sorted(generations, key=lambda one: one.number, reverse=True)
    return [one for one in newest[: max(config.configuration_limit, 0)] if one.version]


def copies_kernels(config: GrubConfig, places: Places) -> bool:
    """Whether kernels and initrds are copied below /boot."""
    return config.copy_kernels or places.separate


@dataclass(frozen=True, slots=True)
class _Drives:
    """How GRUB finds /boot and, where it boots from there, the store."""

    boot: str  # a `search` command, empty where $root is right
    boot_root: str  # what @bootRoot@ stands for, with a drive
    store: str | None  # None: kernels are copied
    store_drive: str

    def below_boot(self, name: str) -> str:
        """GRUB's path of what is below /boot."""
        return f"{'' if self.boot_root == '/' else self.boot_root}/{name}"


def _drives(config: GrubConfig, places: Places) -> _Drives:
    copied = copies_kernels(config, places)
    if config.fs_identifier == "provided":  # then NixOS finds no name for a mounted partition
        return _Drives("", places.boot_path or "/", None if copied else "", "")
    boot_root = f"($drive1){places.boot_path or '/'}"
    store = None if copied else _search("drive2", config, places.store)
    return _Drives(_search("drive1", config, places.boot), boot_root, store, "($drive2)")


def _search(drive: str, config: GrubConfig, place: Volume) -> str:
    if config.fs_identifier == "uuid":
        return f"search --set={drive} --fs-uuid {place.uuid}"
    if not place.label:
        raise RequestError(
            f"{config.path}: fsIdentifier is label, but the file system {place.uuid} has none"
        )
    return f"search --set={drive} --label {quote(place.label)}"


@dataclass(frozen=True, slots=True)
class _Menu:
    config: GrubConfig
    places: Places
    drives: _Drives

    def settings(self, default: Generation) -> Iterator[str]:
        """All before the first entry."""
        config = self.config
        yield from _users(config)
        if self.drives.store:
            yield self.drives.store
        yield self.drives.boot
        saves = config.default == "saved"
        yield from _STATE.format(
            default='"${saved_entry}"' if saves else setting(config.default),
            timeout=config.timeout,
            style=setting(config.timeout_style),
        ).splitlines()
        yield from appearance(config, self.drives.below_boot)
        if not _OWN_TERMINAL.search(config.extra_config):
            yield from serial_console(kernel_words(default.bootspec.kernel_params))
        yield config.extra_config

    def entries(
        self, name: str, suffix: str, generation: Generation, options: str, *, nested: bool
    ) -> Iterator[str]:
        """The entry of a system and those of its specialisations, in a submenu if `nested`."""
        inner = generation.specialisations
        if nested and inner:
            yield f"submenu {quote_title(name + suffix)} --class submenu {{"
        title = f"{name} - Default{suffix}" if inner else f"{name}{suffix}"
        yield from self._entry(title, generation.bootspec, options)
        for one in inner:
            words = one.configuration_name or f"({one.name} - {one.date} - {one.version})"
            yield from self._entry(f"{name} - {words}", one.bootspec, "")
        if nested and inner:
            yield "}"

    def _entry(self, title: str, spec: Bootspec, options: str) -> Iterator[str]:
        words = [quote(f"init={spec.init}"), *kernel_words(spec.kernel_params)]
        yield " ".join(filter(None, ["menuentry", quote_title(title), options, "{"]))
        if self.config.default == "saved":
            yield "  savedefault"
        for search in filter(None, (self.drives.boot, self.drives.store)):
            yield f"  {search}"
        if self.config.extra_per_entry_config:
            yield f"  {self.config.extra_per_entry_config}"
        yield f"  linux {self._kernel(spec.kernel)} {' '.join(words)}"
        if spec.initrd is not None:
            yield f"  initrd {self._kernel(spec.initrd)}"
        yield "}"
        yield ""

    def _kernel(self, path: str) -> str:
        """GRUB's word for a kernel or an initrd."""
        if self.drives.store is None:
            return self.drives.below_boot(setting(kernel_copy(path)))
        return self.drives.store_drive + quote(self.places.locate(path))

    def all_configurations(self, generations: Sequence[Generation]) -> Iterator[str]:
        """The submenu with the generations, the newest first; GRUB takes none that is empty."""
        listed = listed_generations(self.config, generations)
        if not listed:
            return
        yield f"submenu {quote_title(f'{_NAME} - All configurations')} --class submenu {{"
        for one in listed:
            name, suffix = f"{_NAME} - Configuration {one.number}", f" ({one.date} - {one.version})"
            yield from self.entries(name, suffix, one, self.config.sub_entry_options, nested=True)
        yield "}"


def _users(config: GrubConfig) -> Iterator[str]:
    for user in config.users:
        command = "password_pbkdf2" if user.hashed else "password"
        yield f"{command} {quote(user.name)} {quote(user.secret)}"
    if config.users:
        yield f"set superusers={quote_title(' '.join(user.name for user in config.users))}"


# grub-reboot sets next_entry in grubenv, for one boot; savedefault keeps what was chosen.
_STATE = """\
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
  set default={default}
  set timeout={timeout}
fi
set timeout_style={style}
function savedefault {{
  if [ -z "${{boot_once}}" ]; then
    saved_entry="${{chosen}}"
    save_env saved_entry
  fi
}}
if [ "${{grub_platform}}" = "efi" ]; then
  insmod efi_gop
  insmod efi_uga
else
  insmod vbe
fi
"""
