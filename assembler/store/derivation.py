"""What a derivation builds: the outputs that a `.drv` file names."""

import re

from assembler.errors import RequestError, reason
from assembler.host.regular import read_file
from assembler.store.paths import Store, is_store_path

SUFFIX = ".drv"

# `Derivation::unparse` in Nix's src/libstore/derivations.cc: the outputs come first, each with
# its name, path, hash algorithm and hash. An experimental form has a version in front of them.
_OUTPUT = r'\("([^"\\]+)","([^"\\]*)","[^"\\]*","[^"\\]*"\)'
_HEAD = re.compile(rf'(?:Derive\(|DrvWithVersion\("[^"\\]+",)\[({_OUTPUT}(?:,{_OUTPUT})*)\],')


def is_derivation(path: str) -> bool:
    """Whether Nix treats a store path as a derivation: its name ends in .drv."""
    return path.endswith(SUFFIX)


def read_outputs(store: Store, path: str) -> dict[str, str]:
    """Output name → store path, for the derivation at a store path.

    Leaves out outputs whose path is known only after the build (of floating content-addressed
    derivations), as Nix does. Raises RequestError for a file that is no derivation.
    """
    try:
        if store.link(path) is not None:
            raise RequestError(f"{path} is not a derivation, but a symlink")
        text = read_file(store.host(path)).decode()
    except OSError as error:
        raise RequestError(f"cannot read the derivation {path}: {reason(error)}") from None
    except UnicodeDecodeError:
        text = ""
    head = _HEAD.match(text)
    if head is None:
        raise RequestError(f"{path} is not a derivation, though its name says so")
    pairs = re.findall(_OUTPUT, head[1])
    return {name: output for name, output in pairs if is_store_path(output)}


def derivation_problems(store: Store, path: str) -> list[str]:
    """Why a store path cannot be registered as a derivation."""
    try:
        read_outputs(store, path)
    except RequestError as error:
        return list(error.problems)
    return []
