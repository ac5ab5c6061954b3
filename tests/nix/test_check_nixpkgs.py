"""scripts/check-nixpkgs, with a stand-in for nixpkgs.

Without these tests, a release of nixpkgs with which something of nix/ has no value could pass for a
good one.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nixpkgslib.check import call_sites
from tests.support.places import REPOSITORY

_NIXPKGS = REPOSITORY / "tests/support/nixpkgs"
_SITE = "nixos/modules/virtualisation/disk-image.nix"


@pytest.fixture
def nixpkgs(tmp_path: Path) -> Path:
    """A copy of the stand-in."""
    return Path(shutil.copytree(_NIXPKGS, tmp_path / "nixpkgs"))


def run(nixpkgs: Path) -> tuple[int, list[str]]:
    """The exit status, and the rows of the table, each without spaces at its columns."""
    command = [sys.executable, REPOSITORY / "scripts/check-nixpkgs", nixpkgs]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = (done.stdout + done.stderr).splitlines()
    return done.returncode, [re.sub(" {2,}", " | ", line) for line in lines]


def test_everything_has_a_value(nixpkgs: Path) -> None:
    assert call_sites(nixpkgs) == [_SITE]
    status, rows = run(nixpkgs)
    assert status == 0, rows
    assert rows[-1] == f"{len(rows) - 1} rows, 0 without a value"
    assert "function | make-disk-image | the same 27 arguments" in rows
    assert [row.split(" | ")[0] for row in rows[:-1]] == [
        *["package"] * 4, "function", *["variant"] * 18, *["variant, systemd-boot"] * 4,
        "call of make-disk-image",
    ]  # fmt: skip
    [site] = [row for row in rows if _SITE in row]
    assert site.endswith("-nixos-disk-image.drv")  # of the function of this repository


def test_what_has_no_value_is_named(nixpkgs: Path) -> None:
    """An argument that nixpkgs adds, and a call with one that does not exist."""
    function, site = nixpkgs / "nixos/lib/make-disk-image.nix", nixpkgs / _SITE
    function.write_text(
        function.read_text().replace("  label ? null,", "  label ? null,\n  new ? 1,")
    )
    site.write_text(site.read_text().replace("copyChannel = false;", 'format = "qcow";'))
    status, rows = run(nixpkgs)
    assert status == 1
    wrong = [row for row in rows if " | NO: " in row]
    assert rows[-1].endswith(f" rows, {len(wrong)} without a value")
    assert any(row.startswith("function | ") and "alone has new" in row for row in wrong)
    assert any(row.endswith("did you mean qcow2?") for row in wrong)


def test_what_is_no_nixpkgs(tmp_path: Path) -> None:
    status, rows = run(tmp_path)
    assert status == 2
    assert rows[-1].startswith(f"check-nixpkgs: error: {tmp_path} is no checkout of nixpkgs")
