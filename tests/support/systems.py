"""A tiny NixOS-shaped system in a store of its own, for tests that need no boot."""

import gzip
import json
import os
import struct
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_X86 = "x86_64-linux"
_HASHES = "0123456789abcdfghijklmnpqrsvwxyz"

RandBytes = Callable[[int], bytes]


@dataclass(frozen=True)
class System:
    """A toplevel whose store lies in `root`/nix/store, and its registration."""

    root: Path
    toplevel: str
    registration: Path
    paths: tuple[str, ...]

    @property
    def options(self) -> list[str]:
        """The options with which `assemble` or `prepare-root` uses it."""
        return [
            "--store", str(self.root), "--closure", str(self.registration),
            "--system", self.toplevel,
        ]  # fmt: skip

    def host(self, path: str) -> Path:
        """Where a path of the image's lies on this host."""
        return self.root / path.lstrip("/")


def store_path(number: int, name: str) -> str:
    """A store path with a made-up hash."""
    return f"/nix/store/{_HASHES[number % 32] * 32}-{name}"


def make_system(
    root: Path,
    fstab: str = "",
    bzimage: bytes | None = None,
    installer: str = "",
    randbytes: RandBytes = os.urandom,
    *,
    platform: str = "",
) -> System:
    """Make kernel, initrd, shell and toplevel below `root`, registered with their real hashes.

    `installer` is the path of the program that installs the system's boot loader; `platform` is
    what Nix calls its machine, which is x86_64-linux if the toplevel has no file for it.
    """
    kernel, initrd = store_path(1, "linux"), store_path(2, "initrd")
    shell, toplevel = store_path(3, "bash-5"), store_path(4, "nixos-system-tiny")
    files = {
        f"{kernel}/bzImage": bzimage or made_up_kernel(100_000, stub=True, randbytes=randbytes),
        f"{initrd}/initrd": gzip.compress(randbytes(50_000), mtime=1),  # 0: Pythons differ
        f"{shell}/bin/bash": b"#!\n",
        f"{toplevel}/init": f"#!{shell}/bin/bash\n".encode(),
        f"{toplevel}/nixos-version": b"23.05.tiny",
        f"{toplevel}/boot.json": _bootspec(toplevel, kernel, initrd, platform or _X86).encode(),
    }
    if platform:
        files[f"{toplevel}/system"] = platform.encode()
    if fstab:
        files[f"{toplevel}/etc/fstab"] = fstab.encode()
    if installer:
        script = f"#!/bin/sh\nexport INSTALL_BOOTLOADER='{installer}'\n"
        files[f"{toplevel}/bin/switch-to-configuration"] = script.encode()
    for path, content in files.items():
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(0o555 if path.endswith(("bash", "init")) else 0o444)
    (root / shell.lstrip("/") / "bin/sh").symlink_to("bash")
    (root / toplevel.lstrip("/") / "sw").symlink_to(shell)
    references = {kernel: [], initrd: [], shell: [], toplevel: [kernel, initrd, shell]}
    registration = root / "registration"
    registration.write_text("".join(_register(root, *item) for item in references.items()))
    return System(root, toplevel, registration, tuple(references))


def made_up_kernel(size: int, *, stub: bool = False, randbytes: RandBytes = os.urandom) -> bytes:
    """Random bytes with the header of a Linux kernel (boot.rst) that is whole.

    With a `stub` for EFI it is a program in Microsoft's PE format as well, of one section.
    """
    setup = bytearray(randbytes(1024))
    if stub:
        setup[:2] = b"MZ"
        setup[0x3C:0x40] = (0x40).to_bytes(4, "little")
        optional = bytearray(240)
        struct.pack_into("<H14xI", optional, 0, 0x20B, 0x1000)  # PE32+, where it begins
        struct.pack_into("<I8xH38xI", optional, 56, 0x1000 + size, 10, 16)  # an EFI application
        coff = struct.pack("<HHIIIHH", 0x8664, 1, 0, 0, 0, len(optional), 0)
        place = (size - len(setup), 0x1000, size - len(setup), len(setup))
        section = struct.pack("<8sIIII12xI", b".text", *place, 0x60000020)
        header = b"PE\0\0" + coff + optional + section
        setup[0x40 : 0x40 + len(header)] = header
    setup[0x1F1] = 1  # sectors after the first
    setup[0x1F4:0x1F8] = ((size - len(setup)) // 16).to_bytes(4, "little")
    setup[0x1FE:0x200] = b"\x55\xaa"
    setup[0x202:0x208] = b"HdrS\0\2"  # of a protocol without fields for what is compressed
    setup[0x20E:0x210] = bytes(2)  # of no release
    return bytes(setup) + randbytes(size - len(setup))


def add_path(
    system: System, path: str, files: dict[str, bytes], references: Sequence[str] = ()
) -> Path:
    """Put a store path with these files beside the system; gives a registration of it alone."""
    for name, content in files.items():
        file = system.host(path) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    registration = system.root / f"registration-{Path(path).name}"
    registration.write_text(_register(system.root, path, list(references)))
    return registration


def add_reference(system: System, path: str) -> None:
    """Let the toplevel refer to a store path that is there, and register that as well."""
    kept = system.registration.read_text().partition(f"{system.toplevel}\n")[0]
    kept += _register(system.root, path, [])
    references = [*system.paths[:-1], path]
    system.registration.write_text(kept + _register(system.root, system.toplevel, references))


def _bootspec(toplevel: str, kernel: str, initrd: str, platform: str) -> str:
    return json.dumps(
        {
            "org.nixos.bootspec.v1": {
                "init": f"{toplevel}/init",
                "initrd": f"{initrd}/initrd",
                "kernel": f"{kernel}/bzImage",
                "kernelParams": ["console=ttyS0,115200"],
                "label": "NixOS tiny",
                "system": platform,
                "toplevel": toplevel,
            },
            "org.nixos.specialisation.v1": {},
        }
    )


def _register(root: Path, path: str, references: list[str]) -> str:
    host = str(root / path.lstrip("/"))
    nar = subprocess.run(["nix-store", "--dump", host], capture_output=True, check=True).stdout
    hash_command = ["nix-hash", "--type", "sha256", host]
    digest = subprocess.run(hash_command, capture_output=True, text=True, check=True).stdout.strip()
    lines = [path, digest, str(len(nar)), "", str(len(references)), *references]
    return "".join(line + "\n" for line in lines)
