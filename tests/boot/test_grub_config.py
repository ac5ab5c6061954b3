"""The settings of boot.loader.grub are read from the closure; wrong ones are refused.

Without these tests, a menu that asks for a password on NixOS can be open in the image, or have
other settings.
"""

import logging
from pathlib import Path
from typing import Any

import pytest

from assembler.boot.boot_file import BootFile
from assembler.boot.grub.config import GrubConfig, User, find_grub_config, read_grub_config
from assembler.errors import RequestError
from assembler.store.paths import StoreRoot
from assembler.store.registration import PathInfo
from tests.support.boots import add_settings, link, path_of, put

HASH = "grub.pbkdf2.sha512.10000.AB.CD"
IMAGE = {"/etc/grub-pw": f"{HASH}.AB\n".encode(), "/etc/empty": b"\n"}


@pytest.fixture
def store(tmp_path: Path) -> StoreRoot:
    return StoreRoot(tmp_path / "root")


def read(store: StoreRoot, tmp_path: Path, **settings: Any) -> GrubConfig:
    return read_grub_config(store, add_settings(store, tmp_path, **settings), IMAGE.get)


def problems(store: StoreRoot, tmp_path: Path, **settings: Any) -> list[str]:
    with pytest.raises(RequestError) as caught:
        read(store, tmp_path, **settings)
    return [line.removeprefix(path_of("grub-config.xml", "x")) for line in caught.value.problems]


def test_nixos_defaults_are_ours_but_for_the_timeout(store: StoreRoot, tmp_path: Path) -> None:
    path = path_of("grub-config.xml", "x")
    found = read(store, tmp_path)
    assert found == GrubConfig(path=path, timeout=5, full_version="2.12")


def test_every_setting_is_read(store: StoreRoot, tmp_path: Path) -> None:
    font, splash = put(store, path_of("font.pf2", "f")), put(store, path_of("splash.png", "g"))
    theme = path_of("theme", "h")
    put(store, f"{theme}/theme.txt")
    found = read(
        store,
        tmp_path,
        timeout=-1,
        timeoutStyle="hidden",
        default="saved",
        configurationLimit=3,
        fsIdentifier="label",
        entryOptions="--a",
        subEntryOptions="--b",
        extraConfig="c\n",
        extraPerEntryConfig="d\n",
        extraEntries="e\n",
        extraEntriesBeforeNixOS=True,
        font=font,
        splashImage=splash,
        splashMode="normal",
        backgroundColor="#123456",
        theme=theme,
        gfxmodeEfi="f",
        gfxmodeBios="g",
        gfxpayloadEfi="h",
        gfxpayloadBios="i",
        users={"root": {"password": "j"}},
        copyKernels=True,
        bootPath="/boot1",
        efiSysMountPoint="/efi",
        grub="/nix/store/k",
        grubEfi="/nix/store/l",
        fullName="m",
        fullVersion="n",
        devices=["/dev/o", "/dev/p"],
        extraGrubInstallArgs=["--q r"],
    )
    assert found == GrubConfig(
        path=path_of("grub-config.xml", "x"),
        timeout=-1,
        timeout_style="hidden",
        default="saved",
        configuration_limit=3,
        fs_identifier="label",
        entry_options="--a",
        sub_entry_options="--b",
        extra_config="c\n",
        extra_per_entry_config="d\n",
        extra_entries="e\n",
        extra_entries_before_nixos=True,
        font=font,
        splash_image=splash,
        splash_mode="normal",
        background_color="#123456",
        theme=(BootFile("theme.txt", store.host(f"{theme}/theme.txt"), 0o644),),
        gfxmode_efi="f",
        gfxmode_bios="g",
        gfxpayload_efi="h",
        gfxpayload_bios="i",
        users=(User("root", "j", hashed=False),),
        copy_kernels=True,
        boot_path="/boot1",
        efi_mount_point="/efi",
        grub="/nix/store/k",
        grub_efi="/nix/store/l",
        full_name="m",
        full_version="n",
        devices=("/dev/o", "/dev/p"),
        extra_install_args=("--q r",),
    )


def test_links_to_files_are_followed(store: StoreRoot, tmp_path: Path) -> None:
    font = put(store, path_of("font.pf2", "f"))
    link(store, path_of("link.pf2", "g"), font)
    assert read(store, tmp_path, font=path_of("link.pf2", "g")).font == font


def test_users_have_a_hash_or_a_password(store: StoreRoot, tmp_path: Path) -> None:
    file = put(store, path_of("secret", "f"), "from a file\nmore\n")
    hashed = put(store, path_of("hash", "g"), f"{HASH}.EF\n")
    users = {
        "a": {"hashedPassword": HASH, "password": "x", "passwordFile": None},
        "b": {"hashedPassword": HASH, "hashedPasswordFile": hashed},
        "c": {"passwordFile": file, "password": "x"},
        "d": {"hashedPasswordFile": "/etc/grub-pw", "password": "x"},
    }
    assert read(store, tmp_path, users=users).users == (
        User("a", HASH, hashed=True),
        User("b", f"{HASH}.EF", hashed=True),
        User("c", "from a file", hashed=False),
        User("d", f"{HASH}.AB", hashed=True),
    )


@pytest.mark.parametrize("key", ["passwordFile", "hashedPasswordFile"])
def test_a_menu_that_should_be_locked_is_not_left_open(
    store: StoreRoot, tmp_path: Path, key: str
) -> None:
    assert problems(store, tmp_path, users={"root": {key: "/etc/gone"}}) == [
        ", user 'root': the password is in /etc/gone, which is not in the image: put it there with "
        "contents, as a menu that should be locked is not left open"
    ]
    [empty] = problems(store, tmp_path, users={"root": {key: "/etc/empty"}})
    written = "the hash that grub-mkpasswd-pbkdf2 prints, from grub.pbkdf2. on"
    written = written if key.startswith("hashed") else "the password"
    shown = (
        f", user 'root': /etc/empty ({key}) has nothing in its first line: write {written} there"
    )
    assert empty == shown


def test_what_cannot_be_done_is_told(
    store: StoreRoot, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        found = read(
            store,
            tmp_path,
            extraPrepareConfig="true",
            useOSProber=True,
            bootPath="/boot1",
            font="/etc/font.pf2",
            theme="/etc/theme",
        )
    assert (found.font, found.theme) == ("", ())
    later = "until the first rebuild"
    assert caplog.messages == [
        f"boot.loader.grub.font is not in the store, and unused {later}: /etc/font.pf2",
        f"boot.loader.grub.theme is not in the store, and unused {later}: /etc/theme",
        f"boot.loader.grub.extraPrepareConfig is not run {later}",
        f"the boot menu lists no other operating systems (useOSProber) {later}",
        f"the boot menu is in /boot, and not in /boot1, {later}",
    ]


def test_every_problem_is_told(store: StoreRoot, tmp_path: Path) -> None:
    gone, file = path_of("gone", "f"), put(store, path_of("file", "g"))
    junk = put(store, path_of("junk", "h"), "secret\n")
    found = problems(
        store,
        tmp_path,
        timeout="soon",
        devices="/dev/sda",
        font=gone,
        theme=file,
        fsIdentifier="name",
        users={
            "a": {},
            "b": {"hashedPassword": "x"},
            "c": {"passwordFile": gone},
            "d": {"hashedPasswordFile": junk},
        },
    )
    made = "the hash that grub-mkpasswd-pbkdf2 prints, from grub.pbkdf2. on"
    no_hash = f"does not start with grub.pbkdf2.: use {made}"
    assert found == [
        ": timeout should be a number, not 'soon'",
        f": font: {gone} does not exist",
        f": theme: {file} is not a directory",
        ", user 'a' has no password: set hashedPassword",
        f", user 'b': hashedPassword {no_hash}",
        f", user 'c': {gone} does not exist",
        f", user 'd': {junk} (hashedPasswordFile) {no_hash}",
        ": devices should be a list of strings",
        ": fsIdentifier should be uuid, label, provided",
    ]


def test_a_store_elsewhere_is_refused(store: StoreRoot, tmp_path: Path) -> None:
    assert problems(store, tmp_path, storePath="/nix/store2") == [
        ": the image has its store in /nix/store, and not in /nix/store2: leave "
        "boot.loader.grub.storePath as it is"
    ]
    assert read(store, tmp_path, storePath="/nix/store/").path


def test_a_password_that_is_no_text_is_told(store: StoreRoot, tmp_path: Path) -> None:
    file = put(store, path_of("secret", "f"), b"\xff\n")
    assert problems(store, tmp_path, users={"a": {"passwordFile": file}}) == [
        f", user 'a': {file} is not UTF-8"
    ]


def info(path: str, *references: str) -> PathInfo:
    return PathInfo(path, None, None, references)


def test_the_nearest_settings_are_those_of_the_system(store: StoreRoot, tmp_path: Path) -> None:
    system, installer, inner, inner_installer = (path_of("x", digit) for digit in "1234")
    own = add_settings(store, tmp_path, "z")
    other = add_settings(store, tmp_path, "5")
    infos = [
        info(system, system, inner, installer),
        info(installer, own),
        info(inner, inner_installer),
        info(inner_installer, other),
        info(own),
        info(other),
    ]
    assert find_grub_config(store, infos, system) == own
    assert find_grub_config(store, infos, inner) == other
    assert find_grub_config(store, infos, own) is None


def test_of_mirrored_boots_that_of_boot_is_taken(store: StoreRoot, tmp_path: Path) -> None:
    system = path_of("system", "1")
    paths = [
        put(store, path_of("grub-config.xml", "2"), "no XML"),
        add_settings(store, tmp_path, "3", bootPath="/boot1"),
        add_settings(store, tmp_path, "4", bootPath="/boot"),
        add_settings(store, tmp_path, "5", bootPath="/boot2"),
    ]
    infos = [info(system, *reversed(paths)), *map(info, paths)]
    assert find_grub_config(store, infos, system) == paths[2]
    assert find_grub_config(store, [info(system, *paths[:2])], system) == paths[0]
