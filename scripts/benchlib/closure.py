"""Closures to measure with: made up, or copied out of the live store; registered with Nix."""

import os
import random
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from assembler.host import process
from assembler.host.progress import Step
from assembler.root.build import scan_store
from assembler.root.copies import copy_store
from assembler.store import live
from assembler.store.closure import Closure
from assembler.store.paths import STORE, StoreRoot
from assembler.store.registration import PathInfo, format_registration
from assembler.tree.closure_files import ClosureFiles
from assembler.tree.scan import Scanner
from assembler.tree.tree import Tree
from assembler.units import MIB, round_up
from benchlib.fill import Filler

_NIX32 = "0123456789abcdfghijklmnpqrsvwxyz"
_KERNEL, _INITRD = 12 * MIB, 16 * MIB  # bytes, as NixOS has them; less in a small closure
_REFERENCES = 6  # other paths that a store path refers to, at most
_SYSTEM = "x86_64-linux"
# The least that identifies them: Linux, Documentation/arch/x86/boot.rst and lib/decompress.c.
_BZIMAGE = b"".join([bytes(0x1F1), b"\1", bytes(12), b"\x55\xaa", bytes(2), b"HdrS", b"\6\2"])
_ARCHIVE = b"\x89LZO\0\r\n\x1a\n"  # of which nothing more is looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The closure to make up. The same shape gives the same files."""

    size: int  # bytes of file data
    inodes: int
    paths: int
    directory_of: int = 0  # entries of one more directory, in a store path of its own
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Load:
    """A closure in a store of its own, and nothing else in that store."""

    root: Path  # the store's files lie in root/nix/store
    system: str
    paths: int
    inodes: int
    files: tuple[tuple[str, int], ...]  # (host path, size in bytes) of each regular inode, once

    @property
    def data(self) -> int:
        """Bytes in all files."""
        return sum(size for _, size in self.files)


def copy_live(root: Path, system: str) -> Load:
    """Copy the closure of `system` out of the live store into a store at `root`; HostError."""
    infos = live.query(StoreRoot(), [system])
    (root / "nix/store").mkdir(parents=True)
    tree = Tree()
    scan_store(tree, Scanner(tree), Closure.merge(infos), ClosureFiles(StoreRoot(), root))
    copy_store(root, tree, Step(None))
    return _register(root, system, infos)


def make_up(root: Path, shape: Shape) -> Load:
    """Make a closure of the shape given in a store at `root`; raises HostError."""
    rng = random.Random(shape.seed)
    (root / "nix/store").mkdir(parents=True)
    kernel, initrd, software, *others, system = _names(rng, shape.paths)
    fixed = min(_KERNEL, shape.size // 20), min(_INITRD, shape.size // 20)
    filler = Filler(root, rng)
    filler.file(f"{kernel}/bzImage", fixed[0], start=_BZIMAGE)
    filler.file(f"{initrd}/initrd", fixed[1], start=_ARCHIVE)
    filler.file(f"{software}/bin/bash", shape.size // 100, executable=True)
    filler.symlink(f"{software}/bin/sh", "bash")
    _fill_toplevel(filler, system, kernel, initrd, software)
    rest = max(len(others), shape.inodes - filler.inodes)
    filler.trees(others, rest, shape.size - filler.data)
    if shape.directory_of:
        others.append(_store_path(rng, "many-names-1.0"))
        filler.wide_directory(others[-1], shape.directory_of)
    filler.canonicalise()
    references = {path: _refer(rng, others[:n]) for n, path in enumerate(others)}
    references[software] = sorted(others)
    references[system] = sorted([kernel, initrd, software])
    infos = _read_infos(root, sorted([kernel, initrd, software, *others, system]), references)
    return _register(root, system, infos)


def _names(rng: random.Random, count: int) -> list[str]:
    """`count` store paths: kernel, initrd, system path, others, and the toplevel last."""
    named = ["linux-6.1.0", "initrd-linux-6.1.0", "system-path"]
    others = [f"package-{n}-1.{rng.randrange(90)}" for n in range(count - 4)]
    return [_store_path(rng, name) for name in [*named, *others, "nixos-system-benchmark-23.05"]]


def _store_path(rng: random.Random, name: str) -> str:
    return f"{STORE}/{''.join(rng.choices(_NIX32, k=32))}-{name}"


def _refer(rng: random.Random, earlier: Sequence[str]) -> list[str]:
    """Some of the paths made earlier, so that no references go round."""
    return sorted(rng.sample(earlier, min(len(earlier), rng.randint(0, _REFERENCES))))


def _fill_toplevel(filler: Filler, system: str, kernel: str, initrd: str, software: str) -> None:
    """What a bootable NixOS toplevel holds; bootspec v1 is NixOS RFC 125."""
    label = "NixOS benchmark 23.05 (Linux 6.1.0)"
    script = f"#!{software}/bin/sh\n"
    bootspec = (
        '{"org.nixos.bootspec.v1":{'
        f'"init":"{system}/init","initrd":"{initrd}/initrd","kernel":"{kernel}/bzImage",'
        f'"kernelParams":["loglevel=4"],"label":"{label}","system":"{_SYSTEM}",'
        f'"toplevel":"{system}"}},"org.nixos.specialisation.v1":{{}}}}'
    )
    for name, text in {
        "boot.json": bootspec,
        "kernel-params": "loglevel=4",
        "nixos-version": "23.05",
        "system": _SYSTEM,
    }.items():
        filler.text(f"{system}/{name}", text)
    for name in ("activate", "init", "bin/switch-to-configuration"):
        filler.text(f"{system}/{name}", script, executable=True)
    filler.symlink(f"{system}/kernel", f"{kernel}/bzImage")
    filler.symlink(f"{system}/initrd", f"{initrd}/initrd")
    filler.symlink(f"{system}/sw", software)


def _read_infos(
    root: Path, paths: Sequence[str], references: dict[str, list[str]]
) -> list[PathInfo]:
    """The registration of store paths; Nix itself hashes them. Raises HostError."""
    done = process.run(
        ["nix-hash", "--type", "sha256", *(StoreRoot(root).host(path) for path in paths)],
        what="hashing the store paths",
        env={"HOME": str(root)},
    )
    hashes = done.stdout.decode().split()
    return [
        PathInfo(
            path, digest, _nar_size(StoreRoot(root).host(path)), tuple(references.get(path, ()))
        )
        for path, digest in zip(paths, hashes, strict=True)
    ]


def _nar_size(path: Path | os.DirEntry[str]) -> int:
    """Bytes in a path's Nix archive (`dump` in Nix's src/libutil/archive.cc), without the magic
    when `path` is an entry of a directory."""

    def words(*sizes: int) -> int:
        return sum(8 + round_up(size, 8) for size in sizes)

    status = path.stat(follow_symlinks=False)
    size = words(1, 4, 1)  # ( type … )
    if isinstance(path, Path):
        size += words(len("nix-archive-1"))
    if stat.S_ISLNK(status.st_mode):
        return size + words(len("symlink"), len("target"), status.st_size)
    if stat.S_ISREG(status.st_mode):
        executable = words(len("executable"), 0) if status.st_mode & 0o100 else 0
        return size + words(len("regular"), len("contents"), status.st_size) + executable
    size += words(len("directory"))
    with os.scandir(path) as entries:
        for entry in entries:
            size += words(
                len("entry"), 1, len("name"), len(os.fsencode(entry.name)), len("node"), 1
            )
            size += _nar_size(entry)
    return size


def _register(root: Path, system: str, infos: Sequence[PathInfo]) -> Load:
    """Register the paths with Nix, and count what there is. Raises HostError."""
    registration = format_registration(infos)
    live.nix_store(
        StoreRoot(root), ["--load-db"], what="registering the closure", input=registration
    )
    files: list[tuple[str, int]] = []
    seen: set[int] = set()
    for path in (StoreRoot(root).host(info.path) for info in infos):
        for name, status in _walk(path):
            if status.st_ino not in seen and stat.S_ISREG(status.st_mode):
                files.append((name, status.st_size))
            seen.add(status.st_ino)
    return Load(root, system, len(infos), len(seen), tuple(files))


def _walk(top: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Every path from `top` down, in a fixed order, with its status."""
    yield str(top), top.lstat()
    if not top.is_symlink():
        for here, directories, files in os.walk(top):
            directories.sort()
            for name in sorted(directories + files):
                path = os.path.join(here, name)
                yield path, os.lstat(path)
