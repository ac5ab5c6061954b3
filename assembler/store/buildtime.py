"""The build-time closure: what Nix needs to build a system once more, offline."""

import logging
from collections.abc import Iterable, Sequence

from assembler.errors import Message, RequestError, Setting
from assembler.store import live
from assembler.store.derivation import is_derivation, read_outputs
from assembler.store.paths import Store, StoreRoot
from assembler.store.registration import PathInfo

log = logging.getLogger(__name__)

_NAMED = Setting("include_build_deps")
_EXAMPLES = 3  # outputs in one warning


def complete(
    infos: Sequence[PathInfo], store: StoreRoot, files: Store, system: str
) -> list[PathInfo]:
    """The derivation of `system`, those of its inputs and all their outputs, as far as missing.

    `infos` are the store paths that are known already; if they have all of these, with the
    derivations in `files`, Nix is not asked. Logs a warning about outputs that the store lacks:
    the inputs of what a binary cache built were never here, and some are not needed again.
    Raises RequestError when the derivation is not registered, or gone, HostError when Nix fails.
    """
    known = {info.path for info in infos}
    outputs = _outputs(known, files)
    if system in outputs and outputs <= known:
        return []
    if infos and not live.has_database(store):
        raise RequestError(
            Message(
                _NAMED,
                f": {store.root} holds no Nix database, and no source of the closure has the "
                f"derivation of {system} with all outputs",
            )
        )
    found = live.query(store, [_deriver(store, system)], include_outputs=True)
    fetched = {info.path for info in found}
    if missing := sorted(_outputs(fetched, store) - fetched):
        log.warning(
            Message(
                _NAMED,
                ": outputs that are not in the store: %d, such as %s; what needs them cannot be "
                "rebuilt offline: `nix-store --realise` their derivations first",
            ),
            len(missing),
            ", ".join(missing[:_EXAMPLES]),
        )
    return found


def _outputs(paths: Iterable[str], store: Store) -> set[str]:
    """The outputs of the derivations that can be read; `Closure.problems` reports the others."""
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
            Message(
                _NAMED,
                f": Nix does not know what built {system}: find its derivation with "
                "nix-instantiate, and give all paths that `nix-store --query --requisites "
                "--include-outputs DERIVATION` lists as ",
                Setting("additional_paths"),
            )
        )
    if live.invalid(store, [deriver]):
        raise RequestError(
            Message(
                _NAMED,
                f": {deriver}, which built {system}, is no longer in the store: run "
                "nix-instantiate on the system's configuration again",
            )
        )
    return deriver
