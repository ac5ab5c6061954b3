"""Which processors a system is for, and what they are called elsewhere."""

from assembler.errors import RequestError
from assembler.store.paths import Store

_DEFAULT = "x86_64-linux"


def read_architecture(store: Store, system: str) -> str:
    """The platform of a toplevel as Nix calls it, from its file `system`.

    One that has no such file, as no NixOS system, counts as x86_64-linux.
    """
    try:
        text = store.host(store.resolve(f"{system}/system")).read_text()
    except (OSError, ValueError, RequestError):
        return _DEFAULT
    return text.strip() or _DEFAULT
