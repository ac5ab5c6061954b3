"""The one way to load a C library, and all that are loaded."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from cffi import FFI

from assembler.errors import HostError


@dataclass(frozen=True, slots=True)
class SharedLibrary:
    """A C library that is opened when the program runs."""

    name: str  # by which it is opened
    debian: str  # the package that has it
    nixpkgs: str


# A build may put absolute paths in the place of these names, as nix/package.nix does.
LIBCOM_ERR = SharedLibrary("libcom_err.so.2", "libcom-err2", "e2fsprogs")
LIBEXT2FS = SharedLibrary("libext2fs.so.2", "libext2fs2", "e2fsprogs")
LIBFDISK = SharedLibrary("libfdisk.so.1", "libfdisk1", "util-linux")
LIBZSTD = SharedLibrary("libzstd.so.1", "libzstd1", "zstd")


@cache
def load_library(library: SharedLibrary, declarations: str) -> tuple[FFI, Any]:
    """Open a library, with C declarations of what is called: cffi's FFI, and the library.

    Raises HostError with the packages that have the library where it cannot be loaded.
    """
    ffi = FFI()
    ffi.cdef(declarations)
    name = library.name
    try:
        return ffi, ffi.dlopen(name)
    except OSError as error:
        why = str(error).split(".  Additionally")[0].rpartition(f"{name}: ")[2]
        raise HostError(
            f"the library {name} cannot be loaded ({why}): it is in the package {library.debian} "
            f"(Debian) or {library.nixpkgs} (nixpkgs), where LD_LIBRARY_PATH has to name it"
        ) from None
