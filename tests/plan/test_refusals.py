"""What a request is refused for, once all that it names is looked up.

tests/commands/test_assemble.py has how the command shows a refusal.

Without these tests, an image that cannot boot can be made, or users learn of one problem a run.
"""

from pathlib import Path
from typing import Any

import pytest

from assembler import assemble, prepare
from assembler.disk.tables import Table
from assembler.errors import HostError, RequestError
from assembler.plan.host_problems import require_tools
from assembler.spec import RootSpec, Spec
from tests.support.helpers import nix_store
from tests.support.places import AsRoot
from tests.support.requests import refused, rows_file
from tests.support.systems import System, add_path, make_system, store_path

MIB = 1 << 20


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(tmp_path_factory.mktemp("store"))


def registration_lines(system: System) -> list[str]:
    return system.registration.read_text().splitlines(keepends=True)


def test_system_outside_the_closure(system: System, tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "registration").write_text("".join(registration_lines(system)[:5]))
    lines = refused(system, tmp_path, {"closures": (tmp_path / "r",)})
    assert any(f"{system.toplevel} is not in the closure" in line for line in lines)


def test_system_without_a_bootspec(system: System, tmp_path: Path) -> None:
    [line] = refused(system, tmp_path, {"system": system.paths[2]})
    assert f"{system.paths[2]} cannot be booted: it has neither a boot.json" in line


def test_kernel_that_is_absent(tmp_path: Path) -> None:
    system = make_system(tmp_path / "store")
    (system.host(system.paths[0]) / "bzImage").unlink()
    [line] = refused(system, tmp_path)
    assert "bzImage" in line


def test_registration_cut_short(system: System, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    cut.write_text("".join(registration_lines(system)[:-1]))
    [line] = refused(system, tmp_path, {"closures": (cut,)})
    assert f"{cut} is cut short" in line


def test_registration_of_an_absent_path(tmp_path: Path) -> None:
    system = make_system(tmp_path / "store")
    system.host(system.paths[2]).rename(tmp_path / "elsewhere")
    problems = refused(system, tmp_path)
    assert any(f"{system.paths[2]} is in the closure but" in line for line in problems)


def test_every_bad_closure_is_named(system: System, tmp_path: Path) -> None:
    bad = tmp_path / "one", tmp_path / "two"
    for file in bad:
        file.write_text(f"{file.name} is no registration\n")
    lines = "\n".join(refused(system, tmp_path, {"closures": (system.registration, *bad)}))
    assert all(str(file) in lines for file in bad)


def test_system_that_nix_does_not_know(tmp_path: Path, as_root: AsRoot) -> None:
    """A path that lies in the live store but not in Nix's database, and another problem."""
    stray = store_path(5, "stray-system")
    nowhere = System(Path("/"), stray, Path(), ())
    as_root("mkdir", stray)
    try:
        lines = refused(nowhere, tmp_path, {"closures": ()}, label="")
    finally:
        as_root("rmdir", stray)
    assert any(f"{stray} is unknown to Nix's database" in line for line in lines)
    assert any("label" in line for line in lines)


@pytest.mark.parametrize("field", ["channel", "generations"])
def test_what_is_outside_the_closure(system: System, tmp_path: Path, field: str) -> None:
    """With a registration the store is asked for the rest; here it has no database."""
    path = store_path(7, "nixos-23.05")
    add_path(system, path, {"nixos/default.nix": b"{ }"})
    value = ((2, path),) if field == "generations" else path
    [line] = refused(system, tmp_path, {field: value})
    assert f"{system.root} holds no Nix database" in line


def test_build_dependencies_of_a_system_whose_derivation_is_unknown(tmp_path: Path) -> None:
    source = make_system(tmp_path / "source")
    nix_store(source.root, "--load-db", stdin=source.registration.read_bytes())
    [line] = refused(source, tmp_path, {"closures": (), "include_build_deps": True})
    assert f"Nix does not know what built {source.toplevel}: find its derivation" in line
    (tmp_path / "root").mkdir()
    root = RootSpec(system=source.toplevel, store=source.root, include_build_deps=True)
    with pytest.raises(RequestError) as caught:
        prepare(root, tmp_path / "root")
    assert caught.value.problems == (line,)
    assert list((tmp_path / "root").iterdir()) == []


def test_build_dependencies_where_no_store_can_be_asked(system: System, tmp_path: Path) -> None:
    [line] = refused(system, tmp_path, {"include_build_deps": True})
    assert line.partition(": ")[2] == (
        f"{system.root} holds no Nix database, and no source of the closure has the "
        f"derivation of {system.toplevel} with all outputs"
    )


def test_a_boot_loader_that_is_not_made_here(tmp_path: Path) -> None:
    program = store_path(5, "limine-install.sh")
    system = make_system(tmp_path / "store", installer=program)
    [line] = refused(system, tmp_path)
    assert line.startswith(
        "the system is configured with the boot loader limine, which is not made here: take "
    )
    assert line.endswith(f", which runs the system's own installer ({program}), or grub")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            {"boot_size": 4 * MIB},
            "the EFI system partition of 4.0 MiB is too small: the smallest is 5.0 MiB",
        ),
        (
            {"boot_size": 16 * MIB, "sector_size": 4096},
            "the EFI system partition of 16.0 MiB is too small: the smallest is 17.0 MiB",
        ),
        (
            {"boot_size": 5 * MIB, "partition_table": Table.EFIXBOOTLDR},
            "the boot partition of 5.0 MiB is too small for its files by ",
        ),
    ],
)
def test_a_boot_partition_too_small(
    system: System, tmp_path: Path, options: dict[str, Any], problem: str
) -> None:
    [line] = refused(system, tmp_path, **options)
    assert line.startswith(problem)


def test_an_efi_binary_that_is_none(system: System, tmp_path: Path) -> None:
    given = tmp_path / "shimx64.efi", tmp_path / "gone.efi"
    given[0].write_bytes(b"#!/bin/sh\n")
    lines = refused(system, tmp_path, efi_binaries=given)
    assert [line.partition(" ")[2] for line in lines if str(tmp_path) in line] == [
        f"{given[0]}: it is not an EFI program (no MZ header)",
        f"{given[1]}: No such file or directory",
    ]


def test_size_too_small(system: System, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * (40 << 20))
    rows = rows_file(tmp_path, {"source": str(tmp_path / "big"), "target": "/big"})
    lines = refused(system, tmp_path, contents=rows, boot_size=64 * MIB, size=90 * MIB)
    text = "\n".join(lines)
    assert "size 90.0 MiB is too small" in text
    assert "MiB are missing" in text
    assert len([line for line in lines if "/nix/store/" in line]) == 4  # all there are
    assert f"{system.paths[0]}" in text


def test_all_problems_at_once(system: System, tmp_path: Path) -> None:
    rows = rows_file(
        tmp_path,
        {"source": "/nonexistent", "target": "/a"},
        {"source": "/etc", "target": "../b"},
    )
    text = "\n".join(refused(system, tmp_path, contents=rows, label="x" * 17, size=1000))
    for problem in ("/nonexistent does not exist", "leaves the root", "label", "size 1000"):
        assert problem in text


def test_tmpdir_that_tools_would_misread(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / "what?"
    odd.mkdir()
    monkeypatch.setenv("TMPDIR", str(odd))
    with pytest.raises(RequestError) as caught:
        assemble(Spec(root=RootSpec(system=system.toplevel), out=tmp_path / "x"))
    [line] = caught.value.problems
    assert line.endswith("a path with ? or @ in it: set TMPDIR to another directory")
    assert sorted(tmp_path.iterdir()) == [odd]


@pytest.mark.parametrize("program", ["mke2fs", "mcopy", "nix-store"])
def test_a_host_that_lacks_a_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    for directory in ("/usr/sbin", "/sbin", "/usr/bin", "/bin"):
        for tool in Path(directory).iterdir():
            link = tmp_path / tool.name
            if tool.name != program and not link.is_symlink():
                link.symlink_to(tool)
    monkeypatch.setattr("assembler.host.programs._ADMIN_DIRECTORIES", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError) as caught:
        require_tools(Spec(root=RootSpec(system="/x"), out=Path("/x")))
    [line] = caught.value.lines
    assert f"{program} is not on PATH" in line
