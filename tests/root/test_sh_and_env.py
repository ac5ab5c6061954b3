"""The programs outside the store, in stores below a directory.

Without these tests, a machine can lack /bin/sh or /usr/bin/env, and its scripts fail.
"""

import json
import logging
from pathlib import Path

import pytest

from assembler.errors import RequestError
from assembler.root.sh_and_env import Programs, find_programs
from assembler.store.closure import Closure
from assembler.store.paths import StoreRoot
from assembler.store.registration import PathInfo
from tests.support.helpers import prepare_root
from tests.support.systems import store_path

SYSTEM = store_path(9, "nixos-system")


def shell_of(root: Path, system: str, paths: list[str]) -> str | None:
    return find_programs(StoreRoot(root), system, paths).shell


def shells(root: Path, *names: str) -> list[str]:
    """Store paths with a `bin/sh`, below `root`."""
    paths = [store_path(number, name) for number, name in enumerate(names, 1)]
    for path in paths:
        (root / path[1:] / "bin").mkdir(parents=True)
        (root / path[1:] / "bin/sh").touch()
    return paths


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (("dash", "bash-5", "bash-interactive-5"), 2),
        (("dash", "bash-5"), 1),
        (("dash", "zsh"), 0),
    ],
)
def test_the_shell_is_the_one_nixos_would_take(
    tmp_path: Path, names: tuple[str, ...], taken: int
) -> None:
    paths = shells(tmp_path, *names)
    found = shell_of(tmp_path, store_path(0, "system"), paths)
    assert found == f"{paths[taken]}/bin/sh"


def test_the_systems_own_shell_comes_first(tmp_path: Path) -> None:
    paths = shells(tmp_path, "bash-interactive-5", "dash")
    system = store_path(9, "nixos-system")
    (tmp_path / system[1:] / "sw/bin").mkdir(parents=True)
    (tmp_path / system[1:] / "sw/bin/sh").symlink_to(f"{paths[1]}/bin/sh")
    assert shell_of(tmp_path, system, [*paths, system]) == f"{paths[1]}/bin/sh"


def test_a_shell_outside_the_closure_is_none(tmp_path: Path) -> None:
    inside, outside = shells(tmp_path, "dash", "bash-5")
    system = store_path(9, "nixos-system")
    (tmp_path / system[1:] / "sw/bin").mkdir(parents=True)
    (tmp_path / system[1:] / "sw/bin/sh").symlink_to(f"{outside}/bin/sh")
    assert shell_of(tmp_path, system, [inside, system]) == f"{inside}/bin/sh"


def test_a_store_path_that_is_a_file_has_no_shell(tmp_path: Path) -> None:
    [dash] = shells(tmp_path, "dash")
    patch = store_path(9, "bash52-023")
    (tmp_path / patch[1:]).touch()
    assert shell_of(tmp_path, "/x", [patch, dash]) == f"{dash}/bin/sh"


def env_of(root: Path, *paths: str) -> str | None:
    return find_programs(StoreRoot(root), SYSTEM, paths).env


def test_env_is_that_of_coreutils_or_the_systems_own(tmp_path: Path) -> None:
    busybox, coreutils, outside = (
        store_path(number, name) for number, name in enumerate(("busybox", "coreutils-9", "x"))
    )
    for path in (busybox, coreutils, outside):
        (tmp_path / path[1:] / "bin").mkdir(parents=True)
        (tmp_path / path[1:] / "bin/env").touch()
    assert env_of(tmp_path) is None
    assert env_of(tmp_path, busybox) == f"{busybox}/bin/env"
    assert env_of(tmp_path, busybox, coreutils) == f"{coreutils}/bin/env"
    own = tmp_path / store_path(9, "nixos-system")[1:] / "sw/bin/env"
    own.parent.mkdir(parents=True)
    own.symlink_to(f"{busybox}/bin/env")
    assert env_of(tmp_path, busybox, coreutils) == f"{busybox}/bin/env"
    own.unlink()
    own.symlink_to(f"{outside}/bin/env")
    assert env_of(tmp_path, busybox, coreutils) == f"{coreutils}/bin/env"


def test_a_shell_is_found_quickly_in_a_large_closure(tmp_path: Path) -> None:
    [outside] = shells(tmp_path, "bash")
    paths = [store_path(2, f"p{number}") for number in range(1_000)]
    for path in paths:
        (tmp_path / path[1:]).symlink_to(outside)
    assert shell_of(tmp_path, "/x", paths) is None


def test_a_bootspec_names_the_programs(tmp_path: Path) -> None:
    bash, dash = shells(tmp_path, "bash-interactive-5", "dash")
    file = tmp_path / SYSTEM[1:] / "boot.json"
    file.parent.mkdir()

    def programs(**named: object) -> Programs:
        file.write_text(json.dumps({"org.nixos.nixos-init.v1": named}))
        return find_programs(StoreRoot(tmp_path), SYSTEM, [bash, dash, SYSTEM])

    assert programs(sh_binary=f"{dash}/bin/sh").shell == f"{dash}/bin/sh"
    elsewhere = "/run/current-system/sw/bin/env"
    assert programs(env_binary=elsewhere) == Programs(None, elsewhere)
    assert programs(sh_binary=None) == programs() == Programs(None, None)
    with pytest.raises(RequestError) as caught:
        programs(sh_binary=f"{dash}/bin/gone", env_binary=1)
    where = f"{SYSTEM}/boot.json:"
    assert caught.value.problems == (
        f"{where} sh_binary of org.nixos.nixos-init.v1 is not in the closure: {dash}/bin/gone",
        f"{where} env_binary of org.nixos.nixos-init.v1 is not an absolute path",
    )
    for text in ("[]", '{"org.nixos.nixos-init.v1": []}', "{"):
        file.write_text(text)
        assert shell_of(tmp_path, SYSTEM, [bash, dash, SYSTEM]) == f"{bash}/bin/sh"


def test_a_system_may_have_no_shell(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    closure = Closure((PathInfo(SYSTEM, "0" * 64, 1, ()),))
    with caplog.at_level(logging.WARNING):
        prepare_root(tmp_path, closure, StoreRoot(tmp_path), SYSTEM, epoch=1)
    assert list((tmp_path / "bin").iterdir()) == []
    assert caplog.messages == [f"{SYSTEM} has no shell: there will be no /bin/sh"]
