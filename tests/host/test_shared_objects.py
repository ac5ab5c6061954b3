"""C libraries are loaded, and an absent one is an error with its packages.

Without these tests, a missing C library ends the command in a traceback, without the package to
install.
"""

import pytest

from assembler.disk import table_writer
from assembler.errors import HostError
from assembler.filesystems.ext4 import libext2fs
from assembler.host.shared_objects import SharedLibrary, load_library


def test_what_is_installed_is_loaded() -> None:
    assert libext2fs.problems() == []
    assert table_writer.problems() == []


def test_a_library_that_is_absent_is_told_with_its_packages() -> None:
    with pytest.raises(HostError) as caught:
        load_library(SharedLibrary("libabsent.so.7", "libabsent7", "absent"), "")
    assert str(caught.value) == (
        "the library libabsent.so.7 cannot be loaded (cannot open shared object file: No such file "
        "or directory): it is in the package libabsent7 (Debian) or absent (nixpkgs), where "
        "LD_LIBRARY_PATH has to name it"
    )
