"""Generations are those that NixOS lists in a menu, with its titles and dates.

Without these tests, a generation can be missing in the boot menu, or have the wrong title there.
"""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from assembler.boot.bootspec import Bootspec
from assembler.boot.generation import read_generations, read_system
from assembler.errors import RequestError
from assembler.store.paths import StoreRoot
from assembler.store.sources import read_source
from assembler.tree.closure_files import ClosureFiles
from tests.support.boots import add_system, link, path_of, put
from tests.support.helpers import nix_store, real_info

EPOCH = 1700000000  # 2023-11-14 22:13:20 UTC


@pytest.fixture
def store(tmp_path: Path) -> StoreRoot:
    return StoreRoot(tmp_path)


def test_generations_are_read_in_the_order_of_their_numbers(store: StoreRoot) -> None:
    stable = add_system(store, "1", name="Stable one")
    debug = add_system(store, "2", ["debug"])
    system = add_system(store, "3", specialisations={"stable": stable, "debug": debug})
    old = add_system(store, "4")
    found = read_generations(store, [(10, system), (9, old)], EPOCH)
    assert [(one.number, one.date, one.version) for one in found] == [
        (9, "2023-11-14", "24.05.4"),
        (10, "2023-11-14", "24.05.3"),
    ]
    assert [one.bootspec.toplevel for one in found] == [old, system]
    # The links to specialisations are in the store, where all is of the first second of 1970.
    assert [
        (one.name, one.configuration_name, one.date, one.version)
        for one in found[1].specialisations
    ] == [("debug", "", "1970-01-01", "24.05.2"), ("stable", "Stable one", "1970-01-01", "24.05.1")]
    assert found[1].specialisations[0].bootspec.kernel_params == ("debug",)
    assert found[0].specialisations == ()


def test_a_time_after_the_last_date(store: StoreRoot) -> None:
    [found] = read_generations(store, [(1, add_system(store, "1"))], 1 << 60)
    assert found.date == "9999-12-31"


def test_a_system_without_bootspec_is_read_from_its_links(store: StoreRoot) -> None:
    inner = add_system(store, "1", bootspec=False)
    system = add_system(store, "2", ["a=b", "ro"], {"inner": inner}, bootspec=False)
    spec = read_system(store, system)
    assert spec is not None
    [(name, found)] = spec.specialisations
    assert (name, found.toplevel, found.specialisations) == ("inner", inner, ())
    assert spec == Bootspec(
        init=f"{system}/init",
        kernel=f"{path_of('linux-6.6', '2')}/bzImage",
        initrd=f"{path_of('initrd-linux-6.6', '2')}/initrd",
        kernel_params=("a=b", "ro"),
        label="NixOS 24.05.2",
        system="x86_64-linux",
        toplevel=system,
        specialisations=((name, found),),
    )


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        '{"v1": {"init": "/init"}}',
        '{"org.nixos.bootspec.v2": {}}',
        '{"org.nixos.bootspec.v1": {}, "org.nixos.specialisation.v1": {"inner": {"v2": {}}}}',
    ],
)
def test_a_bootspec_of_another_version_is_not_read(
    store: StoreRoot, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    inner = add_system(store, "1", bootspec=False)
    system = add_system(store, "2", ["a=b"], {"inner": inner}, bootspec=False)
    expected = read_system(store, system)
    put(store, f"{system}/boot.json", text)
    [found] = read_generations(store, [(1, system)], EPOCH)
    assert replace(found.bootspec, ignored="") == expected
    [warning] = caplog.messages
    assert warning.startswith(f"generation 1: {system}/boot.json")
    assert "no org.nixos.bootspec.v1, the only version known: its links" in warning


@pytest.mark.parametrize("lost", ["kernel", "initrd"])
def test_what_cannot_be_booted_has_no_entry(
    store: StoreRoot, lost: str, caplog: pytest.LogCaptureFixture
) -> None:
    good = add_system(store, "1")
    bad = add_system(store, "2", bootspec=False)
    store.host(f"{bad}/{lost}").unlink()
    with caplog.at_level(logging.WARNING):
        found = read_generations(store, [(1, good), (2, bad)], EPOCH)
    assert [one.number for one in found] == [1]
    assert caplog.messages == [
        f"generation 2, {bad}, gets no entry in the boot menu: it has no kernel, or no initrd"
    ]


def test_every_problem_names_its_generation(store: StoreRoot) -> None:
    one, two = add_system(store, "1"), add_system(store, "2", bootspec=False)
    store.host(f"{path_of('linux-6.6', '1')}/bzImage").unlink()
    store.host(f"{two}/init").unlink()
    store.host(f"{two}/kernel-params").write_bytes(b"two\nlines")
    with pytest.raises(RequestError) as caught:
        read_generations(store, [(1, one), (2, two)], EPOCH)
    first, second, third = caught.value.problems
    assert first.startswith(f"generation 1: {one}/boot.json: kernel /nix/store/1")
    assert second == f"generation 2: {two} has no init"
    assert third == f"generation 2: {two}/kernel-params should hold one line of text"


def test_a_machine_that_we_cannot_boot_is_refused(store: StoreRoot) -> None:
    system = add_system(store, "1", bootspec=False)
    put(store, f"{system}/system", "riscv64-linux")
    with pytest.raises(RequestError, match="is for riscv64-linux; only x86_64-linux and aarch64"):
        read_system(store, system)


def test_kernels_and_initrds_are_looked_at_in_every_generation(store: StoreRoot) -> None:
    inner = add_system(store, "1", bootspec=False)
    system = add_system(store, "2", specialisations={"inner": inner}, bootspec=False)
    other = add_system(store, "3")
    store.host(f"{path_of('linux-6.6', '1')}/bzImage").write_bytes(b"ELF")
    store.host(f"{path_of('initrd-linux-6.6', '2')}/initrd").write_bytes(b"")
    store.host(f"{path_of('linux-6.6', '3')}/bzImage").write_bytes(b"")
    with pytest.raises(RequestError) as caught:
        read_generations(store, [(1, system), (2, other)], EPOCH)
    assert caught.value.problems == (
        f"generation 1: {system}/initrd: it is empty",
        f"generation 1: {inner}/kernel: it is not a Linux kernel",
        f"generation 2: {other}/boot.json: kernel {path_of('linux-6.6', '3')}/bzImage: it is empty",
    )


@pytest.mark.parametrize("bootspec", [True, False])
def test_what_is_booted_is_in_the_closure(store: StoreRoot, bootspec: bool) -> None:
    """Neither a kernel nor an initrd nor what describes them is read from anywhere else."""
    system = add_system(store, "1", bootspec=bootspec)
    kernel, initrd = f"{path_of('linux-6.6', '1')}/bzImage", f"{system}/initrd"
    for path, target in ((kernel, "/home/me/kernel"), (initrd, "/home/me/initrd")):
        store.host(path).unlink()
        link(store, path, target)
    with pytest.raises(RequestError) as caught:
        read_generations(store, [(1, system)], EPOCH)
    named = f"{system}/boot.json: kernel {kernel}" if bootspec else f"{system}/kernel"
    lines = [f"generation 1: {named} leads to /home/me/kernel, which is outside /nix/store"]
    if not bootspec:
        lines.append(
            f"generation 1: {initrd} leads to /home/me/initrd, which is outside /nix/store"
        )
    assert [*caught.value.problems] == lines


def test_what_the_menu_cannot_do_is_told(
    store: StoreRoot, caplog: pytest.LogCaptureFixture
) -> None:
    system = add_system(store, "1", bootspec=False)
    put(store, f"{system}/xen.gz")
    put(store, f"{system}/append-initrd-secrets", "#!/bin/sh\ncp -a /etc/key .\nexit 1\n")
    # The program of older systems without secrets, which does nothing.
    none = add_system(store, "2", bootspec=False)
    put(store, f"{none}/append-initrd-secrets", "#!/bin/sh\nusage() { exit 1; }\nexit 0\ncp\n")
    with caplog.at_level(logging.WARNING):
        read_generations(store, [(1, system), (2, none)], EPOCH)
    assert caplog.messages == [
        "generation 1 is booted without Xen until the first rebuild",
        "generation 1 is booted without the secrets of its initrd (boot.initrd.secrets) until the "
        "first rebuild",
    ]


def test_a_specialisation_link_that_leads_nowhere_is_told(store: StoreRoot) -> None:
    system = add_system(store, "1", bootspec=False)
    link(store, f"{system}/specialisation/gone", path_of("gone", "2"))
    with pytest.raises(RequestError, match="specialisation/gone is a link that leads nowhere"):
        read_system(store, system)


def test_a_system_in_an_export_is_read_without_unpacking_it(tmp_path: Path) -> None:
    root = tmp_path / "root"
    source = StoreRoot(root)
    inner = add_system(source, "1", ["debug"], bootspec=False)
    system = add_system(source, "2", specialisations={"debug": inner}, bootspec=False)
    paths = [path_of(n, d) for d in "12" for n in ("linux-6.6", "initrd-linux-6.6")]
    infos = [real_info(root, path) for path in (*paths, inner, system)]
    lines = [f"{i.path}\n{i.nar_hash}\n{i.nar_size}\n\n0\n" for i in infos]
    nix_store(root, "--load-db", stdin="".join(lines).encode())
    export = tmp_path / "closure.export"
    export.write_bytes(nix_store(root, "--export", *[info.path for info in infos]))
    files = ClosureFiles(StoreRoot(tmp_path / "empty"), tmp_path)
    read_source(export, files.receive)
    assert files.in_exports == {info.path for info in infos}
    assert read_generations(files, [(1, system)], EPOCH) == read_generations(
        source, [(1, system)], EPOCH
    )
