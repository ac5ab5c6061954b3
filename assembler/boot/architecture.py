"""Which machine a system is for."""

from assembler.machines import DEFAULT
from assembler.store.paths import AbsentError, Store


def read_architecture(store: Store, system: str) -> str:
    """The platform of a toplevel as Nix calls it, from its file `system`.

    A toplevel without that file, which NixOS never makes, counts as x86_64-linux. Raises
    RequestError if the file is a link that leads out of the closure.
    """
    try:
        text = store.read(f"{system}/system").decode()
    except (OSError, ValueError, AbsentError):
        return DEFAULT.facts.nix
    return text.strip() or DEFAULT.facts.nix
