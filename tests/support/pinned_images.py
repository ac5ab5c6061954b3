"""Small images whose SHA-256 is pinned, for each set of versions of the tools that make them.

All that is on them is made here, but for GRUB and systemd-boot, which are this host's. Run as a
program, this pins them with the versions of this machine:

    .venv/bin/python -m tests.support.pinned_images
"""

import hashlib
import json
import os
import re
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from assembler import assemble
from assembler.spec import RootSpec, Spec
from assembler.units import MIB
from tests.support.efi_programs import SYSTEMD_BOOT
from tests.support.places import REPOSITORY
from tests.support.programs import run
from tests.support.systems import System, make_system
from tests.support.trees import CAPABILITY

PINS = REPOSITORY / "tests" / "pinned_images.json"  # image → tools with versions → SHA-256
COMMAND = ".venv/bin/python -m tests.support.pinned_images"


@dataclass(frozen=True)
class Image:
    """An image: fields of its Spec, and the tools that take part."""

    options: Mapping[str, Any]
    tools: tuple[str, ...]


_ROOT = ("e2fsprogs", "Nix", "SQLite")
_BIOS = (*_ROOT, "util-linux", "GRUB")
_EFI = (*_BIOS, "dosfstools", "mtools")
_SYSTEMD = (*_ROOT, "util-linux", "systemd-boot", "dosfstools", "mtools")
_LARGE_SECTORS = {"sector_size": 4096}
_SYSTEMD_BOOT = {"boot_loader": "systemd-boot"}

IMAGES = {
    "none": Image({"partition_table": "none"}, _ROOT),
    "legacy": Image({"partition_table": "legacy"}, _BIOS),
    "legacy+boot": Image({"partition_table": "legacy+boot"}, _EFI),
    "legacy+gpt": Image({"partition_table": "legacy+gpt"}, _BIOS),
    "hybrid": Image({"partition_table": "hybrid"}, _EFI),
    "efi, 4096": Image({"partition_table": "efi", **_LARGE_SECTORS}, _EFI),
    "efi, systemd-boot": Image({"partition_table": "efi", **_SYSTEMD_BOOT}, _SYSTEMD),
    "efixbootldr, systemd-boot": Image(
        {"partition_table": "efixbootldr", **_SYSTEMD_BOOT}, _SYSTEMD
    ),
    "efi, systemd-boot, 4096": Image(
        {"partition_table": "efi", **_SYSTEMD_BOOT, **_LARGE_SECTORS}, _SYSTEMD
    ),
}


@dataclass(frozen=True)
class Inputs:
    """What all images are made from."""

    system: System
    contents: Path


def make_inputs(directory: Path) -> Inputs:
    """Make a system, and contents of several kinds, with the same bytes each time."""
    random = Random(1)
    system = make_system(directory / "store", randbytes=random.randbytes)
    files = directory / "files"
    (files / "below").mkdir(parents=True)
    (files / "note").write_bytes(random.randbytes(10_000))
    (files / "link").symlink_to("below/nowhere")
    (files / "below/empty").touch()
    with (files / "below/sparse").open("wb") as file:
        file.truncate(3 * MIB)
        file.seek(MIB)
        file.write(random.randbytes(9000))
    rows = [
        {"source": f"{files}", "target": "/srv/files", "user": "7", "mode": "u=rwX,g=rX,o="},
        {
            "source": f"{files}/note",
            "target": "/usr/local/bin/note",
            "group": "users",
            "mode": "4755",
            "xattrs": {"security.capability": f"0x{CAPABILITY.hex()}"},
        },
    ]
    contents = directory / "contents.json"
    contents.write_text(json.dumps(rows))
    return Inputs(system, contents)


def digest(name: str, inputs: Inputs, out: Path) -> str:
    """Make an image at `out`, and return its SHA-256."""
    system = inputs.system
    root = RootSpec(
        system=system.toplevel,
        store=system.root,
        closures=(system.registration,),
        generations=((3, system.toplevel),),
    )
    sizes = {"additional_space": 16 * MIB, "boot_size": 40 * MIB}
    options = {**sizes, **IMAGES[name].options}
    assemble(Spec(root=root, out=out, contents=inputs.contents, **options))
    with out.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def version(tool: str) -> str:
    """The version of a tool, as the tool itself prints it."""
    return _VERSIONS[tool]()


def versions(name: str) -> str:
    """The tools that take part in making an image, with their versions."""
    return ", ".join(f"{tool} {version(tool)}" for tool in IMAGES[name].tools)


def _printed(pattern: str, *argv: str) -> Callable[[], str]:
    """The version that a program prints."""

    def ask() -> str:
        done = run(*argv)
        found = re.search(pattern + r" (\d\S*)", done.stdout + done.stderr)
        assert found, done
        return found[1]

    return ask


def _grub() -> str:
    """GRUB's version, and a hash of the files that images take: not all hosts keep all of them."""
    version = _printed(r"\(GRUB\)", "grub-mkimage", "--version")()
    state = hashlib.sha256()
    for file in sorted(_grub_files()):
        state.update(os.fsencode(file) + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return f"{version} {state.hexdigest()[:8]}"


def _grub_files() -> Iterator[Path]:
    for platform in ("i386-pc", "i386-efi", "x86_64-efi"):
        yield from (file for file in Path("/usr/lib/grub", platform).glob("*") if file.is_file())
    yield from (file for file in Path("/usr/share/grub").rglob("*") if file.is_file())
    yield from Path("/usr/share/locale").glob("*/LC_MESSAGES/grub.mo")


def _systemd_boot() -> str:
    found = re.search(rb"LoaderInfo: systemd-boot (\S+)", SYSTEMD_BOOT.read_bytes())
    assert found
    return found[1].decode()


_VERSIONS: dict[str, Callable[[], str]] = {
    "dosfstools": _printed(r"mkfs\.fat", "/sbin/mkfs.fat", "--help"),
    "e2fsprogs": _printed(r"EXT2FS Library version", "/sbin/mke2fs", "-V"),
    "GRUB": _grub,
    "mtools": _printed(r"\(GNU mtools\)", "mcopy", "--version"),
    "Nix": _printed(r"\(Nix\)", "nix-store", "--version"),
    "SQLite": lambda: sqlite3.sqlite_version,
    "systemd-boot": _systemd_boot,
    "util-linux": _printed(r"util-linux", "/sbin/sfdisk", "--version"),
}


def pin() -> None:
    """Pin all images. If bytes have changed, those of other versions are no longer known."""
    pins = json.loads(PINS.read_text()) if PINS.exists() else {}
    with tempfile.TemporaryDirectory(prefix="assemble-test-") as directory:
        inputs = make_inputs(Path(directory))
        for name in IMAGES:
            known, tools = pins.get(name, {}), versions(name)
            found = digest(name, inputs, Path(directory, "image"))
            if known.get(tools, found) != found:
                print(f"{name}: the bytes have changed; pins for other versions are removed")
                known = {}
            pins[name] = {**known, tools: found}
    made = {name: pins[name] for name in IMAGES}
    PINS.write_text(json.dumps(made, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    pin()
