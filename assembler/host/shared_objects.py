"""The one way to load a C library."""

from typing import Any

from cffi import FFI

from assembler.errors import HostError


def load_library(ffi: FFI, soname: str, *, debian: str, nixpkgs: str) -> Any:
    """Open a library, whose packages are told where that fails; raises HostError."""
    try:
        return ffi.dlopen(soname)
    except OSError as error:
        why = str(error).split(".  Additionally")[0].rpartition(f"{soname}: ")[2]
        raise HostError(
            f"the library {soname} cannot be loaded ({why}): it is in the package {debian} "
            f"(Debian) or {nixpkgs} (nixpkgs), where LD_LIBRARY_PATH has to name it"
        ) from None
