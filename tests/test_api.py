"""What a Python user of the package sees.

Without these tests, a script that uses the package can break with any change inside it.
"""

import subprocess
import sys
from pathlib import Path

import pytest

import assembler
from assembler import RequestError, RootSpec, Spec, Table, assemble, prepare
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


def test_prepare_refuses_what_prepare_root_refuses(tmp_path: Path) -> None:
    system = make_system(tmp_path / "store")
    with pytest.raises(RequestError, match="absent is not a directory"):
        prepare(RootSpec(system=system.toplevel, store=system.root), tmp_path / "absent")


def test_python_m_assembler_is_assemble() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "assembler", "--version"], capture_output=True, text=True
    )
    assert done.stdout.startswith("assemble "), done.stderr
