"""Contents that cannot be in an image are refused after everything is looked up.

Without these tests, users learn of a file that cannot be in the image only when half of it is
written.
"""

from pathlib import Path

import pytest

from tests.support.places import AsRoot
from tests.support.requests import plan, refused, rows_file
from tests.support.systems import System, make_system


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(tmp_path_factory.mktemp("store"))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"source": "/nonexistent", "target": "/a"}, "source /nonexistent does not exist"),
        ({"source": "/etc/passwd", "target": "/a", "user": "nemo"}, "unknown user 'nemo'"),
        ({"source": "/etc/passwd", "target": "/a", "group": "nemo"}, "unknown group 'nemo'"),
        ({"source": "/etc/passwd", "target": "/../a"}, "leaves the root"),
        ({"source": "/dev/null", "target": "/a"}, "is a device"),
        ({"source": "/etc/passwd", "target": "/nix/store/a"}, "is in the store"),
        ({"source": "/etc/passwd", "target": "/etc"}, "/etc is a directory of the system"),
        ({"source": "/etc/passwd", "target": "/bin/sh/x"}, "is not a directory"),
    ],
)
def test_contents(system: System, tmp_path: Path, row: dict[str, str], problem: str) -> None:
    [line] = refused(system, tmp_path, contents=rows_file(tmp_path, row))
    assert problem in line


def test_two_rows_for_one_target(system: System, tmp_path: Path) -> None:
    row = {"source": "/etc/passwd", "target": "/a"}
    [line] = refused(system, tmp_path, contents=rows_file(tmp_path, row, row))
    assert line.endswith(", row 2: row 1 has the target /a, too: leave one of them out")


@pytest.mark.parametrize("target", ["/lost+found", "/lost+found/x"])
def test_contents_in_lost_and_found(system: System, tmp_path: Path, target: str) -> None:
    rows = rows_file(tmp_path, {"source": "/etc/passwd", "target": target})
    [line] = refused(system, tmp_path, contents=rows)
    assert line.endswith("/lost+found is the file system's own")


def test_contents_that_bring_a_lost_and_found(system: System, tmp_path: Path) -> None:
    (tmp_path / "disk" / "lost+found").mkdir(parents=True)
    rows = rows_file(tmp_path, {"source": f"{tmp_path}/disk/*", "target": "/"})
    [line] = refused(system, tmp_path, contents=rows)
    assert "lost+found" in line


def test_contents_that_may_not_be_read(system: System, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory" / "secret").touch(mode=0)
    rows = rows_file(tmp_path, {"source": f"{tmp_path}/directory", "target": "/d"})
    [line] = refused(system, tmp_path, contents=rows)
    assert line.endswith("directory/secret may not be read")


def test_contents_larger_than_ext4_can_hold(
    system: System, tmp_path: Path, as_root: AsRoot
) -> None:
    """A sparse file of 17 TiB: few file systems have one, a tmpfs does."""
    mount = tmp_path / "mount"
    mount.mkdir()
    as_root("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", mount)
    try:
        with (mount / "huge").open("wb") as huge:
            huge.truncate(17 << 40)
        rows = rows_file(tmp_path, {"source": f"{mount}/huge", "target": "/huge"})
        [line] = refused(system, tmp_path, contents=rows)
        assert plan(system, tmp_path, contents=rows, file_system="btrfs").demand.data == (
            plan(system, tmp_path).demand.data
        )
    finally:
        as_root("umount", mount)
    fault = "is a file of 18691697672192 bytes; in ext4 the largest has 17592186040320"
    assert line == f"/huge {fault}"


def test_xattrs_larger_than_ext4_can_hold(system: System, tmp_path: Path) -> None:
    """The row is named once, though its pattern finds several files."""
    (tmp_path / "d").mkdir()
    for name in ("a", "b"):
        (tmp_path / "d" / name).touch()
    row = {"source": f"{tmp_path}/d/*", "target": "/", "xattrs": {"user.a": "x" * 5000}}
    rows = rows_file(tmp_path, {"source": "/etc/passwd", "target": "/p"}, row)
    assert refused(system, tmp_path, contents=rows) == (
        "contents, row 2: xattrs are 968 bytes more than ext4 can hold",
    )
    plan(system, tmp_path, contents=rows, file_system="btrfs")


def test_contents_whose_link_has_xattrs(system: System, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("anywhere")
    row = {"source": f"{tmp_path}/link", "target": "/l", "xattrs": {"user.a": "b"}}
    [line] = refused(system, tmp_path, contents=rows_file(tmp_path, row))
    assert "link is a symlink, which has no xattrs" in line


def test_a_symlink_too_long_for_xfs(system: System, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("x" * 1024)
    rows = rows_file(tmp_path, {"source": str(link), "target": "/etc/link"})
    assert refused(system, tmp_path, file_system="xfs", contents=rows) == (
        "/etc/link is a symlink of 1024 bytes; in xfs the longest has 1023",
    )


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("configuration.nix", "/etc/nixos/configuration.nix"),
        ("nixos", "/etc/nixos"),
        ("etc", "etc/"),
        ("etc/*", "/etc"),
    ],
)
def test_two_configurations(system: System, tmp_path: Path, source: str, target: str) -> None:
    (tmp_path / "etc/nixos").mkdir(parents=True)
    (tmp_path / "nixos").symlink_to("etc/nixos")
    for name in ("configuration.nix", "etc/nixos/configuration.nix"):
        (tmp_path / name).write_text("{ }")
    rows = rows_file(tmp_path, {"source": str(tmp_path / source), "target": target})
    root = {"configuration": tmp_path / "configuration.nix"}
    [line] = refused(system, tmp_path, root, contents=rows)
    assert line.startswith("configuration and the contents row for /etc")
    assert line.endswith("both make /etc/nixos/configuration.nix")


def test_contents_beside_the_configuration(system: System, tmp_path: Path) -> None:
    (tmp_path / "nixos").mkdir()
    (tmp_path / "nixos/hardware-configuration.nix").write_text("{ }")
    (tmp_path / "configuration.nix").write_text("{ }")
    rows = rows_file(tmp_path, {"source": str(tmp_path / "nixos"), "target": "/etc/nixos"})
    plan(system, tmp_path, {"configuration": tmp_path / "configuration.nix"}, contents=rows)
