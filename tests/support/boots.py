"""NixOS systems as boot loaders see them, in a store below a directory."""

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assembler.store.paths import StoreRoot
from tests.support.helpers import output
from tests.support.systems import made_up_kernel


def path_of(name: str, digit: str = "0") -> str:
    """A store path with a hash of 32 equal digits."""
    return f"/nix/store/{digit * 32}-{name}"


def put(store: StoreRoot, path: str, content: str | bytes = "") -> str:
    """Make a file of the image with the directories above it; returns its path."""
    file = store.host(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def link(store: StoreRoot, path: str, target: str) -> None:
    """Make a symlink of the image."""
    file = store.host(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.symlink_to(target)


def add_system(
    store: StoreRoot,
    digit: str,
    params: Sequence[str] = ("loglevel=4",),
    specialisations: Mapping[str, str] = {},
    *,
    bootspec: bool = True,
    name: str = "",
) -> str:
    """Add a system as NixOS builds it, with its kernel and initrd; returns its toplevel.

    `specialisations` are toplevels by name; `name` is boot.loader.grub.configurationName.
    """
    kernel, initrd = path_of("linux-6.6", digit), path_of("initrd-linux-6.6", digit)
    top = path_of("nixos-system-demo", digit)
    put(store, f"{kernel}/bzImage", made_up_kernel(2048, stub=True))
    put(store, f"{initrd}/initrd", gzip.compress(b"initrd"))
    put(store, f"{top}/init", "#!/bin/sh\n")
    link(store, f"{top}/kernel", f"{kernel}/bzImage")
    link(store, f"{top}/initrd", f"{initrd}/initrd")
    put(store, f"{top}/kernel-params", " ".join(params))
    put(store, f"{top}/nixos-version", f"24.05.{digit}")
    put(store, f"{top}/system", "x86_64-linux")
    if name:
        put(store, f"{top}/configuration-name", name)
    for key, other in specialisations.items():
        link(store, f"{top}/specialisation/{key}", other)
    document = {
        "org.nixos.bootspec.v1": {
            "init": f"{top}/init",
            "initrd": f"{initrd}/initrd",
            "kernel": f"{kernel}/bzImage",
            "kernelParams": [*params],
            "label": f"NixOS 24.05.{digit} (Linux 6.6)",
            "system": "x86_64-linux",
            "toplevel": top,
        },
        "org.nixos.specialisation.v1": {
            key: json.loads(store.host(f"{other}/boot.json").read_text())
            for key, other in specialisations.items()
            if bootspec
        },
    }
    if bootspec:
        put(store, f"{top}/boot.json", json.dumps(document))
    return top


# What nixpkgs' grub.nix hands to toXML for `boot.loader.grub.device = "nodev"`.
NIXOS_SETTINGS: dict[str, Any] = {
    "backgroundColor": "",
    "bootPath": "/boot",
    "bootloaderId": "NixOS-boot",
    "canTouchEfiVariables": False,
    "configurationLimit": 100,
    "copyKernels": False,
    "default": "0",
    "devices": ["nodev"],
    "efiInstallAsRemovable": False,
    "efiSupport": False,
    "efiSysMountPoint": "/boot",
    "entryOptions": "--class nixos --unrestricted",
    "extraConfig": "",
    "extraEntries": "",
    "extraEntriesBeforeNixOS": False,
    "extraGrubInstallArgs": [],
    "extraPerEntryConfig": "",
    "extraPrepareConfig": "",
    "font": "",
    "forceInstall": False,
    "fsIdentifier": "uuid",
    "fullName": "grub",
    "fullVersion": "2.12",
    "gfxmodeBios": "1024x768",
    "gfxmodeEfi": "auto",
    "gfxpayloadBios": "text",
    "gfxpayloadEfi": "keep",
    "grub": "",
    "grubEfi": "",
    "grubTarget": "",
    "grubTargetEfi": "",
    "path": "/bin",
    "shell": "/bin/sh",
    "splashImage": "",
    "splashMode": "stretch",
    "storePath": "/nix/store",
    "subEntryOptions": "--class nixos",
    "theme": "",
    "timeout": 5,
    "timeoutStyle": "menu",
    "useOSProber": False,
    "users": {},
}


def to_xml(scratch: Path, settings: Mapping[str, Any]) -> bytes:
    """What Nix's own builtins.toXML makes of a value."""
    file = scratch / "settings.json"
    file.write_text(json.dumps(settings))
    expression = f"builtins.toXML (builtins.fromJSON (builtins.readFile {file}))"
    text = output("nix-instantiate", "--eval", "--strict", "--json", "-E", expression)
    content: str = json.loads(text)
    return content.encode()


def add_settings(store: StoreRoot, scratch: Path, digit: str = "x", **settings: Any) -> str:
    """Add a grub-config.xml with NixOS's settings but for those given; returns its path."""
    path = path_of("grub-config.xml", digit)
    return put(store, path, to_xml(scratch, {**NIXOS_SETTINGS, **settings}))


def script_check(text: str) -> None:
    """Have GRUB's own parser read a grub.cfg."""
    output("grub-script-check", stdin=text.encode())
