"""Fill store paths with files as real ones have them: many small, a few large."""

import math
import os
import random
from collections.abc import Sequence
from io import FileIO
from pathlib import Path

from assembler.units import MIB

_MEDIAN = 4096  # bytes of a file in a NixOS closure: most are small
_POOL = 8 * MIB  # random bytes that file contents are cut from
_DEPTH = 7  # directories below each other, at most
_WORDS = (
    *("lib", "share", "bin", "etc", "include", "locale", "python", "perl", "module", "config"),
    *("driver", "doc", "help", "icon", "test", "data", "util", "core", "base", "net", "disk"),
)

# Of the inodes in a store path, one in so many is a directory or a symlink; of the files in a
# closure, one in so many has another name, as in an optimised store.
_DIRECTORY_EVERY, _SYMLINK_EVERY, _LINK_EVERY = 9, 9, 40
_SINGLE_FILE = 2  # a store path of so few inodes is a file, as a derivation is
_LARGE = 0.05  # the part of the files that make up for a sum of sizes that missed its mark


class Filler:
    """Makes files below a root and counts them; the random numbers come from one source."""

    def __init__(self, root: Path, rng: random.Random) -> None:
        self._root, self._rng = root, rng
        self._pool = rng.randbytes(_POOL)
        self._directories = [root / "nix/store"]
        self._files: list[Path] = []
        self.inodes, self.data = 0, 0

    def _place(self, path: str) -> Path:
        """Where `path` goes, with its parents made."""
        place = self._root / path.lstrip("/")
        self._make(place.parent)
        return place

    def _make(self, directory: Path) -> None:
        if not directory.is_dir():
            self._make(directory.parent)
            directory.mkdir()
            self._directories.append(directory)
            self.inodes += 1

    def file(self, path: str, size: int, *, executable: bool = False, start: bytes = b"") -> None:
        """A file of `size` random bytes after `start`, with the mode and time that Nix gives it."""
        self._write(self._place(path), max(size, len(start)), executable, start)

    def _write(self, place: Path, size: int, executable: bool, start: bytes = b"") -> None:
        pool, left = memoryview(self._pool), size - len(start)
        with place.open("xb", buffering=0) as file:
            file.write(start)
            while left:
                at = self._rng.randrange(max(1, _POOL - left))
                left -= file.write(pool[at : at + left])
            self._finish(file, executable)
        self._files.append(place)
        self.data += size

    def _finish(self, file: FileIO, executable: bool) -> None:
        os.fchmod(file.fileno(), 0o555 if executable else 0o444)
        os.utime(file.fileno(), (1, 1))
        self.inodes += 1

    def text(self, path: str, text: str, *, executable: bool = False) -> None:
        """A file with the text given."""
        with self._place(path).open("xb", buffering=0) as file:
            self.data += file.write(text.encode())
            self._finish(file, executable)

    def symlink(self, path: str, target: str) -> None:
        """A symbolic link."""
        self._link(self._place(path), target)

    def _link(self, place: Path, target: str) -> None:
        os.symlink(target, place)
        os.utime(place, (1, 1), follow_symlinks=False)
        self.inodes += 1

    def trees(self, paths: Sequence[str], inodes: int, data: int) -> None:
        """Fill store paths with about `inodes` inodes and exactly `data` bytes together."""
        counts = _shares(self._rng, len(paths), inodes)
        kinds = [_split(count) for count in counts]
        sizes = iter(_sizes(self._rng, sum(files for _, files, _ in kinds), data))
        for path, (directories, files, links) in zip(paths, kinds, strict=True):
            if not directories:
                self.file(path, next(sizes), executable=True)
                continue
            made = self._tree(path, directories)
            for number in range(files):
                place = self._rng.choice(made) / self._name(number)
                if self._files and number % _LINK_EVERY == _LINK_EVERY - 1:
                    os.link(self._rng.choice(self._files), place.with_suffix(".link"))
                self._write(place, next(sizes), number % 5 == 0)
            for number in range(links):
                target = self._rng.choice((f"../{self._name(number)}", str(paths[0]) + "/lib"))
                self._link(self._rng.choice(made) / f"{self._name(number)}.so", target)

    def _tree(self, path: str, directories: int) -> list[Path]:
        """Make a directory at `path` and others below it, `directories` in all."""
        made = [self._root / path.lstrip("/")]
        self._make(made[0])
        for number in range(1, directories):
            parent = self._rng.choice(made)
            if len(parent.parts) - len(made[0].parts) >= _DEPTH:
                parent = made[0]
            made.append(parent / f"{self._name(number)}.d")
            self._make(made[-1])
        return made

    def _name(self, number: int) -> str:
        return f"{self._rng.choice(_WORDS)}-{self._rng.choice(_WORDS)}-{number}"

    def wide_directory(self, path: str, entries: int) -> None:
        """A store path with one directory of `entries` small files."""
        directory = self._root / path.lstrip("/") / "entries"
        self._make(directory)
        for number in range(entries):
            self._write(directory / f"entry-number-{number}", number % 64, False)

    def canonicalise(self) -> None:
        """Give every directory but the store the mode and time that Nix leaves."""
        for directory in reversed(self._directories[1:]):
            directory.chmod(0o555)
            os.utime(directory, (1, 1))


def _shares(rng: random.Random, parts: int, total: int) -> list[int]:
    """Split `total` into unequal whole numbers of at least one."""
    weights = [rng.lognormvariate(0, 1.5) for _ in range(parts)]
    scale = (total - parts) / sum(weights)
    shares = [1 + int(weight * scale) for weight in weights]
    shares[0] += total - sum(shares)
    return shares


def _split(inodes: int) -> tuple[int, int, int]:
    """How many directories, files and symlinks a store path of `inodes` inodes has."""
    if inodes <= _SINGLE_FILE:
        return 0, 1, 0
    directories = 1 + inodes // _DIRECTORY_EVERY
    links = inodes // _SYMLINK_EVERY
    return directories, max(1, inodes - directories - links), links


def _sizes(rng: random.Random, count: int, total: int) -> list[int]:
    """`count` file sizes with the sum `total`, log-normal around a median of a few KB."""
    mean = total / count
    median = min(_MEDIAN, mean / 2)
    mu, sigma = math.log(median), math.sqrt(2 * math.log(mean / median))
    sizes = sorted(int(rng.lognormvariate(mu, sigma)) for _ in range(count))
    # The sum of so skewed a distribution varies much: let its tail make up for that.
    large = sizes[-max(1, int(count * _LARGE)) :]
    small = sizes[: len(sizes) - len(large)]
    scale = max(0.0, (total - sum(small)) / max(1, sum(large)))
    sizes = small + [int(size * scale) for size in large]
    sizes[-1] += max(0, total - sum(sizes))
    rng.shuffle(sizes)
    return sizes
