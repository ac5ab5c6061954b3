"""nix/package.nix and default.nix, evaluated with a stand-in for nixpkgs.

Without these tests, a package of nixpkgs can lack a program or a library that the code opens.
"""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from assembler.host import shared_objects
from assembler.host.programs import PACKAGES
from assembler.host.shared_objects import SharedLibrary
from tests.support.nix_eval import evaluate
from tests.support.places import REPOSITORY

_PACKAGE = "(pkgs.callPackage (source + /nix/package.nix) {})"
_OF_LIBRARIES = REPOSITORY / "assembler/host/shared_objects.py"


def test_it_has_the_program_and_nothing_that_is_built_beside_it(tmp_path: Path) -> None:
    """Also where a link leads to the checkout: Nix resolves it, or not, as its release is."""
    (tmp_path / "link").symlink_to(REPOSITORY.parent)
    file = tmp_path / "link" / REPOSITORY.name / "nix/package.nix"
    package = f"(pkgs.callPackage {file} {{}})"
    assert evaluate(f"builtins.readDir {package}.src", "--read-write-mode") == {
        "LICENSE": "regular", "README.md": "regular", "assemble_start.py": "regular",
        "assembler": "directory", "pyproject.toml": "regular", "setup.py": "regular",
    }  # fmt: skip


@pytest.mark.parametrize("with_guestfs", [False, True])
def test_it_depends_on_what_pyproject_names(with_guestfs: bool) -> None:
    """And on the bindings that PyPI has not: pyparted, and guestfs if that is asked for."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    names = [
        {re.split("[<>=]", one)[0] for one in ones}
        for ones in (project["build-system"]["requires"], project["project"]["dependencies"])
    ]
    names[1] |= {"pyparted", "guestfs"} if with_guestfs else {"pyparted"}
    package = _PACKAGE.replace("{}", f"{{ withGuestfs = {str(with_guestfs).lower()}; }}")
    found = evaluate(f"with {package}; map (map (one: one.name)) [ build-system dependencies ]")
    assert [{*one} for one in found] == names
    wrapped = " ".join(evaluate(f"{package}.makeWrapperArgs"))
    assert wrapped.endswith("LIBGUESTFS_PATH /nix/store/libguestfs-appliance") == with_guestfs


def test_every_program_is_on_its_path() -> None:
    """GRUB's modules for UEFI are found beside a program on PATH, and no program is theirs."""
    prefix, path, _, directories = evaluate(f"{_PACKAGE}.makeWrapperArgs")
    assert (prefix, path) == ("--prefix", "PATH")
    wanted = {nixpkgs for _, nixpkgs in PACKAGES.values()} | {"grub2_efi"}
    assert directories.split(":") == sorted(f"/nix/store/{name}/bin" for name in wanted)


def test_every_library_gets_its_absolute_path() -> None:
    command, file, *words = shlex.split(evaluate(f"{_PACKAGE}.postPatch").replace("\\\n", ""))
    assert (command, REPOSITORY / file) == ("substituteInPlace", _OF_LIBRARIES)
    text = _OF_LIBRARIES.read_text()
    for option, old, new in zip(words[::3], words[1::3], words[2::3], strict=True):
        assert option == "--replace-fail"
        assert text.count(old) == 1
        text = text.replace(old, new)
    patched: dict[str, object] = {"__name__": "patched"}
    exec(text, patched)
    for name, library in vars(shared_objects).items():
        if isinstance(library, SharedLibrary):
            found = getattr(patched[name], "name")  # noqa: B009  # its class is another one
            assert found == f"/nix/store/{library.nixpkgs}/lib/{library.name}"


def test_nix_build_gives_the_package() -> None:
    """Nix builds the derivations in a set, and leaves functions and the like alone."""
    top = "import source { inherit pkgs; }"
    is_derivation = "name: (all.${name}.type or null) == ''derivation''"
    names = f"builtins.filter ({is_derivation}) (builtins.attrNames all)"
    assert evaluate(f"let all = {top}; in {names}") == ["assemble"]
