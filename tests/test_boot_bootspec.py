import json
from pathlib import Path
from typing import Any

import pytest

from assembler.boot.bootspec import Bootspec, read_bootspec
from assembler.errors import RequestError
from assembler.store.paths import StoreRoot

SYSTEM = "/nix/store/0c5b8jvv2zl8pzvzz0m9sxlyc4flpnlr-nixos-system-demo"
DEBUG = "/nix/store/2c5b8jvv2zl8pzvzz0m9sxlyc4flpnlr-nixos-system-demo"
KERNEL = "/nix/store/1c5b8jvv2zl8pzvzz0m9sxlyc4flpnlr-linux-6.1"


def document() -> dict[str, Any]:
    """A bootspec as `nixos/modules/system/activation/bootspec.nix` writes it."""
    return {
        "org.nixos.bootspec.v1": {
            "init": f"{SYSTEM}/init",
            "initrd": f"{SYSTEM}/initrd",
            "initrdSecrets": f"{SYSTEM}/append-initrd-secrets",
            "kernel": f"{KERNEL}/bzImage",
            "kernelParams": ["console=ttyS0,115200n8", "loglevel=4"],
            "label": "NixOS 24.05 (Linux 6.1)",
            "system": "x86_64-linux",
            "toplevel": SYSTEM,
        },
        "org.nixos.specialisation.v1": {},
    }


@pytest.fixture
def store(tmp_path: Path) -> StoreRoot:
    root = StoreRoot(tmp_path)
    root.host(SYSTEM).mkdir(parents=True)
    root.host(KERNEL).mkdir()
    root.host(f"{SYSTEM}/init").write_text("#!/bin/sh\n")
    root.host(f"{KERNEL}/bzImage").write_bytes(b"kernel")
    root.host(f"{KERNEL}/initrd").write_bytes(b"initrd")
    root.host(f"{SYSTEM}/initrd").symlink_to(f"{KERNEL}/initrd")  # dangling on this host
    return root


def write(store: StoreRoot, content: object) -> None:
    store.host(f"{SYSTEM}/boot.json").write_text(json.dumps(content))


def problems(store: StoreRoot) -> tuple[str, ...]:
    with pytest.raises(RequestError) as caught:
        read_bootspec(store, SYSTEM)
    return caught.value.problems


def test_a_bootspec_is_read(store: StoreRoot) -> None:
    write(store, document())
    assert read_bootspec(store, SYSTEM) == Bootspec(
        init=f"{SYSTEM}/init",
        kernel=f"{KERNEL}/bzImage",
        initrd=f"{KERNEL}/initrd",  # the file itself
        kernel_params=("console=ttyS0,115200n8", "loglevel=4"),
        label="NixOS 24.05 (Linux 6.1)",
        system="x86_64-linux",
        toplevel=SYSTEM,
        initrd_secrets=f"{SYSTEM}/append-initrd-secrets",
        sort_key="nixos",
        specialisations=(),
    )


def test_specialisations_are_read_one_level_deep_and_by_name(store: StoreRoot) -> None:
    content = document()
    content["org.nixos.systemd-boot"] = {"sortKey": "a"}
    debug, plain = document(), document()
    debug["org.nixos.bootspec.v1"] |= {"toplevel": DEBUG, "kernelParams": ["debug"]}
    debug["org.nixos.specialisation.v1"] = {"deeper": document()}
    content["org.nixos.specialisation.v1"] = {"plain": plain, "debug": debug}
    write(store, content)
    found = read_bootspec(store, SYSTEM)
    assert [name for name, _ in found.specialisations] == ["debug", "plain"]
    inner = found.specialisations[0][1]
    assert (inner.toplevel, inner.kernel_params) == (DEBUG, ("debug",))
    assert (inner.sort_key, inner.specialisations) == ("nixos", ())
    assert found.sort_key == "a"


def test_every_problem_of_a_specialisation_names_it(store: StoreRoot) -> None:
    content, gone, other = document(), document(), document()
    gone["org.nixos.bootspec.v1"] |= {"kernel": f"{KERNEL}/gone", "toplevel": "/elsewhere"}
    other["org.nixos.bootspec.v1"] |= {"label": 1}
    content["org.nixos.bootspec.v1"]["init"] = KERNEL
    content["org.nixos.specialisation.v1"] = {"gone": gone, "other": other, "a/b": {}}
    write(store, content)
    path = f"{SYSTEM}/boot.json"
    init, name, nothing, toplevel, kernel, label = problems(store)
    assert init == f"{path}: init {KERNEL} is not a file"
    assert (
        name == f"{path}, specialisation 'a/b' has a name that cannot be in a menu and a file name"
    )
    assert nothing.startswith(f"{path}, specialisation 'a/b' has no org.nixos.bootspec.v1")
    assert toplevel == f"{path}, specialisation 'gone': toplevel /elsewhere is not a store path"
    assert kernel.startswith(f"{path}, specialisation 'gone': kernel {KERNEL}/gone does not exist")
    assert label == f"{path}, specialisation 'other': label is not a line of text"


def test_specialisations_must_be_an_object(store: StoreRoot) -> None:
    write(store, document() | {"org.nixos.specialisation.v1": []})
    assert problems(store) == (f"{SYSTEM}/boot.json: org.nixos.specialisation.v1 is not an object",)


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        ("aarch64-linux", ()),
        ("i686-linux", ("is for i686-linux; only x86_64-linux and aarch64-linux can be booted",)),
    ],
)
def test_machines(store: StoreRoot, system: str, expected: tuple[str, ...]) -> None:
    content = document()
    content["org.nixos.bootspec.v1"]["system"] = system
    write(store, content)
    if expected:
        assert problems(store) == (f"{SYSTEM}/boot.json {expected[0]}",)
    else:
        assert read_bootspec(store, SYSTEM).system == system


def test_an_initrd_may_be_missing(store: StoreRoot) -> None:
    content = document()
    del content["org.nixos.bootspec.v1"]["initrd"]
    write(store, content)
    assert read_bootspec(store, SYSTEM).initrd is None


def test_a_system_without_one_is_told(store: StoreRoot) -> None:
    assert problems(store) == (
        f"{SYSTEM} is not a NixOS system that can be booted: it has no boot.json",
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "is not JSON: "),
        ("\x80", "is not JSON: "),
        ("[]", "has no org.nixos.bootspec.v1"),
        ('{"org.nixos.bootspec.v2": {}}', "has no org.nixos.bootspec.v1"),
        ('{"org.nixos.bootspec.v1": 1}', "has no org.nixos.bootspec.v1"),
    ],
)
def test_what_is_no_bootspec_is_told(store: StoreRoot, text: str, expected: str) -> None:
    store.host(f"{SYSTEM}/boot.json").write_bytes(text.encode("latin-1"))
    [problem] = problems(store)
    assert problem.startswith(f"{SYSTEM}/boot.json {expected}")


def test_every_bad_field_is_told(store: StoreRoot) -> None:
    content = document()
    fields = content["org.nixos.bootspec.v1"]
    del fields["kernel"], fields["toplevel"]
    fields["init"] = 1
    fields["kernelParams"] = ["good", "two\nlines"]
    write(store, content)
    path = f"{SYSTEM}/boot.json"
    assert problems(store) == (
        f"{path}: init is not a line of text",
        f"{path} lacks kernel",
        f"{path} lacks toplevel",
        f"{path}: kernelParams is not a list of lines of text",
    )


def test_every_absent_file_is_told(store: StoreRoot) -> None:
    store.host(f"{KERNEL}/initrd").unlink()
    content = document()
    content["org.nixos.bootspec.v1"]["kernel"] = KERNEL
    content["org.nixos.bootspec.v1"]["init"] = "/sbin/init"
    write(store, content)
    path = f"{SYSTEM}/boot.json"
    outside, directory, absent = problems(store)
    assert outside == f"{path}: init /sbin/init is not in /nix/store"
    assert directory == f"{path}: kernel {KERNEL} is not a file"
    assert absent.startswith(f"{path}: initrd {SYSTEM}/initrd does not exist: ")
