"""The boot loader of a system is found by the program that installs it.

Without these tests, an image can get another boot loader than the one of its system.
"""

import json
from pathlib import Path

import pytest

from assembler.boot.find_installer import read_installer
from assembler.boot.installer import Installer
from assembler.boot.system import SystemInstaller
from assembler.store.paths import StoreRoot
from tests.support.systems import store_path

TOPLEVEL = store_path(4, "nixos-system-tiny")
SWITCH = f"{TOPLEVEL}/bin/switch-to-configuration"
WRAPPER = "#!/bin/bash\nexport OUT='/nix/store/x'\nexport INSTALL_BOOTLOADER='{}'\nexec x\n"


@pytest.fixture
def store(tmp_path: Path) -> StoreRoot:
    root = StoreRoot(tmp_path)
    root.host(TOPLEVEL).mkdir(parents=True)
    return root


def write(store: StoreRoot, path: str, content: str | bytes) -> str:
    file = store.host(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("name", "loader"),
    [
        ("install-grub.sh", "grub"),
        ("install-systemd-boot.sh", "systemd-boot"),
        ("systemd-boot-builder.py", "systemd-boot"),
        ("limine-install.sh", "limine"),
        ("refind-install.py", "refind"),
        ("lanzaboote-tool/bin/lzbt", "lanzaboote"),
        ("install-extlinux-conf.sh", "generic-extlinux-compatible"),
        ("extlinux-conf-builder.sh -t 5 -c", "generic-extlinux-compatible"),
        ("raspberrypi-builder.sh -d /boot", "raspberrypi"),
        ("init-script-builder.sh", "init-script"),
        ("generations-dir-builder.sh", "generations-dir"),
        ("no-bootloader", "none"),
        ("coreutils-9/bin/true", "none"),
        ("systemd-boot-uki-installer", "systemd-boot-uki-installer"),
        ("tools/bin/install-mine", "install-mine"),
    ],
)
@pytest.mark.parametrize(
    "script",
    [
        WRAPPER,
        "\x7fELF\0\0--set 'INSTALL_BOOTLOADER' '{}'\0\1",
        "chomp(my $install = <<'EOFBOOTLOADER');\n{}\nEOFBOOTLOADER\n",
        'system("{} $out") == 0 or exit 1;\n',
    ],
)
def test_installers_are_known_by_name(
    store: StoreRoot, script: str, name: str, loader: str
) -> None:
    program = store_path(5, name)
    write(store, SWITCH, script.format(program))
    assert read_installer(store, TOPLEVEL) == Installer(loader, program.partition(" ")[0])


def test_a_wrapped_installer_is_followed(store: StoreRoot) -> None:
    """Users put scripts of their own around the installer, and lanzaboote one around its own."""
    binary = write(store, store_path(6, "coreutils-9") + "/bin/true", b"\x7fELF\0")
    inner = write(store, store_path(7, "bootinstall"), f"{binary}\n{store_path(8, 'l')}/bin/lzbt x")
    outer = write(store, store_path(9, "outer"), f"#!/bin/sh\n{binary} || {inner} $@\n")
    write(store, SWITCH, WRAPPER.format(outer))
    assert read_installer(store, TOPLEVEL) == Installer("lanzaboote", outer)


@pytest.mark.parametrize("text", ["#!/bin/sh\nexit 0\n", "#!/bin/sh\nset -e\n\n: \n", ""])
def test_a_script_that_does_nothing_is_no_boot_loader(store: StoreRoot, text: str) -> None:
    program = write(store, store_path(5, "nothing"), text)
    write(store, SWITCH, WRAPPER.format(program))
    expected = "none" if text else "nothing"
    assert read_installer(store, TOPLEVEL) == Installer(expected, program)


def test_no_installer_at_all(store: StoreRoot) -> None:
    write(store, SWITCH, WRAPPER.format(""))
    assert read_installer(store, TOPLEVEL) == Installer("none")


def test_without_a_name_for_it_the_installer_is_looked_for(store: StoreRoot) -> None:
    program = store_path(5, "install-systemd-boot.sh")
    write(store, SWITCH, f"#!/bin/sh\n{program} $out\n")
    assert read_installer(store, TOPLEVEL) == Installer("systemd-boot", program)


@pytest.mark.parametrize(
    ("document", "loader"),
    [
        ({"org.nixos.systemd-boot": {"sortKey": "nixos"}}, "systemd-boot"),
        ({"org.nix-community.lanzaboote": {"sort_key": "x"}}, "lanzaboote"),
        ({"org.nixos.bootspec.v1": {}}, ""),
        ([], ""),
    ],
)
def test_a_system_that_cannot_switch_has_a_bootspec(
    store: StoreRoot, document: object, loader: str
) -> None:
    """Images for appliances leave bin/switch-to-configuration out (system.switch.enable)."""
    write(store, f"{TOPLEVEL}/boot.json", json.dumps(document))
    assert read_installer(store, TOPLEVEL) == Installer(loader, has_switch=False)


def test_nothing_tells(store: StoreRoot) -> None:
    assert read_installer(store, TOPLEVEL) == Installer(has_switch=False)
    write(store, f"{TOPLEVEL}/boot.json", "[" * 100_000)
    assert read_installer(store, TOPLEVEL) == Installer(has_switch=False)


def test_scripts_that_lead_to_each_other_end(store: StoreRoot) -> None:
    one, two = store_path(5, "one"), store_path(6, "two")
    write(store, one, f"#!/bin/sh\n{two}\n")
    write(store, two, f"#!/bin/sh\n{one}\n")
    write(store, SWITCH, WRAPPER.format(one))
    assert read_installer(store, TOPLEVEL) == Installer("one", one)


def test_files_outside_the_store_are_not_read(store: StoreRoot, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("#!/bin/sh\nexit 0\n")
    program = store_path(5, "hook")
    store.host(program).symlink_to("/secret")
    write(store, SWITCH, WRAPPER.format(program))
    assert read_installer(store, TOPLEVEL) == Installer("hook", program)


@pytest.mark.parametrize(
    ("installer", "fault"),
    [
        (Installer("limine", "/nix/store/x"), ""),
        (Installer(), ""),
        (Installer(has_switch=False), "the system has no bin/switch-to-configuration to run"),
        (Installer("none"), "the system is configured without a boot loader"),
        (Installer("raspberrypi"), "what raspberrypi installs does not start a disk"),
    ],
)
def test_the_systems_own_installer_must_be_able_to(installer: Installer, fault: str) -> None:
    advice = "take boot_loader grub, or none if something else starts the disk"
    expected = [f"boot_loader system: {fault}: {advice}"] if fault else []
    assert SystemInstaller.installer_problems(installer) == expected
