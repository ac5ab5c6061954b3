"""The settings of systemd-boot are read out of its installer, in every shape that it has had.

Without these tests, the menu of an image can ignore the timeout and other settings of its system.
"""

import logging
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.boot.boot_file import BootFile
from assembler.boot.systemd_boot.settings import (
    SystemdBootSettings,
    parse_settings,
    read_systemd_boot_settings,
)
from assembler.errors import RequestError
from assembler.store.paths import StoreRoot
from tests.support.builders import BUILDER, BY_NUMBER, EXTRA, SCRIPT, TOOL, add_builder, builder
from tests.support.systems import System, make_system, store_path

INSTALL = "/nix/store/00000000000000000000000000000000-coreutils-9/bin/install"


@pytest.fixture
def system(tmp_path: Path) -> System:
    return make_system(tmp_path, installer=SCRIPT)


def test_constants_at_the_head() -> None:
    assert parse_settings("/b", builder()) == SystemdBootSettings(
        builder="/b",
        esp="/boot",
        boot="/boot",
        directory="EFI/nixos",
        distro_name="My Own OS",
        timeout=["timeout 5"],
        rest=["console-mode max"],
        template="",
        systemd="/nix/store/systemd",
    )
    other = {"esp": "/efi", "timeout": "menu-force", "editor": "", "limit": "7", "bitlocker": "1"}
    assert parse_settings("/b", builder(**other, counting="True")) == SystemdBootSettings(
        builder="/b",
        esp="/efi",
        boot="/boot",
        directory="EFI/nixos",
        distro_name="My Own OS",
        timeout=["timeout menu-force"],
        rest=["editor 0", "reboot-for-bitlocker yes", "console-mode max"],
        configuration_limit=7,
        tries=3,
        template="",
        systemd="/nix/store/systemd",
    )


@pytest.mark.parametrize(
    ("values", "timeout", "rest"),
    [
        ({"editor": "True"}, ["timeout 5"], ["console-mode keep"]),
        ({"editor": "False", "timeout": ""}, [], ["editor 0", "console-mode keep"]),
    ],
)
def test_values_where_they_are_used(
    values: dict[str, str], timeout: list[str], rest: list[str]
) -> None:
    found = parse_settings("/b", builder(BY_NUMBER, esp="/efi", limit="9", **values))
    assert found is not None
    assert (found.timeout, found.rest) == (timeout, rest)
    assert (found.esp, found.boot, found.directory) == ("/efi", "/efi", "efi/nixos")
    assert (found.distro_name, found.configuration_limit) == ("Old OS", 9)
    assert found.template.startswith("title {title}\nsort-key {sort_key}\n")
    assert not found.names_of_store_paths


@settings(max_examples=30)
@given(st.text())
def test_any_text_is_a_builder_or_none(text: str) -> None:
    assert parse_settings("/b", text) is None
    parse_settings("/b", builder() + text)


@pytest.mark.filterwarnings("error")
def test_escapes_that_python_warns_of() -> None:
    assert parse_settings("/b", builder() + 'PATTERN = "a\\.conf"\n') is not None


@pytest.mark.parametrize("operator", ["/", "=="])
def test_constants_that_are_nested_without_end(operator: str) -> None:
    text = f"EFI_SYS_MOUNT_POINT = {operator.join(['x'] * 3000)}\n"
    found = parse_settings("/b", builder(BY_NUMBER, editor="True") + text)
    assert found is None or found.esp == "/boot"


@pytest.mark.parametrize("text", ["(" * 100_000, "-" * 100_000, "f(" * 90, "\0", "if\n" * 99])
def test_what_python_cannot_parse(text: str) -> None:
    assert parse_settings("/b", text) is None


def test_the_installer_leads_to_its_settings(system: System) -> None:
    add_builder(system, builder(limit="3"))
    found = read_systemd_boot_settings(StoreRoot(system.root), SCRIPT)
    assert (found.builder, found.configuration_limit) == (f"{BUILDER}/bin/x", 3)
    assert found.extra_files == []


def test_files_that_it_copies(system: System, caplog: pytest.LogCaptureFixture) -> None:
    marker = "EFI/nixos/.extra-files"
    script = (
        f'#!/bin/sh\n{INSTALL} -Dp "{TOOL}" "/boot/"\'efi/it\'"\'"\'s.efi\'\n'
        f'{INSTALL} -D /dev/null "/boot//EFI/nixos/.extra-files/"efi/x.efi\n'
        f"{INSTALL} -Dp {TOOL} /etc/passwd\n{INSTALL} -Dp {TOOL} /boot/../etc/passwd\n\n"
    )
    add_builder(system, builder(), extra=script, files={TOOL: b"MZ"})
    with caplog.at_level(logging.WARNING):
        found = read_systemd_boot_settings(StoreRoot(system.root), SCRIPT)
    assert found.extra_files == [
        BootFile("efi/it's.efi", system.host(TOOL)),
        BootFile(f"{marker}/efi/x.efi", b""),
    ]
    assert caplog.messages == [
        f"not run until the first rebuild, from {EXTRA}: {INSTALL} -Dp {TOOL} {target}"
        for target in ("/etc/passwd", "/boot/../etc/passwd")
    ]


def test_files_that_the_closure_lacks(system: System) -> None:
    add_builder(system, builder(), extra=f"{INSTALL} -Dp {TOOL} /boot/efi/x.efi\n")
    with pytest.raises(RequestError) as caught:
        read_systemd_boot_settings(StoreRoot(system.root), SCRIPT)
    assert caught.value.problems == (
        f"boot.loader.systemd-boot.extraFiles: efi/x.efi: {TOOL} does not exist",
    )


def test_other_commands_are_told(system: System, caplog: pytest.LogCaptureFixture) -> None:
    add_builder(system, builder(), commands="# sign\nsbctl sign 'a b'\nif x; then\n  y 'z\nfi")
    with caplog.at_level(logging.WARNING):
        read_systemd_boot_settings(StoreRoot(system.root), SCRIPT)
    assert caplog.messages == [
        f"{SCRIPT} installs systemd-boot, and does what is not done until the first rebuild: "
        "sbctl sign 'a b'; if 'x;' then; y ''\"'\"'z'; fi"
    ]


def test_commands_of_a_script_around_the_installer_are_told(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    add_builder(system, builder())
    outer = store_path(25, "my-installer")
    system.host(outer).write_text(f'#!/bin/sh\nset -e\n{SCRIPT} "$@"\ncp a /boot/b\n')
    with caplog.at_level(logging.WARNING):
        found = read_systemd_boot_settings(StoreRoot(system.root), outer)
    assert found.distro_name == "My Own OS"
    assert caplog.messages == [
        f"{outer} installs systemd-boot, and does what is not done until the first rebuild: "
        "cp a /boot/b"
    ]


@pytest.mark.parametrize("text", ["#!/bin/sh\n", "#!/usr/bin/python3\nprint()\n"])
def test_no_settings_are_told(system: System, text: str, caplog: pytest.LogCaptureFixture) -> None:
    add_builder(system, text)
    with caplog.at_level(logging.WARNING):
        found = read_systemd_boot_settings(StoreRoot(system.root), SCRIPT)
    assert found == SystemdBootSettings()
    [message] = caplog.messages
    assert message.startswith(f"systemd-boot's settings are not in the closure, where {SCRIPT}")
