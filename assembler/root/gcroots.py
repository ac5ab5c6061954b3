"""Garbage-collector roots for paths that no profile keeps: additional ones, and build inputs."""

from collections.abc import Iterable, Sequence

from assembler.store.registration import PathInfo, requisites

# For Nix, every symlink below gcroots that leads to a store path is a root.
DIRECTORY = "/nix/var/nix/gcroots/assemble"


def gc_roots(infos: Sequence[PathInfo], kept: Iterable[str]) -> dict[str, str]:
    """Symlink → target: the roots for which a collection in the machine deletes nothing.

    Other roots, such as the system profile, keep the store paths `kept` and everything to which
    they refer. Each remaining path gets a link unless another remaining path refers to it. So
    outputs of derivations get links, too: a derivation refers to the derivations of its inputs,
    but not to their outputs, which Nix would keep only with `keep-outputs`.
    """
    alive = requisites(infos, kept)
    rest = [info for info in infos if info.path not in alive]
    referred = {
        reference for info in rest for reference in info.references if reference != info.path
    }
    tops = sorted(info.path for info in rest if info.path not in referred)
    return {f"{DIRECTORY}/{path.rpartition('/')[2]}": path for path in tops}
