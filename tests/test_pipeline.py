"""The whole command, from a closure to an image that foreign tools approve of.

Without these tests, parts that are right alone can make an image that is wrong.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support import readback
from tests.support.clock import wait_for_tick
from tests.support.places import ASSEMBLE, CHECK_IMAGE, AsRoot
from tests.support.programs import run
from tests.support.systems import System, add_path, make_system, store_path
from tests.support.trees import CAPABILITY, parse


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(tmp_path_factory.mktemp("store"))


def assemble(
    system: System, out: Path, *options: str | Path, **variables: str
) -> "subprocess.CompletedProcess[str]":
    done = run(ASSEMBLE, "--out", out, *system.options, *options, **variables)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def image(system: System, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image of `system` with no option at all, which no test changes."""
    out = tmp_path_factory.mktemp("image") / "disk.raw"
    assemble(system, out)
    return out


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def partition(image: Path, number: int) -> tuple[int, int]:
    """Start and size in bytes, as sfdisk reads them."""
    table = json.loads(run("/sbin/sfdisk", "--json", image).stdout)["partitiontable"]
    entry = table["partitions"][number - 1]
    return entry["start"] * 512, entry["size"] * 512


def debugfs(image: Path, request: str) -> str:
    offset, _ = partition(image, 3)
    return run("/sbin/debugfs", "-R", request, f"{image}?offset={offset}").stdout


def test_foreign_tools_approve(image: Path) -> None:
    verified = run("/sbin/sgdisk", "-v", image)
    assert "No problems found" in verified.stdout, verified.stdout
    offset, _ = partition(image, 3)
    checked = run("/sbin/e2fsck", "-fn", f"{image}?offset={offset}")
    assert checked.returncode == 0, checked.stdout


def test_the_root_is_a_nixos_root(
    system: System, image: Path, tmp_path: Path, as_root: AsRoot
) -> None:
    mount = tmp_path / "mount"
    offset, _ = partition(image, 3)
    mount.mkdir()
    as_root("mount", "-o", f"loop,ro,noload,offset={offset}", image, mount)
    try:
        found, _ = parse(as_root(sys.executable, Path(readback.__file__), mount).stdout)
    finally:
        as_root("umount", mount)

    def owner_mode(path: str) -> tuple[int, int, str]:
        facts = found[path.encode().hex()]
        return facts["uid"], facts["gid"], oct(facts["mode"] & 0o7777)

    assert owner_mode("") == (0, 0, "0o755")
    assert owner_mode("nix/store") == (0, 30000, "0o1775")
    assert owner_mode("tmp") == (0, 0, "0o1777")
    assert owner_mode("root") == (0, 0, "0o700")
    assert owner_mode("boot/grub") == (0, 0, "0o700")
    assert owner_mode("nix/var/nix/db/db.sqlite") == (0, 0, "0o644")
    assert owner_mode(f"{system.toplevel[1:]}/init") == (0, 0, "0o555")
    assert {facts["mtime"] for facts in found.values()} == {10**9}
    link = found[b"nix/var/nix/profiles/system-1-link".hex()]
    assert bytes.fromhex(link["target"]).decode() == system.toplevel
    shell = found[b"bin/sh".hex()]
    assert bytes.fromhex(shell["target"]).decode().endswith("-bash-5/bin/bash")


def test_the_database_lists_the_closure(system: System, image: Path, tmp_path: Path) -> None:
    debugfs(image, f"dump /nix/var/nix/db/db.sqlite {tmp_path}/db.sqlite")
    query = "select path from ValidPaths order by path"
    listed = run("sqlite3", tmp_path / "db.sqlite", query).stdout.split()
    assert listed == sorted(system.paths)


def test_same_bytes_for_another_time_place_and_environment(
    system: System, image: Path, tmp_path: Path
) -> None:
    two, scratch = tmp_path / "other" / "two.raw", tmp_path / "scratch"
    scratch.mkdir()
    two.parent.mkdir()
    moved = make_moved(system, tmp_path / "moved")
    wait_for_tick(image.stat().st_mtime)
    assemble(moved, two, TMPDIR=str(scratch), TZ="Asia/Tokyo", LC_ALL="C.UTF-8")
    assert sha256(image) == sha256(two)
    assert not list(scratch.iterdir())


def make_moved(system: System, target: Path) -> System:
    """The same store at another place, its files in another order on the disk."""
    for path in reversed(system.paths):
        shutil.copytree(system.host(path), target / path.lstrip("/"), symlinks=True)
    shutil.copy(system.registration, target / "registration")
    return System(target, system.toplevel, target / "registration", system.paths)


def test_same_bytes_for_another_user(system: System, image: Path, as_root: AsRoot) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own are closed to other users
        shared = Path(name)
        shared.chmod(0o777)
        moved = make_moved(system, shared / "store")
        as_root(
            "setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", "--",
            "env", f"HOME={shared}", ASSEMBLE, "--out", shared / "two.raw", *moved.options,
        )  # fmt: skip
        assert (shared / "two.raw").stat().st_uid == 12345
        assert sha256(image) == sha256(shared / "two.raw")
        as_root("rm", shared / "two.raw")


def test_contents_arrive_with_owner_mode_and_xattrs(tmp_path: Path) -> None:
    """And where the machine has /boot."""
    fstab = "LABEL=nixos / ext4\nLABEL=ESP /boot vfat\n"
    system = make_system(tmp_path / "store", fstab)
    (tmp_path / "log").mkdir()
    (tmp_path / "ping").write_bytes(b"program")
    (tmp_path / "passwd").write_text("alice:x:4711:100::/home/alice:/bin/sh\n")
    rows = [
        {"source": str(tmp_path / "passwd"), "target": "/etc/passwd", "mode": "0644"},
        {
            "source": str(tmp_path / "ping"),
            "target": "/usr/bin/ping",
            "user": "alice",
            "group": "users",
            "mode": "4755",
            "xattrs": {"security.capability": "0x" + CAPABILITY.hex()},
        },
        {
            "source": str(tmp_path / "log"),
            "target": "/var/log",
            "user": "alice",
            "mode": "u=rwx,go=",
        },
        {"source": str(tmp_path / "ping"), "target": "/boot/EFI/ping.efi"},
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    out = tmp_path / "disk.raw"
    assemble(system, out, "--contents", tmp_path / "rows.json")
    stat = debugfs(out, "stat /usr/bin/ping")
    assert "Mode:  04755" in stat
    assert "User:  4711   Group:   100" in stat
    assert "security.capability (20)" in stat
    assert "program" in debugfs(out, "cat /usr/bin/ping")
    stat = debugfs(out, "stat /var/log")
    assert "Mode:  0700" in stat
    assert "User:  4711   Group:     0" in stat
    esp, _ = partition(out, 1)
    assert run("mtype", "-i", f"{out}@@{esp}", "::/EFI/ping.efi").stdout == "program"


def full_options(system: System, place: Path) -> dict[str, list[str | Path]]:
    """What can be asked for beyond the usual skeleton; its store paths are put into the store."""
    channel = store_path(7, "nixos-23.05")
    registration = add_path(system, channel, {"nixos/default.nix": b"{ }"})
    configuration = place / "configuration.nix"
    configuration.write_bytes(b"{ } # caf\xe9\n")
    configuration.chmod(0o600)
    return {
        "channel": ["--closure", registration, "--channel", channel],
        "configuration": ["--configuration", configuration],
        "generations": [
            "--generation", f"4={system.toplevel}", "--generation", f"9={system.paths[2]}",
        ],
    }  # fmt: skip


def test_generations_channel_and_configuration_arrive(tmp_path: Path) -> None:
    system, out = make_system(tmp_path / "store"), tmp_path / "disk.raw"
    options = [arg for given in full_options(system, tmp_path).values() for arg in given]
    assemble(system, out, *options, SOURCE_DATE_EPOCH="1000000000")
    for path, mode in (
        ("/root/.nix-defexpr", "0700"),
        ("/etc/nixos", "0755"),
        ("/etc/nixos/configuration.nix", "0644"),
        ("/nix/var/nix/gcroots/per-user/root", "0755"),
        ("/var/empty", "0555"),
    ):
        stat = debugfs(out, f"stat {path}")
        assert f"Mode:  {mode}" in stat
        assert "User:     0   Group:     0" in stat
        assert "mtime: 0x3b9aca00" in stat
    profiles = "/nix/var/nix/profiles"
    for link, target in {
        f"{profiles}/system": "system-4-link",
        f"{profiles}/system-4-link": system.toplevel,
        f"{profiles}/system-9-link": system.paths[2],
        f"{profiles}/per-user/root/channels": "channels-1-link",
        f"{profiles}/per-user/root/channels-1-link": store_path(7, "nixos-23.05"),
        "/root/.nix-defexpr/channels": f"{profiles}/per-user/root/channels",
    }.items():
        assert re.search(f'Fast link dest: "{target}"|^{target}', link_facts(out, link), re.M)
    debugfs(out, f"dump /etc/nixos/configuration.nix {tmp_path}/copy")
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "configuration.nix").read_bytes()


def link_facts(image: Path, link: str) -> str:
    """What debugfs prints for a symlink: its target is in the inode, or in a block of its own."""
    return debugfs(image, f"stat {link}") + debugfs(image, f"cat {link}")


def test_the_closure_and_the_seed_make_another_disk_and_contents_do_not(tmp_path: Path) -> None:
    system = make_system(tmp_path / "store")
    options = full_options(system, tmp_path)
    contents = tmp_path / "contents.json"
    contents.write_text(json.dumps([{"source": str(contents), "target": "/srv/file"}]))

    def disk_guid(*given: str | Path) -> str:
        plan = assemble(system, tmp_path / "x", "--plan", "--json", *given).stdout
        return str(json.loads(plan)["diskGuid"])

    configuration = options.pop("configuration")
    guids = [disk_guid(), *(disk_guid(*given) for given in options.values())]
    guids += [disk_guid("--seed", "a"), disk_guid("--seed", "b")]
    assert len(set(guids)) == len(guids)
    assert disk_guid(*configuration, "--contents", contents) == guids[0]
    one, two = options["generations"][:2], options["generations"][2:]
    assert disk_guid(*one, *two) == disk_guid(*two, *one)


def test_a_fixed_size_is_exact(system: System, tmp_path: Path) -> None:
    out = tmp_path / "disk.raw"
    assemble(system, out, "--size", "700M")
    assert out.stat().st_size == 700 << 20
    assert "No problems found" in run("/sbin/sgdisk", "-v", out).stdout


def test_auto_size_leaves_the_space_asked_for(system: System, tmp_path: Path) -> None:
    out = tmp_path / "disk.raw"
    assemble(system, out, "--additional-space", "100M", "--boot-size", "64M")
    free = int(debugfs(out, "stats").split("Free blocks:")[1].split()[0]) * 4096
    assert 100 << 20 <= free <= 102 << 20


def test_it_fits_with_no_additional_space(system: System, tmp_path: Path) -> None:
    assemble(system, tmp_path / "disk.raw", "--additional-space", "0")


def test_the_image_is_sparse(image: Path) -> None:
    assert image.stat().st_blocks * 512 < 32 << 20


def test_plan_writes_nothing_and_foretells(system: System, image: Path, tmp_path: Path) -> None:
    plan = json.loads(assemble(system, tmp_path / "disk.raw", "--plan", "--json").stdout)
    assert list(tmp_path.iterdir()) == []
    table = json.loads(run("/sbin/sfdisk", "--json", image).stdout)["partitiontable"]
    assert table["id"].lower() == plan["diskGuid"]
    assert plan["size"] == image.stat().st_size
    assert [(p["start"] * 512, p["size"] * 512) for p in table["partitions"]] == [
        (p["start"], p["size"]) for p in plan["partitions"]
    ]
    assert plan["root"]["uuid"] in debugfs(image, "stats")


def test_plan_for_people(system: System, tmp_path: Path) -> None:
    assert "root: ext4 nixos" in assemble(system, tmp_path / "x", "--plan").stdout


def test_live_store(demo_system: str, tmp_path: Path) -> None:
    out = tmp_path / "disk.raw"
    done = run(ASSEMBLE, "--out", out, "--system", demo_system)
    assert done.returncode == 0, done.stderr
    assert run(CHECK_IMAGE, out).returncode == 0


def test_closure_info_directory(system: System, tmp_path: Path) -> None:
    info = tmp_path / "closure-info"
    info.mkdir()
    shutil.copy(system.registration, info / "registration")
    options = [*system.options[:2], "--closure", str(info), *system.options[4:]]
    done = run(ASSEMBLE, "--out", tmp_path / "disk.raw", *options)
    assert done.returncode == 0, done.stderr


def test_grub_finds_its_files_in_a_subvolume(system: System, tmp_path: Path) -> None:
    out = tmp_path / "disk.raw"
    options = ["--filesystem", "btrfs", "--subvolume", "@=/", "--subvolume", "nix=/nix"]
    done = assemble(system, out, *options, "--accelerator", "tcg", "--progress")
    for step in ("making the payload", "starting the appliance", "writing btrfs"):
        assert re.search(rf"{step} +[0-9]+% \|", done.stderr)
    listed = run("grub-fstest", out, "ls", "(loop0,gpt3)/@/boot/grub/").stdout.split()
    assert "grub.cfg" in listed
    menu = run("grub-fstest", out, "cat", "(loop0,gpt3)/@/boot/grub/grub.cfg").stdout
    [kernel] = {*re.findall(r"^\s*linux \(\$drive1\)(\S+)", menu, re.MULTILINE)}
    read = subprocess.run(["grub-fstest", out, "cat", f"(loop0,gpt3){kernel}"], capture_output=True)
    # The store is in another subvolume than /boot, and so NixOS would copy the kernels, too.
    assert kernel == f"/@/boot/kernels/{system.paths[0].removeprefix('/nix/store/')}-bzImage"
    assert read.stdout == system.host(f"{system.paths[0]}/bzImage").read_bytes()
