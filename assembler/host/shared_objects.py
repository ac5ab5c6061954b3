"""The one way to load a C library."""

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from assembler.errors import HostError

if TYPE_CHECKING:
    from cffi import FFI


@cache
def load_library(declarations: str, soname: str, *, debian: str, nixpkgs: str) -> tuple["FFI", Any]:
    """Open a library by its name, with C declarations of what is called: cffi's FFI, and it.

    Raises HostError with the packages that have the library where it cannot be loaded.
    """
    # Imported here, because parts of this program work without cffi.
    ffi: FFI = import_module("cffi").FFI()
    ffi.cdef(declarations)
    try:
        return ffi, ffi.dlopen(soname)
    except OSError as error:
        why = str(error).split(".  Additionally")[0].rpartition(f"{soname}: ")[2]
        raise HostError(
            f"the library {soname} cannot be loaded ({why}): it is in the package {debian} "
            f"(Debian) or {nixpkgs} (nixpkgs), where LD_LIBRARY_PATH has to name it"
        ) from None
