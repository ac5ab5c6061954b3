"""Find systemd-boot's program, in the closure or on the host."""

from collections.abc import Iterable
from pathlib import Path

from assembler.binaries.efi_program import read_program
from assembler.binaries.pe import PeError
from assembler.boot.boot_file import BootFile
from assembler.boot.lookup import optional_file
from assembler.errors import RequestError
from assembler.machines import Machine
from assembler.store.paths import Store

_DIRECTORY = "lib/systemd/boot/efi"
_HOST = Path("/usr")


def find_systemd_boot(
    store: Store, paths: Iterable[str], machine: Machine, first: str = ""
) -> Path:
    """Find systemd-boot's program in store paths, or else on this host; raises RequestError.

    The store path `first` is looked at before the others, if it is among them.
    """
    name = f"{_DIRECTORY}/systemd-boot{machine}.efi"
    found = [
        optional_file(store, f"{prefix}/{name}")
        for path in sorted(paths, key=lambda path: (path != first, path))
        for prefix in (path, f"{path}/usr")
    ]
    candidates = [store.host(path) for path in found if path is not None]
    if (_HOST / name).is_file():
        candidates.append(_HOST / name)
    for program in candidates:
        try:
            machine_of = read_program(program).machine
        except PeError as error:
            raise RequestError(f"{program}: {error}") from None
        if machine_of is machine:
            return program
    raise RequestError(
        f"systemd-boot{machine}.efi is neither in the closure nor on this host: it is in the "
        "package systemd-boot-efi (Debian) or systemd (nixpkgs)"
    )


def systemd_boot_programs(program: Path, machine: Machine) -> list[BootFile]:
    """Where `bootctl install` puts systemd-boot's program."""
    paths = (machine.boot_program, f"EFI/systemd/systemd-boot{machine}.efi")
    return [BootFile(path, program) for path in paths]
