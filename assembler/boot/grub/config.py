"""The settings of boot.loader.grub that a closure carries: grub-config.xml.

Source: grubConfig in nixpkgs' nixos/modules/system/boot/loader/grub/grub.nix makes the file with
Nix's builtins.toXML (Nix manual, "Built-in Functions"); install-grub.pl reads it.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from assembler.boot.boot_file import BootFile
from assembler.boot.grub.assets import find_theme
from assembler.boot.grub.xml import Settings, read_settings
from assembler.boot.lookup import find_file
from assembler.boot.places import BOOT
from assembler.errors import Message, RequestError, Setting, reason
from assembler.host.regular import read_file
from assembler.store.paths import STORE, Store, store_path_of
from assembler.store.registration import PathInfo, nearest

log = logging.getLogger(__name__)

_NAME = "-grub-config.xml"
_IDENTIFIERS = ("uuid", "label", "provided")
_HASH = "grub.pbkdf2."
_MADE = f"the hash that grub-mkpasswd-pbkdf2 prints, from {_HASH} on"
_UNTIL = "until the first rebuild"

Image = Callable[[str], bytes | None]  # by a path in the image


@dataclass(frozen=True, slots=True)
class User:
    """Who may enter GRUB's command line; `secret` is a password, or its hash."""

    name: str
    secret: str
    hashed: bool


@dataclass(frozen=True, slots=True)
class GrubConfig:
    """The settings of boot.loader.grub. The defaults are for a system without the file.

    `path` is the store path with the file; empty means that there is none.
    """

    path: str = ""
    timeout: int = 1  # seconds; -1 waits for a key
    timeout_style: str = "menu"
    default: str = "0"  # an entry, or `saved`
    configuration_limit: int = 100  # generations in the submenu
    fs_identifier: str = "uuid"
    entry_options: str = "--class nixos --unrestricted"
    sub_entry_options: str = "--class nixos"
    extra_config: str = ""
    extra_per_entry_config: str = ""
    extra_entries: str = ""
    extra_entries_before_nixos: bool = False
    font: str = ""  # a file in the store, links followed, as all paths here
    splash_image: str = ""
    splash_mode: str = "stretch"
    background_color: str = ""
    theme: tuple[BootFile, ...] = ()
    gfxmode_efi: str = "auto"
    gfxmode_bios: str = "1024x768"
    gfxpayload_efi: str = "keep"
    gfxpayload_bios: str = "text"
    users: tuple[User, ...] = ()
    copy_kernels: bool = False
    boot_path: str = BOOT
    efi_mount_point: str = BOOT
    grub: str = ""  # store path of the GRUB for BIOS; empty: none is to be installed
    grub_efi: str = ""
    full_name: str = "grub"
    full_version: str = ""
    devices: tuple[str, ...] = ("nodev",)
    extra_install_args: tuple[str, ...] = ()


def find_grub_config(store: Store, infos: Iterable[PathInfo], system: str) -> str | None:
    """The store path with the settings of `system`: the nearest by references.

    Of several equally near it is the one for /boot (mirroredBoots makes more), then the first by
    name.
    """
    found = nearest(infos, system, _NAME)
    return next((path for path in found if _is_for_boot(store, path)), next(iter(found), None))


def read_grub_config(store: Store, path: str, image: Image) -> GrubConfig:
    """Read the settings in the store path `path`; raises RequestError with every problem.

    `image` returns the content of the image's file at a path outside the store, None if there is
    none: passwords may be there, and a menu without them would be open. Warns of settings that
    take effect only with the first rebuild of the system itself.
    """
    settings = read_settings(store, path)
    config = _with_assets(_menu(settings), store, settings, image)
    config = _with_installation(config, settings)
    if config.fs_identifier not in _IDENTIFIERS:
        settings.problems.append(f"{path}: fsIdentifier should be {', '.join(_IDENTIFIERS)}")
    if (place := settings.text("storePath", STORE)).rstrip("/") != STORE:
        settings.problems.append(
            f"{path}: the image has its store in {STORE}, and not in {place}: leave "
            "boot.loader.grub.storePath as it is"
        )
    if settings.problems:
        raise RequestError(settings.problems)
    _warn(settings, config)
    return config


def _menu(settings: Settings) -> GrubConfig:
    """The settings of the menu, without its files."""
    own = GrubConfig()
    return GrubConfig(
        path=settings.where,
        timeout=settings.number("timeout", own.timeout),
        timeout_style=settings.text("timeoutStyle", own.timeout_style),
        default=settings.text("default", own.default),
        configuration_limit=settings.number("configurationLimit", own.configuration_limit),
        fs_identifier=settings.text("fsIdentifier", own.fs_identifier),
        entry_options=settings.text("entryOptions", own.entry_options),
        sub_entry_options=settings.text("subEntryOptions", own.sub_entry_options),
        extra_config=settings.text("extraConfig"),
        extra_per_entry_config=settings.text("extraPerEntryConfig"),
        extra_entries=settings.text("extraEntries"),
        extra_entries_before_nixos=settings.flag("extraEntriesBeforeNixOS"),
        splash_mode=settings.text("splashMode", own.splash_mode),
        background_color=settings.text("backgroundColor"),
        gfxmode_efi=settings.text("gfxmodeEfi", own.gfxmode_efi),
        gfxmode_bios=settings.text("gfxmodeBios", own.gfxmode_bios),
        gfxpayload_efi=settings.text("gfxpayloadEfi", own.gfxpayload_efi),
        gfxpayload_bios=settings.text("gfxpayloadBios", own.gfxpayload_bios),
    )


def _with_installation(config: GrubConfig, settings: Settings) -> GrubConfig:
    """Add the settings of GRUB's installation."""
    return replace(
        config,
        copy_kernels=settings.flag("copyKernels"),
        boot_path=settings.text("bootPath", config.boot_path),
        efi_mount_point=settings.text("efiSysMountPoint", config.efi_mount_point),
        grub=settings.text("grub"),
        grub_efi=settings.text("grubEfi"),
        full_name=settings.text("fullName", config.full_name),
        full_version=settings.text("fullVersion", config.full_version),
        devices=settings.texts("devices"),
        extra_install_args=settings.texts("extraGrubInstallArgs"),
    )


def _with_assets(config: GrubConfig, store: Store, settings: Settings, image: Image) -> GrubConfig:
    """Add the files that the menu shows, and the passwords that are in files."""
    return replace(
        config,
        font=_file(store, settings, "font"),
        splash_image=_file(store, settings, "splashImage"),
        theme=_theme(store, settings),
        users=tuple(_users(store, settings, image)),
    )


def _is_for_boot(store: Store, path: str) -> bool:
    with suppress(RequestError):
        return read_settings(store, path).text("bootPath") == BOOT
    return False


def _warn(settings: Settings, config: GrubConfig) -> None:
    if settings.text("extraPrepareConfig"):
        log.warning("boot.loader.grub.extraPrepareConfig is not run %s", _UNTIL)
    if settings.flag("useOSProber"):
        log.warning("the boot menu lists no other operating systems (useOSProber) %s", _UNTIL)
    if config.boot_path != BOOT:
        log.warning("the boot menu is in %s, and not in %s, %s", BOOT, config.boot_path, _UNTIL)


def _in_store(settings: Settings, name: str) -> str:
    """A path in the store, empty where none is set; one elsewhere is left out."""
    path = settings.text(name)
    if path and store_path_of(path) is None:
        log.warning(
            "boot.loader.grub.%s is not in the store, and unused %s: %s", name, _UNTIL, path
        )
        return ""
    return path


def _file(store: Store, settings: Settings, name: str) -> str:
    """A file of the closure, links followed; empty where none is set."""
    path = _in_store(settings, name)
    try:
        return path and find_file(store, path)
    except RequestError as error:
        settings.problems.append(f"{settings.where}: {name}: {error}")
        return ""


def _theme(store: Store, settings: Settings) -> tuple[BootFile, ...]:
    path = _in_store(settings, "theme")
    try:
        return find_theme(store, path) if path else ()
    except RequestError as error:
        settings.problems.append(f"{settings.where}: theme: {error}")
        return ()


def _users(store: Store, settings: Settings, image: Image) -> Iterator[User]:
    """All users; one without a password is a problem."""
    for name, inner in settings.inner("users", "user"):
        user = _user(store, inner, name, image)
        settings.problems += inner.problems
        if user is not None:
            yield user


def _user(store: Store, settings: Settings, name: str, image: Image) -> User | None:
    """One user: a hash is preferred to a password, and a file to a text."""
    kinds = (("hashedPassword", True, _MADE), ("password", False, "the password"))
    for key, hashed, what in kinds:
        secret: str | None = settings.text(key)
        source = key
        if file := settings.text(f"{key}File"):
            source = f"{file} ({key}File)"
            secret = _first_line(store, settings, file, image)
            if secret == "":
                settings.problems.append(
                    f"{settings.where}: {source} has nothing in its first line: write {what} there"
                )
        if hashed and secret and not secret.startswith(_HASH):
            settings.problems.append(
                f"{settings.where}: {source} does not start with {_HASH}: use {what}"
            )
        if secret:
            return User(name, secret, hashed)
    if not settings.problems:
        settings.problems.append(f"{settings.where} has no password: set hashedPassword")
    return None


def _first_line(store: Store, settings: Settings, path: str, image: Image) -> str | None:
    """The first line of a file with a password; None where a problem was added."""
    try:
        if store_path_of(path) is None:
            content = image(path)
            if content is None:
                where = f"the password is in {path}, which is not in the image: put it there with "
                why = ", as a menu that should be locked is not left open"
                raise RequestError(Message(where, Setting("contents"), why))
        else:
            content = read_file(store.host(find_file(store, path)))
        text = content.decode()
    except RequestError as error:
        settings.problems += [Message(f"{settings.where}: ", line) for line in error.problems]
        return None
    except OSError as error:
        settings.problems.append(f"{settings.where}: cannot read {reason(error)}")
        return None
    except UnicodeDecodeError:
        settings.problems.append(f"{settings.where}: {path} is not UTF-8")
        return None
    return text.partition("\n")[0]
