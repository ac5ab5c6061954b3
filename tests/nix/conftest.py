"""Programs in store paths, and a tiny system, for builds by Nix."""

import hashlib
from pathlib import Path

import pytest

from tests.support.helpers import output
from tests.support.places import COMMANDS, REPOSITORY
from tests.support.store_builds import SYSTEMD, SYSTEMD_BOOT, Tools
from tests.support.systems import System, add_path, make_system

_TOOLS = REPOSITORY / "tests/support/debian-tools.nix"
_PACKAGES = (
    "cffi", "_cffi_backend", "pycparser", "tqdm", "guestfs", "libguestfsmod", "parted", "_ped",
)  # fmt: skip
_FIND = """
import importlib.util, os, sys
found = importlib.util.find_spec(sys.argv[1])
print(found.submodule_search_locations[0] if found.submodule_search_locations else found.origin)
"""


@pytest.fixture(scope="session")
def tools(demo_system: str, tmp_path_factory: pytest.TempPathFactory) -> Tools:
    """Built of this machine's packages, and kept while the tests run."""
    top = tmp_path_factory.mktemp("tools")
    found = [output(COMMANDS / "python", "-c", _FIND, name).decode().strip() for name in _PACKAGES]
    arguments = {
        "stamp": hashlib.sha256(output("dpkg-query", "-W")).hexdigest(),
        "python": " ".join(found),
    }
    words = [word for item in arguments.items() for word in ("--argstr", *item)]
    built = output(
        "nix-build", _TOOLS, "-A", "tools", "-A", "assemble", "-A", "withAppliance",
        *words, "--out-link", top / "result",
        "--arg", "source", f'builtins.path {{ path = {REPOSITORY}; name = "source"; filter = '
        f'path: _: builtins.match "{REPOSITORY}/(assembler(/.*)?|assemble_start.py)" path != null '
        f'&& builtins.match ".*__pycache__" path == null; }}',
    )  # fmt: skip
    programs, assemble, with_appliance = built.decode().split()
    [shell] = [
        path
        for path in output("nix-store", "--query", "--requisites", demo_system).decode().split()
        if "-busybox-static-" in path
    ]
    return Tools(programs, assemble, with_appliance, f"{shell}/bin/busybox")


@pytest.fixture
def tiny_system(tmp_path: Path) -> System:
    """A tiny one, which this machine's store has not, and `SYSTEMD`."""
    made = make_system(tmp_path / "system")
    program = Path(f"/usr/{SYSTEMD_BOOT}").read_bytes()
    added = add_path(made, SYSTEMD, {SYSTEMD_BOOT: program})
    (tmp_path / "registration").write_bytes(made.registration.read_bytes() + added.read_bytes())
    return made
