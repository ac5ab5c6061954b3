"""The build-time closure: what Nix needs to build a system once more, offline."""

import logging
from collections.abc import Iterable, Sequence

from assembler.errors import RequestError
from assembler.store import live
from assembler.store.derivation import is_derivation, read_outputs
from assembler.store.paths import Store, StoreRoot
from assembler.store.registration import PathInfo

log = logging.getLogger(__name__)

_NAMED = 3  # outputs in one warning


def complete(
    infos: Sequence[PathInfo], store: StoreRoot, files: Store, system: str
) -> list[PathInfo]:
    """What `infos` lack of the derivation of `system`, its inputs' and all their outputs.

    The store is asked unless `infos` have them all, with the derivations in `files`. Outputs that
    the store lacks are warned of: what came from a binary cache has inputs that were never here,
    and some are not needed again.
    Raises RequestError when the store does not know the derivation or no longer has it, HostError
    when Nix fails.
    """
    known = {info.path for info in infos}
    outputs = _outputs(known, files)
    if system in outputs and outputs <= known:
        return []
    if infos and not live.has_database(store):
        raise RequestError(
            f"--include-build-deps: {store.root} holds no Nix database, and no --closure has the "
            f"derivation of {system} with all outputs"
        )
    found = live.query(store, [_deriver(store, system)], include_outputs=True)
    fetched = {info.path for info in found}
    if missing := sorted(_outputs(fetched, store) - fetched):
        log.warning(
            "--include-build-deps: outputs that are not in the store: %d, such as %s; what needs "
            "them cannot be rebuilt offline: `nix-store --realise` their derivations first",
            len(missing),
            ", ".join(missing[:_NAMED]),
        )
    return found


def _outputs(paths: Iterable[str], store: Store) -> set[str]:
    """The outputs of those derivations that can be read; `Closure.problems` tells of the others."""
    outputs: set[str] = set()
    for path in filter(is_derivation, paths):
        try:
            outputs.update(read_outputs(store, path).values())
        except RequestError:
            continue
    return outputs


def _deriver(store: StoreRoot, system: str) -> str:
    """The derivation of `system`, which is in the store; raises RequestError."""
    deriver = live.deriver(store, system)
    if deriver is None:
        raise RequestError(
            f"--include-build-deps: Nix does not know what built {system}: find its derivation "
            "with nix-instantiate, and pass all that `nix-store --query --requisites "
            "--include-outputs DERIVATION` lists with --additional-path"
        )
    if live.invalid(store, [deriver]):
        raise RequestError(
            f"--include-build-deps: {deriver}, which built {system}, is no longer in the store: "
            "run nix-instantiate on the system's configuration again"
        )
    return deriver
