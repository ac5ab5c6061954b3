"""Contents below a mount go onto the FAT of the disk, or are reported as hidden.

Without these tests, a file of --contents can lie below a mount, where the machine never sees it.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from assembler.boot.boot_file import BootFile
from assembler.boot.mounts.fstab import parse_fstab
from assembler.boot.protocol import BootData
from assembler.boot.volumes import Role
from assembler.errors import RequestError
from assembler.plan.fat_rows import move_to_fats, warn_of_hidden
from assembler.root.placing import add_contents
from assembler.root.rows import Row
from assembler.tree.modes import parse_mode
from assembler.tree.scan import Scanner
from assembler.tree.tree import Directory, Tree

Files = dict[str, bytes | Path]  # by their paths in a FAT
NESTED = {"/boot": Role.BOOT, "/boot/efi": Role.ESP}


@pytest.fixture
def tree() -> Tree:
    tree = Tree()
    tree.add(b"/boot", Directory())
    return tree


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with a file in it, one in a directory, and one of two names."""
    (tmp_path / "source/overlays").mkdir(parents=True)
    for name in ("config.txt", "overlays/a.dtbo"):
        (tmp_path / "source" / name).write_text(name)
    (tmp_path / "source/twice.txt").hardlink_to(tmp_path / "source/config.txt")
    return tmp_path / "source"


def moved(
    tree: Tree, rows: Sequence[Row], places: dict[str, Role], own: Files | None = None
) -> dict[Role, Files]:
    add_contents(tree, Scanner(tree), rows, 1)
    esp = [BootFile(path, source) for path, source in (own or {}).items()]
    found = move_to_fats(tree, rows, places, BootData({Role.ESP: esp}))
    return {role: {file.path: file.source for file in found.of(role)} for role in Role}


def test_rows_go_where_boot_is(tree: Tree, source: Path) -> None:
    rows = [Row(f"{source}", "/boot"), Row(f"{source}/config.txt", "/boot/extra/c.txt")]
    own: Files = {"EFI/BOOT/BOOTX64.EFI": b"loader"}
    found = moved(tree, rows, {"/boot": Role.ESP}, own)
    assert found[Role.BOOT] == {}
    assert found[Role.ESP] == {
        **own,
        "config.txt": source / "config.txt",
        "twice.txt": source / "twice.txt",
        "overlays/a.dtbo": source / "overlays/a.dtbo",
        "extra/c.txt": source / "config.txt",
    }
    assert [path for path, _ in tree.walk()] == [b"/", b"/boot"]
    assert tree.names[1:] == [0] * (len(tree.names) - 1)


def test_one_fat_may_be_mounted_in_the_other(tree: Tree, source: Path) -> None:
    (source / "efi").mkdir()
    (source / "efi/shell.efi").touch()
    rows = [Row(f"{source}", "/boot"), Row(f"{source}/config.txt", "/boot/efi/EFI/c")]
    found = moved(tree, rows, NESTED)
    assert {*found[Role.ESP]} == {"shell.efi", "EFI/c"}
    assert {*found[Role.BOOT]} == {"config.txt", "twice.txt", "overlays/a.dtbo"}
    assert [path for path, _ in tree.walk()] == [b"/", b"/boot"]


def test_what_a_fat_in_another_cannot_hold_is_told_once(tree: Tree, source: Path) -> None:
    rows = [Row(f"{source}/config.txt", "/boot/efi/EFI/c", uid=1, number=3)]
    with pytest.raises(RequestError, match=r"^contents, row 3: /boot/efi/EFI/c is on [^\n]*$"):
        moved(tree, rows, NESTED)


def test_rows_beside_an_esp_stay_in_the_root(tree: Tree, source: Path) -> None:
    rows = [Row(f"{source}/config.txt", f"/{path}") for path in ("boot/a", "efi/b", "efis/c")]
    found = moved(tree, rows, {"/efi": Role.ESP})
    assert found[Role.ESP] == {"b": source / "config.txt"}
    assert {path for path, _ in tree.walk()} >= {b"/boot/a", b"/efis/c"}


def test_what_a_fat_cannot_hold_is_refused(tree: Tree, source: Path) -> None:
    (source / "link").symlink_to("config.txt")
    (source / "empty").mkdir()
    file = f"{source}/config.txt"
    rows = [
        Row(f"{source}", "/boot/d", number=6),
        Row(file, "/boot/owned", uid=1, number=5),
        Row(file, "/boot/grouped", gid=1, number=4),
        Row(file, "/boot/noted", xattrs=(("user.a", b""),), number=3),
        Row(file, "/boot/loader/Loader.conf", number=2),
        Row(file, "/boot/a:b", number=1),
    ]
    own: Files = {"loader/loader.conf": b"timeout 1"}
    with pytest.raises(RequestError) as caught:
        moved(tree, rows, {"/boot": Role.ESP}, own)
    plain = "is on the EFI system partition, a FAT, where everything is root's and has no xattrs"
    assert [line.removeprefix("contents, row ") for line in caught.value.problems] == [
        *(f"{name} {plain}" for name in ("5: /boot/owned", "4: /boot/grouped", "3: /boot/noted")),
        "2: /boot/loader/Loader.conf is made by this program, and cannot be replaced: leave it out",
        "6: /boot/d/empty is an empty directory, which the EFI system partition cannot hold: "
        "put a file into it",
        "6: /boot/d/link is a symlink, which the EFI system partition, a FAT, cannot hold: give "
        "the file it leads to",
        "contents: the EFI system partition is a FAT, which cannot hold 'a:b': ':' is reserved",
    ]


def test_a_file_where_a_fat_is_mounted_is_refused(tree: Tree, source: Path) -> None:
    rows = [Row(f"{source}/config.txt", "/efi", number=1)]
    with pytest.raises(RequestError, match="row 1: /efi is a file, and the system mounts the EFI"):
        moved(tree, rows, {"/efi": Role.ESP})


def test_modes_on_a_fat_are_warned_of(
    tree: Tree, source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, mode = f"{source}/config.txt", parse_mode("600")
    rows = [Row(file, "/boot/a", mode=mode), Row(file, "/boot/b"), Row(file, "/c", mode=mode)]
    with caplog.at_level(logging.WARNING):
        moved(tree, rows, {"/boot": Role.ESP})
    [message] = caplog.messages
    assert message.startswith("contents: the mode of /boot/a is left out: the EFI system")


def test_rows_that_a_mount_hides_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    mounts = parse_fstab(
        "/dev/disk/by-label/nixos / ext4\n/dev/disk/by-label/ESP /boot vfat\n"
        "tmpfs /var/tmp tmpfs\n/persist/log /var/log none bind\n/dev/sdb1 /srv ext4 noauto\n"
        "/dev/disk/by-label/swap none swap\n"
    )
    targets = ("/boot/a", "/var/tmp/a", "/var/tmp/b", "/var/log", "/srv/a", "/var/logs", "/none")
    with caplog.at_level(logging.WARNING):
        warn_of_hidden([Row("/x", target) for target in targets], mounts, ["/boot"])
    assert caplog.messages == [
        "contents: /var/tmp/a and 1 more cannot be seen in the machine, which mounts tmpfs at "
        "/var/tmp",
        "contents: /var/log cannot be seen in the machine, which mounts /persist/log at /var/log",
    ]
