"""The closure: which store paths must be on the machine, with their registration."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from assembler.errors import RequestError
from assembler.store import buildtime, live
from assembler.store.derivation import derivation_problems, is_derivation
from assembler.store.paths import Store, StoreRoot
from assembler.store.registration import PathInfo
from assembler.store.sources import ReceivingStore, read_source


@dataclass(frozen=True, slots=True)
class Closure:
    """Store paths in order, closed under references (`problems` lists what is missing)."""

    infos: tuple[PathInfo, ...]
    from_store: frozenset[str] = frozenset()  # paths whose hash the live store gave
    hashed: frozenset[str] = frozenset()  # paths whose hash was made from their files

    @property
    def paths(self) -> list[str]:
        """The store paths, sorted."""
        return [info.path for info in self.infos]

    @classmethod
    def merge(cls, infos: Iterable[PathInfo]) -> "Closure":
        """One closure from several sources; raises RequestError if they disagree."""
        merged: dict[str, PathInfo] = {}
        problems = []
        for info in infos:
            known = merged.setdefault(info.path, info)
            if None not in (known.nar_hash, info.nar_hash) and known.nar_hash != info.nar_hash:
                problems.append(
                    f"{info.path} is registered with two hashes: "
                    f"sha256:{known.nar_hash} and sha256:{info.nar_hash}"
                )
            elif None not in (known.nar_size, info.nar_size) and known.nar_size != info.nar_size:
                problems.append(
                    f"{info.path} is registered with two sizes: "
                    f"{known.nar_size} and {info.nar_size}"
                )
            elif set(known.references) != set(info.references):
                problems.append(f"{info.path} is registered with different references")
            merged[info.path] = known._replace(
                nar_hash=known.nar_hash or info.nar_hash, nar_size=known.nar_size or info.nar_size
            )
        if problems:
            raise RequestError(problems)
        return cls(tuple(merged[path] for path in sorted(merged)))

    @property
    def is_hashed(self) -> bool:
        """Whether all hashes are known."""
        return all(info.nar_hash is not None for info in self.infos)

    @property
    def is_sized(self) -> bool:
        """Whether all NAR sizes are known."""
        return all(info.nar_size is not None for info in self.infos)

    def with_dummies(self) -> "Closure":
        """With zeros for unknown hashes: a database with them has the same size."""
        infos = (info._replace(nar_hash=info.nar_hash or "0" * 64) for info in self.infos)
        return replace(self, infos=tuple(infos))

    def to_hash(self, check: bool | None) -> frozenset[str]:
        """The paths to hash while their files are copied.

        Those whose hash is unknown; with `check` True all, with None also those whose hash is not
        from the live store. Paths that were hashed before are not hashed again.
        """
        return frozenset(
            info.path
            for info in self.infos
            if info.path not in self.hashed
            and (
                info.nar_hash is None
                or check
                or (check is None and info.path not in self.from_store)
            )
        )

    def with_sizes(self, sizes: Mapping[str, int]) -> "Closure":
        """With the NAR sizes of the files; raises RequestError if others are registered.

        `sizes` has bytes for every path.
        """
        problems = [
            f"{info.path} does not match its registration: its files make a NAR of "
            f"{sizes[info.path]} bytes, {info.nar_size} are registered"
            for info in self.infos
            if info.nar_size not in (None, sizes[info.path])
        ]
        if problems:
            raise RequestError(problems)
        infos = (info._replace(nar_size=sizes[info.path]) for info in self.infos)
        return replace(self, infos=tuple(infos))

    def with_hashes(self, hashes: Mapping[str, str]) -> "Closure":
        """With the hashes of files; raises RequestError if others are registered.

        `hashes` has a hexadecimal SHA-256 for each path that was hashed.
        """
        problems = [
            f"{info.path} does not match its registration: expected sha256:{info.nar_hash}, "
            f"got sha256:{hashes[info.path]}"
            for info in self.infos
            if info.nar_hash is not None and hashes.get(info.path, info.nar_hash) != info.nar_hash
        ]
        if problems:
            raise RequestError(problems)
        infos = (
            info._replace(nar_hash=hashes.get(info.path, info.nar_hash)) for info in self.infos
        )
        return replace(self, infos=tuple(infos))

    def problems(self, store: Store, required: Sequence[str]) -> list[str]:
        """One line for each path that is absent from the store or from the closure."""
        paths = set(self.paths)
        lines = [f"{path} is not in the closure" for path in required if path not in paths]
        for info in self.infos:
            fault = store.fault(info.path)
            if fault:
                lines.append(f"{info.path} is in the closure but cannot be read: {fault}")
            elif is_derivation(info.path):
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
    files: ReceivingStore,
    *,
    build_dependencies: bool = False,
) -> Closure:
    """The closure of `system` and the `additional` paths; `files` gets the files of exports.

    Without `sources` it comes from the live store. So do additional paths that no source
    registers, and with `build_dependencies` what the sources lack of those. Raises RequestError
    for a file that is no source and for a derivation that the store lacks, HostError when Nix
    fails.
    """
    problems: list[str] = []
    infos: list[PathInfo] = []
    for source in sources:
        try:
            infos += read_source(source, files.receive)
        except RequestError as error:
            problems += error.problems
    if problems:
        raise RequestError(problems)
    known = {info.path for info in infos}
    wanted = [path for path in additional if path not in known]
    if not sources:
        wanted.insert(0, system)
    asked: list[PathInfo] = []
    try:
        if wanted:
            asked += live.query(store, wanted)
    except RequestError as error:
        problems += error.problems
    try:
        if build_dependencies:
            asked += buildtime.complete([*infos, *asked], store, files, system)
    except RequestError as error:
        problems += error.problems
    if problems:
        raise RequestError(list(dict.fromkeys(problems)))
    closure = Closure.merge([*infos, *asked])
    # The store's hashes are not for files from exports.
    from_store = {info.path for info in asked} - files.in_exports - files.unpacked
    hashed = files.unpacked - files.in_exports
    return replace(closure, from_store=frozenset(from_store), hashed=frozenset(hashed))
