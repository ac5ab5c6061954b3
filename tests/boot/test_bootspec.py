"""Bootspecs: a good one is read whole, and each fault of a bad one is one line.

Without these tests, a system with a wrong bootspec can become an image whose menu cannot start it.
"""

import gzip
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from assembler.boot.bootspec import Bootspec, read_bootspec
from assembler.errors import RequestError
from assembler.store.paths import StoreRoot
from tests.support.systems import made_up_kernel

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
    root.host(f"{KERNEL}/bzImage").write_bytes(made_up_kernel(2048))
    root.host(f"{KERNEL}/initrd").write_bytes(gzip.compress(b"initrd"))
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
    content["org.nixos.specialisation.v1"] = {"gone": gone, "other": other, "a/b": document()}
    write(store, content)
    path = f"{SYSTEM}/boot.json"
    init, name, toplevel, kernel, label = problems(store)
    assert init == f"{path}: init {KERNEL} is not a file"
    assert (
        name == f"{path}, specialisation 'a/b' has a name that cannot be in a menu and a file name"
    )
    assert toplevel == f"{path}, specialisation 'gone': toplevel /elsewhere is not a store path"
    assert kernel == f"{path}, specialisation 'gone': kernel {KERNEL}/gone does not exist"
    assert label == f"{path}, specialisation 'other': label is not a line of text"


def test_specialisations_must_be_an_object(store: StoreRoot) -> None:
    write(store, document() | {"org.nixos.specialisation.v1": []})
    assert problems(store) == (f"{SYSTEM}/boot.json: org.nixos.specialisation.v1 is not an object",)


def test_a_machine_that_is_not_booted(store: StoreRoot) -> None:
    content = document()
    content["org.nixos.bootspec.v1"]["system"] = "i686-linux"
    write(store, content)
    assert problems(store) == (
        f"{SYSTEM}/boot.json is for i686-linux; only x86_64-linux and aarch64-linux can be booted",
    )


def test_an_arm64_system_has_a_kernel_for_arm64(store: StoreRoot) -> None:
    content = document()
    content["org.nixos.bootspec.v1"]["system"] = "aarch64-linux"
    write(store, content)
    assert problems(store) == (
        f"{SYSTEM}/boot.json: kernel {KERNEL}/bzImage: it is a kernel for x86, not for arm64",
    )
    # booting.rst, "4. Call the kernel image".
    store.host(f"{KERNEL}/bzImage").write_bytes(b"MZ".ljust(0x38, b"\0") + b"ARM\x64")
    assert read_bootspec(store, SYSTEM).system == "aarch64-linux"


@pytest.mark.parametrize(
    ("kernel", "initrd", "expected"),
    [
        (
            b"",
            b"",
            [
                f"kernel {KERNEL}/bzImage: it is empty",
                f"initrd {SYSTEM}/initrd: it is empty",
            ],
        ),
        (
            b"#!/bin/sh",
            b"#!/bin/sh",
            [
                f"kernel {KERNEL}/bzImage: it is not a Linux kernel",
                f"initrd {SYSTEM}/initrd: it is not an initial RAM disk (it begins with "
                "23 21 2f 62)",
            ],
        ),
        (
            made_up_kernel(5000)[:4096],
            bytes(70_000),
            [f"kernel {KERNEL}/bzImage: it is cut short: 4096 bytes of 4976"],
        ),
        (
            made_up_kernel(5000),
            bytes(512),
            [f"initrd {SYSTEM}/initrd: it holds nothing but zeros"],
        ),
    ],
)
def test_kernels_and_initrds_that_are_none(
    store: StoreRoot, kernel: bytes, initrd: bytes, expected: list[str]
) -> None:
    store.host(f"{KERNEL}/bzImage").write_bytes(kernel)
    store.host(f"{KERNEL}/initrd").write_bytes(initrd)
    content, inner = document(), document()
    inner["org.nixos.bootspec.v1"]["toplevel"] = DEBUG
    content["org.nixos.specialisation.v1"] = {"inner": inner}
    write(store, content)
    path = f"{SYSTEM}/boot.json"
    assert problems(store) == (
        *(f"{path}: {line}" for line in expected),
        *(f"{path}, specialisation 'inner': {line}" for line in expected),
    )


def test_the_device_tree_for_systemd_boot(store: StoreRoot) -> None:
    """As nixpkgs' systemd-boot.nix has it: the key is there only where a file is set."""
    content = document()
    content["org.nixos.systemd-boot"] = {"sortKey": "nixos", "devicetree": f"{KERNEL}/dtbs/a.dtb"}
    write(store, content)
    path = f"{SYSTEM}/boot.json"
    file = f"{KERNEL}/dtbs/a.dtb"
    assert problems(store) == (f"{path}: devicetree {file} does not exist",)
    store.host(f"{KERNEL}/dtbs").mkdir()
    store.host(file).write_bytes(b"tree")
    assert problems(store) == (f"{path}: devicetree {file}: it is not a device tree",)
    # Devicetree Specification, 5.2: magic, size, and places; then a node without a name.
    head = (0xD00DFEED, 72, 56, 72, 40, 17, 16, 0, 0, 16)
    tree = struct.pack(">10I16x4I", *head, 1, 0, 2, 9)
    store.host(file).write_bytes(tree[:-1])
    assert problems(store) == (
        f"{path}: devicetree {file}: it is cut short: {len(tree) - 1} bytes of {len(tree)}",
    )
    store.host(file).write_bytes(tree)
    assert read_bootspec(store, SYSTEM).devicetree == file
    content["org.nixos.systemd-boot"] = {"sortKey": 1, "devicetree": ["a"]}
    write(store, content)
    assert problems(store) == (
        f"{path}: sortKey of org.nixos.systemd-boot is not a line of text",
        f"{path}: devicetree of org.nixos.systemd-boot is not a line of text",
    )
    write(store, content | {"org.nixos.systemd-boot": []})
    assert problems(store) == (f"{path}: org.nixos.systemd-boot is not an object",)


def test_further_initrds(store: StoreRoot) -> None:
    """As systemd-boot-builder.py has them: paths on the partition; one in the store is copied."""
    content = document()
    content["org.nixos.extra-initrd.v1"] = {"paths": ["/EFI/a.cpio", "b.cpio", f"{KERNEL}/c"]}
    write(store, content)
    path = f"{SYSTEM}/boot.json"
    assert problems(store) == (f"{path}: org.nixos.extra-initrd.v1 {KERNEL}/c does not exist",)
    store.host(f"{KERNEL}/c").write_bytes(b"no initrd")
    [line] = problems(store)
    assert line.startswith(f"{path}: org.nixos.extra-initrd.v1 {KERNEL}/c: ")
    store.host(f"{KERNEL}/c").unlink()
    store.host(f"{KERNEL}/c").symlink_to("initrd")
    assert read_bootspec(store, SYSTEM).extra_initrds == (
        "EFI/a.cpio",
        "b.cpio",
        f"{KERNEL}/initrd",
    )
    for wrong in ([], {"paths": "a"}, {"paths": ["a", 1]}, {"paths": ["/"]}):
        write(store, content | {"org.nixos.extra-initrd.v1": wrong})
        assert problems(store) == (
            f"{path}: paths of org.nixos.extra-initrd.v1 are not a list of file names",
        )


def test_parameters_may_hold_whatever_the_kernel_takes(store: StoreRoot) -> None:
    content = document()
    params = ['a="b\tc"', "d=\u00a0\u200b", "e=\x1b", "f=\ud800"]
    content["org.nixos.bootspec.v1"]["kernelParams"] = params[:2]
    write(store, content)
    assert read_bootspec(store, SYSTEM).kernel_params == tuple(params[:2])
    for wrong in params[2:]:
        content["org.nixos.bootspec.v1"]["kernelParams"] = [wrong]
        write(store, content)
        path = f"{SYSTEM}/boot.json"
        assert problems(store) == (f"{path}: kernelParams is not a list of lines of text",)


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
        ("{", "is not JSON (line 1, column 2)"),
        ("", "is not JSON (line 1, column 1)"),
        ("\x80", "is not JSON: it is not text in UTF-8"),
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
        f"{path}: kernelParams is not a list of lines of text",
        f"{path}: org.nixos.bootspec.v1 lacks kernel, toplevel, which NixOS writes there",
    )


def test_an_empty_document_is_one_problem(store: StoreRoot) -> None:
    write(store, {"org.nixos.bootspec.v1": {}})
    names = "init, kernel, label, system, toplevel, kernelParams"
    assert problems(store) == (
        f"{SYSTEM}/boot.json: org.nixos.bootspec.v1 lacks {names}, which NixOS writes there",
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
    assert absent == f"{path}: initrd {SYSTEM}/initrd is a link that leads nowhere"
