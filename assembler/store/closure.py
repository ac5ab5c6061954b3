"""The closure: which store paths must be on the machine, with their registration."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from assembler.errors import RequestError
from assembler.store import buildtime, live, registration
from assembler.store.derivation import derivation_problems, is_derivation
from assembler.store.paths import StoreRoot
from assembler.store.registration import PathInfo


@dataclass(frozen=True, slots=True)
class Closure:
    """Store paths in order, closed under references (`problems` says where they are not)."""

    infos: tuple[PathInfo, ...]

    @property
    def paths(self) -> list[str]:
        """The store paths, sorted."""
        return [info.path for info in self.infos]

    @classmethod
    def merge(cls, infos: Iterable[PathInfo]) -> "Closure":
        """One closure out of several sources; raises RequestError where they disagree."""
        merged: dict[str, PathInfo] = {}
        problems = []
        for info in infos:
            known = merged.setdefault(info.path, info)
            if known.nar_hash != info.nar_hash:
                problems.append(
                    f"{info.path} is registered with two hashes: "
                    f"sha256:{known.nar_hash} and sha256:{info.nar_hash}"
                )
            elif known.nar_size != info.nar_size:
                problems.append(
                    f"{info.path} is registered with two sizes: "
                    f"{known.nar_size} and {info.nar_size}"
                )
            elif set(known.references) != set(info.references):
                problems.append(f"{info.path} is registered with different references")
        if problems:
            raise RequestError(problems)
        return cls(tuple(merged[path] for path in sorted(merged)))

    def problems(self, store: StoreRoot, required: Sequence[str]) -> list[str]:
        """One line for each path that is absent from the store or from the closure."""
        paths = set(self.paths)
        lines = [f"{path} is not in the closure" for path in required if path not in paths]
        for info in self.infos:
            try:
                store.host(info.path).lstat()
            except OSError as error:
                lines.append(f"{info.path} is in the closure but cannot be read: {error.strerror}")
            else:
                if is_derivation(info.path):
                    lines += derivation_problems(store, info.path)
            lines += [
                f"{info.path} refers to {reference}, which is not in the closure"
                for reference in info.references
                if reference not in paths
            ]
        return lines


def read_closure(
    sources: Sequence[Path],
    store: StoreRoot,
    system: str,
    additional: Sequence[str],
    *,
    build_dependencies: bool = False,
) -> Closure:
    """The closure of `system` and the `additional` paths.

    With no `sources`, the live store is asked; it is asked too for additional paths that no
    source registers, and for the `build_dependencies` of the system where the sources lack any.
    Raises RequestError for a source that is none and for a derivation
    that the store lacks, HostError when Nix fails.
    """
    problems: list[str] = []
    infos: list[PathInfo] = []
    for source in sources:
        try:
            infos += read_source(source)
        except RequestError as error:
            problems += error.problems
    if problems:
        raise RequestError(problems)
    known = {info.path for info in infos}
    wanted = [path for path in additional if path not in known]
    if not sources:
        wanted.insert(0, system)
    try:
        if wanted:
            infos += live.query(store, wanted)
    except RequestError as error:
        problems += error.problems
    try:
        if build_dependencies:
            infos += buildtime.complete(infos, store, system)
    except RequestError as error:
        problems += error.problems
    if problems:
        raise RequestError(list(dict.fromkeys(problems)))
    return Closure.merge(infos)


def read_source(source: Path) -> list[PathInfo]:
    """Read one closureInfo directory or registration file; raises RequestError."""
    file = source / "registration" if os.path.isdir(source) else source
    try:
        text = file.read_bytes().decode()
    except OSError as error:
        raise RequestError(f"cannot read the closure {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RequestError(f"{file} is not a registration: it is not text") from None
    infos = registration.parse(text, str(file))
    if not infos:
        raise RequestError(f"{file} is not a registration: it is empty")
    return infos
