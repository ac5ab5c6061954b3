"""What a Python user of the package sees.

Without these tests, a script that uses the package can break with any change inside it.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import assembler
from assembler import RequestError, RootSpec, Spec, Table, assemble, prepare
from tests.support.requests import refused
from tests.support.systems import make_system, store_path


def test_all_that_is_public_is_there() -> None:
    """A name that is lost breaks every caller's import."""
    assert sorted(assembler.__all__) == assembler.__all__
    assert all(hasattr(assembler, name) for name in assembler.__all__)


def test_problems_name_fields_and_nothing_is_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Flags in a message would send a Python user to options that there are not."""
    system = make_system(tmp_path / "store")
    root = RootSpec(system=store_path(9, "gone"), store=system.root)
    spec = Spec(root=root, out=tmp_path, partition_table=Table.LEGACY, sector_size=4096)
    with pytest.raises(RequestError) as caught:
        assemble(spec)
    assert caught.value.problems == (
        f"system {store_path(9, 'gone')} does not exist",
        f"out {tmp_path} is a directory",
        "partition_table legacy is for BIOS, which starts no disk with sector_size 4096: take efi "
        "or efixbootldr",
    )
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("boot_loader", "lilo", "boot_loader 'lilo' is none of grub, "),
        ("partition_table", "mbr", "partition_table 'mbr' is none of legacy, "),
        ("sector_size", 1024, "sector_size 1024 is none of 512, 4096"),
        ("writer", "foo", "writer 'foo' is none of auto, direct, guestfs"),
        ("accelerator", "kvm2", "accelerator 'kvm2' is none of auto, kvm, tcg"),
        ("additional_space", -5, "additional_space is less than 0"),
        ("file_system", "zfs", "file_system "),
        ("format", "iso", "format 'iso' "),
        ("target", "moon", "target 'moon' "),
    ],
)
def test_a_value_that_no_field_takes_is_refused(
    tmp_path: Path, field: str, value: object, why: str
) -> None:
    """A script's typing error would be a traceback, or an image made in another way."""
    system = make_system(tmp_path / "store")
    [line] = refused(system, tmp_path, **{field: value})
    assert line.startswith(why)


def test_paths_and_words_may_be_text() -> None:
    words: dict[str, Any] = {"out": "x.raw", "partition_table": "efi", "accelerator": "tcg"}
    spec = Spec(root=RootSpec(system="/nix/store/x"), **words)
    assert (spec.out, spec.partition_table) == (Path("x.raw"), Table.EFI)


def test_prepare_refuses_what_prepare_root_refuses(tmp_path: Path) -> None:
    system = make_system(tmp_path / "store")
    with pytest.raises(RequestError, match="absent is not a directory"):
        prepare(RootSpec(system=system.toplevel, store=system.root), tmp_path / "absent")


def test_python_m_assembler_is_assemble() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "assembler", "--version"], capture_output=True, text=True
    )
    assert done.stdout.startswith("assemble "), done.stderr
