"""An image of the store alone has the store paths at its top, and nothing else.

Without these tests, a machine that mounts such an image at /nix/store can find no store path there.
"""

from pathlib import Path

import pytest

from assembler import RequestError, RootSpec, Spec, assemble
from assembler.units import MIB
from tests.support.helpers import output
from tests.support.requests import refused
from tests.support.systems import System, make_system, store_path


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(tmp_path_factory.mktemp("store"), "/dev/mapper/root / ext4 x\n")


def store_image(system: System, out: Path, writer: str = "auto") -> Path:
    root = RootSpec(
        system=system.toplevel, store=system.root, closures=(system.registration,), epoch=10**9
    )
    spec = Spec(
        root=root, out=out, store_only=True, partition_table="efi", boot_size=40 * MIB,
        additional_space=MIB, writer=writer,
    )  # fmt: skip
    assemble(spec)
    return out


def test_foreign_tools_find_the_store_paths_at_the_top(system: System, tmp_path: Path) -> None:
    place = f"{store_image(system, tmp_path / 'disk.raw')}?offset={48 * MIB}"
    output("/sbin/e2fsck", "-fn", place)
    listed = output("/sbin/debugfs", "-R", "ls -p /", place).decode()
    entries = {line.split("/")[5]: line.split("/")[2:5] for line in listed.split()}
    assert entries["."] == ["041775", "0", "30000"]
    names = {Path(path).name for path in system.paths}
    assert {*entries} == {".", "..", "lost+found", *names}
    assert {*map(tuple, (entries[name] for name in names))} == {("040555", "0", "0")}
    label = output(
        "/sbin/blkid",
        "-p",
        "-s",
        "LABEL",
        "-o",
        "value",
        "-O",
        str(48 * MIB),
        tmp_path / "disk.raw",
    )
    assert label == b"nix-store\n"


def test_its_hashes_are_compared(tmp_path: Path) -> None:
    """The store paths are not where they are in an image of a system."""
    system = make_system(tmp_path / "store")
    file = system.host(f"{system.toplevel}/init")
    file.chmod(0o755)
    file.write_bytes(file.read_bytes().swapcase())
    with pytest.raises(RequestError, match="does not match its registration: expected sha256:"):
        store_image(system, tmp_path / "disk.raw")
    assert not (tmp_path / "disk.raw").exists()


def test_what_has_no_place_in_a_store_is_refused(system: System, tmp_path: Path) -> None:
    (tmp_path / "rows").write_text("[]")
    root = {
        "configuration": tmp_path / "rows",
        "channel": store_path(4, "nixos-system-tiny"),
        "generations": ((3, system.toplevel),),
    }
    lines = refused(
        system, tmp_path, root, store_only=True, contents=tmp_path / "rows", boot_loader="grub"
    )
    why = "has no place in an image of the store alone: leave it out, or store_only"
    asked = ("contents", "configuration", "channel", "generations")
    assert {f"{name} {why}" for name in asked} <= {*lines}
    assert "boot_loader grub starts no image of the store alone: take boot_loader none" in lines
