"""Garbage-collector roots for what no profile keeps: additional paths, the build-time closure."""

from collections.abc import Iterable, Sequence

from assembler.store.registration import PathInfo, requisites

# Nix takes every symlink below gcroots that leads to a store path for a root.
DIRECTORY = "/nix/var/nix/gcroots/assemble"


def gc_roots(infos: Sequence[PathInfo], kept: Iterable[str]) -> dict[str, str]:
    """Symlink → target, so that a collection in the machine deletes nothing of a closure.

    `kept` are the store paths that other roots, such as the system profile, keep alive with all
    they refer to. Of the rest, what nothing else in the rest refers to gets a link. Outputs
    are of these unless another path refers to them: a derivation refers to its inputs' derivations
    but not to their outputs, and keeps those only where `keep-outputs` is set.
    """
    alive = requisites(infos, kept)
    rest = [info for info in infos if info.path not in alive]
    referred = {
        reference for info in rest for reference in info.references if reference != info.path
    }
    tops = sorted(info.path for info in rest if info.path not in referred)
    return {f"{DIRECTORY}/{path.rpartition('/')[2]}": path for path in tops}
