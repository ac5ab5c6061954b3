"""What the commands say to bad requests: every problem at once, exit 2, nothing created."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.helpers import nix_store
from tests.support.places import AsRoot
from tests.support.systems import System, add_path, make_system, store_path

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(tmp_path_factory.mktemp("store"))


def run(command: str, *argv: str | Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(BIN / command), *(str(arg) for arg in argv)],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
    )


def refused(out: Path, *options: str | Path, **variables: str) -> list[str]:
    """The problems that `assemble` names; asserts that it created nothing."""
    before = sorted(out.parent.iterdir()) if out.parent.is_dir() else []
    done = run("assemble", "--out", out, *options, **variables)
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    assert (sorted(out.parent.iterdir()) if out.parent.is_dir() else []) == before
    assert done.stdout == ""
    return [line.removeprefix("assemble: ") for line in done.stderr.splitlines()]


def only(lines: list[str]) -> str:
    """The one problem among the lines that tell of steps."""
    [line] = [
        line for line in lines if not line.startswith(("reading the closure ...", "preparing"))
    ]
    return line


def with_system(system: System, toplevel: str) -> list[str]:
    return [*system.options[:-1], toplevel]


def test_system_that_is_no_store_path(system: System, tmp_path: Path) -> None:
    options = with_system(system, "/home/me/system")
    assert "/home/me/system is not a store path" in only(refused(tmp_path / "x", *options))


def test_system_that_does_not_exist(system: System, tmp_path: Path) -> None:
    missing = store_path(9, "gone")
    assert f"{missing} does not exist" in only(
        refused(tmp_path / "x", *with_system(system, missing))
    )


def test_system_outside_the_closure(system: System, tmp_path: Path) -> None:
    lines = registration_lines(system)
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "registration").write_text("".join(lines[:5]))
    line = refused(
        tmp_path / "x", "--store", system.root, "--closure", tmp_path / "r", "--system",
        system.toplevel,
    )  # fmt: skip
    assert any(f"{system.toplevel} is not in the closure" in problem for problem in line)


def registration_lines(system: System) -> list[str]:
    return system.registration.read_text().splitlines(keepends=True)


def test_system_without_a_bootspec(system: System, tmp_path: Path) -> None:
    line = only(refused(tmp_path / "x", *with_system(system, system.paths[2])))
    assert f"{system.paths[2]} cannot be booted: it has neither a boot.json" in line


def test_kernel_that_is_absent(tmp_path: Path) -> None:
    system = make_system(tmp_path / "store")
    kernel = system.host(system.paths[0]) / "bzImage"
    kernel.unlink()
    out = tmp_path / "out"
    out.mkdir()
    assert "bzImage" in only(refused(out / "x", *system.options))


def test_registration_cut_short(system: System, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    cut.write_text("".join(registration_lines(system)[:-1]))
    options = ["--store", system.root, "--closure", cut, "--system", system.toplevel]
    assert f"{cut} is cut short" in only(refused(tmp_path / "x", *options))


def test_registration_of_an_absent_path(tmp_path: Path) -> None:
    system = make_system(tmp_path / "store")
    system.host(system.paths[2]).rename(tmp_path / "elsewhere")
    out = tmp_path / "out"
    out.mkdir()
    problems = refused(out / "x", *system.options)
    assert any(f"{system.paths[2]} is in the closure but" in line for line in problems)


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
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([row]))
    assert problem in only(refused(tmp_path / "x", *system.options, "--contents", file))


def test_two_rows_for_one_target(system: System, tmp_path: Path) -> None:
    row = {"source": "/etc/passwd", "target": "/a"}
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([row, row]))
    line = only(refused(tmp_path / "x", *system.options, "--contents", file))
    assert line == "--contents, row 2: row 1 has the target /a, too: leave one of them out"


def test_a_boot_loader_that_is_not_made_here(tmp_path: Path) -> None:
    program = store_path(5, "limine-install.sh")
    system = make_system(tmp_path / "store", installer=program)
    assert only(refused(tmp_path / "x", *system.options)) == (
        "the system is configured with the boot loader limine, which is not made here: take "
        f"--boot-loader system, which runs the system's own installer ({program}), or grub"
    )


def test_a_layout_that_cannot_hold_what_is_asked_for(system: System, tmp_path: Path) -> None:
    options = ["--partition-table", "hybrid", "--boot-loader", "systemd-boot"]
    assert refused(tmp_path / "x", *system.options, *options, "--sector-size", "4096")[-2:] == [
        "--partition-table hybrid is for BIOS, too, which does not start systemd-boot: take efi or "
        "efixbootldr, or --boot-loader grub",
        "--partition-table hybrid is for BIOS, which starts no disk with --sector-size 4096: take "
        "efi or efixbootldr",
    ]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            ["--boot-size", "4M"],
            "the EFI system partition of 4.0 MiB is too small: the smallest is 5.0 MiB",
        ),
        (
            ["--boot-size", "16M", "--sector-size", "4096"],
            "the EFI system partition of 16.0 MiB is too small: the smallest is 17.0 MiB",
        ),
        (
            ["--boot-size", "5M", "--partition-table", "efixbootldr"],
            "the boot partition of 5.0 MiB is too small for its files by ",
        ),
    ],
)
def test_a_boot_partition_too_small(
    system: System, tmp_path: Path, options: list[str], problem: str
) -> None:
    assert only(refused(tmp_path / "x", *system.options, *options)).startswith(problem)


def test_an_efi_binary_that_is_none(system: System, tmp_path: Path) -> None:
    (tmp_path / "shimx64.efi").write_bytes(b"#!/bin/sh\n")
    out = tmp_path / "out"
    out.mkdir()
    options = ["--efi-binary", tmp_path / "shimx64.efi", "--efi-binary", tmp_path / "gone.efi"]
    lines = refused(out / "x", *system.options, *options)
    assert [line for line in lines if line.startswith("--efi-binary")] == [
        f"--efi-binary {tmp_path}/shimx64.efi: it is not an EFI program (no MZ header)",
        f"--efi-binary {tmp_path}/gone.efi: No such file or directory",
    ]


def test_size_too_small(system: System, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * (40 << 20))
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([{"source": str(tmp_path / "big"), "target": "/big"}]))
    options = ["--contents", file, "--boot-size", "64M", "--size", "90M"]
    lines = refused(tmp_path / "x", *system.options, *options)
    told = "\n".join(lines)
    assert "--size 90.0 MiB is too small" in told
    assert "MiB are missing" in told
    assert len([line for line in lines if "/nix/store/" in line]) == 4  # all there are
    assert f"{system.paths[0]}" in told


def test_size_too_small_by_how_much_is_true(system: System, tmp_path: Path) -> None:
    options = [*system.options, "--boot-size", "64M"]
    lines = refused(tmp_path / "x", *options, "--size", "76M")
    missing = next(line for line in lines if "missing" in line)
    need = 76 + float(missing.split(": ")[1].split()[0])
    done = run("assemble", "--out", tmp_path / "x", *options, "--size", f"{need:.0f}M")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["absent/disk.raw", "directory", "readonly/disk.raw"])
def test_out(system: System, tmp_path: Path, name: str) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "readonly").mkdir(mode=0o555)
    line = only(refused(tmp_path / name, *system.options))
    assert f"--out {tmp_path / name}" in line


def test_out_that_is_a_device(system: System) -> None:
    done = run("assemble", "--out", "/dev/null", *system.options)
    assert done.returncode == 2
    assert "--out /dev/null" in done.stderr


def test_all_problems_at_once(system: System, tmp_path: Path) -> None:
    rows = [{"source": "/nonexistent", "target": "/a"}, {"source": "/etc", "target": "../b"}]
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(rows))
    options = [*system.options, "--contents", file, "--label", "x" * 17, "--size", "1000"]
    told = "\n".join(refused(tmp_path / "absent" / "x", *options))
    for problem in ("/nonexistent does not exist", "leaves the root", "--label", "--size 1000"):
        assert problem in told
    assert "absent does not exist" in told


@pytest.mark.parametrize("option", ["--size", "--additional-space", "--boot-size"])
def test_sizes_that_are_none(system: System, tmp_path: Path, option: str) -> None:
    told = refused(tmp_path / "x", *system.options, option, "many")
    assert "'many' is not a size" in "\n".join(told)


@pytest.mark.parametrize("epoch", ["yesterday", "-1", "9" * 5000, "99999999999"])
def test_bad_epoch(system: System, tmp_path: Path, epoch: str) -> None:
    told = refused(tmp_path / "x", *system.options, SOURCE_DATE_EPOCH=epoch)
    assert "SOURCE_DATE_EPOCH" in only(told)


@pytest.mark.parametrize("label", ["", "x" * 17, "a\nb", "\udcff"])
def test_bad_label(system: System, tmp_path: Path, label: str) -> None:
    assert "--label" in only(refused(tmp_path / "x", *system.options, "--label", label))


@pytest.mark.parametrize("name", ["with space", "question?mark", "a@@b,c", "\udcff"])
def test_odd_names_for_out(system: System, tmp_path: Path, name: str) -> None:
    done = run("assemble", "--out", tmp_path / name, *system.options)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / name).stat().st_size > 0


def test_tmpdir_that_tools_would_misread(system: System, tmp_path: Path) -> None:
    odd = tmp_path / "what?"
    odd.mkdir()
    [told] = refused(tmp_path / "x", *system.options, TMPDIR=str(odd))
    assert told.endswith("a path with ? or @ in it: set TMPDIR to another directory")
    assert sorted(tmp_path.iterdir()) == [odd]


@pytest.mark.parametrize("program", ["mke2fs", "mcopy", "nix-store"])
def test_missing_program(system: System, tmp_path: Path, program: str) -> None:
    """A host that lacks a tool: exit 1, the tool and its packages named."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for directory in ("/usr/sbin", "/sbin", "/usr/bin", "/bin"):
        for tool in Path(directory).iterdir():
            link = tools / tool.name
            if tool.name != program and not link.is_symlink():
                link.symlink_to(tool)
    script = (
        "import assembler.host.programs as p; p._ADMIN_DIRECTORIES = ();"
        "from assembler.cli.commands import assemble_main; assemble_main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "--out", str(tmp_path / "x"), *system.options],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": str(tools)},
    )
    assert done.returncode == 1, done.stderr
    assert f"{program} is not on PATH" in done.stderr
    assert not (tmp_path / "x").exists()


def test_prepare_root_fills_a_directory(system: System, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    done = run("prepare-root", root, *system.options)
    assert done.returncode == 0, done.stderr
    assert (root / "etc/NIXOS").is_file()
    verify = ["nix-store", "--store", f"local?root={root}", "--verify", "--check-contents"]
    checked = subprocess.run(verify, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    query = [*verify[:3], "--query", "--requisites", system.toplevel]
    listed = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()
    assert sorted(listed) == sorted(system.paths)


def test_prepare_root_into_no_directory(system: System, tmp_path: Path) -> None:
    done = run("prepare-root", tmp_path / "absent", *system.options)
    assert done.returncode == 2
    assert "is not a directory" in done.stderr


def test_system_that_nix_does_not_know(tmp_path: Path, as_root: AsRoot) -> None:
    """A path that lies in the live store but not in Nix's database, and another problem."""
    stray = store_path(5, "stray-system")
    as_root("mkdir", stray)
    try:
        told = refused(tmp_path / "x", "--system", stray, "--label", "")
    finally:
        as_root("rmdir", stray)
    assert any(f"{stray} is unknown to Nix's database" in line for line in told)
    assert any("--label" in line for line in told)


def test_every_bad_closure_is_named(system: System, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"{name} is no registration\n")
    options = ["--closure", tmp_path / "one", "--closure", tmp_path / "two"]
    told = "\n".join(refused(tmp_path / "x", *system.options, *options))
    assert f"{tmp_path}/one" in told
    assert f"{tmp_path}/two" in told


@pytest.mark.parametrize("option", ["--size", "--additional-space", "--boot-size"])
def test_sizes_beyond_the_file_systems(system: System, tmp_path: Path, option: str) -> None:
    assert option in only(refused(tmp_path / "x", *system.options, option, "8000T"))


def test_out_whose_name_is_too_long(system: System, tmp_path: Path) -> None:
    line = only(refused(tmp_path / ("x" * 256), *system.options))
    assert line.endswith("x: its name is longer than 255 bytes")


def test_out_whose_name_is_just_short_enough(system: System, tmp_path: Path) -> None:
    out = tmp_path / ("x" * 255)
    done = run("assemble", "--out", out, *system.options)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    ("target", "fault"),
    [
        ("link", "is a symlink that leads back to itself"),
        ("absent/x", "absent does not exist"),
        ("readonly/x", "readonly is not writable"),
        ("readonly", "is a directory"),
        ("locked/x", "locked is not writable"),
        ("y" * 255 + "/../" + "y" * 256, "its name is longer than 255 bytes"),
    ],
)
def test_out_that_is_a_symlink_to_no_place(
    system: System, tmp_path: Path, target: str, fault: str
) -> None:
    (tmp_path / "readonly").mkdir(mode=0o555)
    (tmp_path / "locked").mkdir(mode=0)
    (tmp_path / "link").symlink_to(target)
    line = only(refused(tmp_path / "link", *system.options))
    assert f"--out {tmp_path / 'link'}" in line
    assert line.endswith(fault)
    assert os.readlink(tmp_path / "link") == target


def test_out_that_a_sticky_directory_protects(
    system: System, tmp_path: Path, as_root: AsRoot
) -> None:
    shared = tmp_path / "shared"
    as_root("install", "-d", "-m", "1777", shared)
    try:
        as_root("install", "-m", "644", "/dev/null", shared / "disk.raw")
        line = only(refused(shared / "disk.raw", *system.options))
        assert f"--out {shared / 'disk.raw'} belongs to another user" in line
        assert "sticky" in line
        for _ in range(2):
            done = run("assemble", "--out", shared / "mine.raw", *system.options)
            assert done.returncode == 0, done.stderr
    finally:
        as_root("rm", "-r", shared)


def test_out_in_a_sticky_directory_of_ones_own(
    system: System, tmp_path: Path, as_root: AsRoot
) -> None:
    tmp_path.chmod(0o1777)
    as_root("install", "-m", "644", "/dev/null", tmp_path / "disk.raw")
    done = run("assemble", "--out", tmp_path / "disk.raw", *system.options)
    assert done.returncode == 0, done.stderr


def test_an_interrupt_during_the_imports_says_nothing() -> None:
    script = (
        "import os, signal, sys\n"
        "class Interrupter:\n"
        "    def find_spec(name, *_):\n"
        "        if name == 'assembler.pipeline': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupter)\n"
        "import assemble_start\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


@pytest.mark.parametrize("target", ["/lost+found", "/lost+found/x"])
def test_contents_in_lost_and_found(system: System, tmp_path: Path, target: str) -> None:
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([{"source": "/etc/passwd", "target": target}]))
    line = only(refused(tmp_path / "x", *system.options, "--contents", file))
    assert line.endswith("/lost+found is the file system's own")


def test_contents_that_bring_a_lost_and_found(system: System, tmp_path: Path) -> None:
    (tmp_path / "disk" / "lost+found").mkdir(parents=True)
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([{"source": f"{tmp_path}/disk/*", "target": "/"}]))
    line = only(refused(tmp_path / "x", *system.options, "--contents", file))
    assert "lost+found" in line


def test_contents_that_may_not_be_read(system: System, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory" / "secret").touch(mode=0)
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([{"source": f"{tmp_path}/directory", "target": "/d"}]))
    line = only(refused(tmp_path / "x", *system.options, "--contents", file))
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
        file = tmp_path / "rows.json"
        file.write_text(json.dumps([{"source": f"{mount}/huge", "target": "/huge"}]))
        line = only(refused(tmp_path / "x", *system.options, "--contents", file))
    finally:
        as_root("umount", mount)
    assert "huge is larger than the 16 TiB that a file in ext4 can be" in line


def test_contents_whose_link_has_xattrs(system: System, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("anywhere")
    row = {"source": f"{tmp_path}/link", "target": "/l", "xattrs": {"user.a": "b"}}
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([row]))
    line = only(refused(tmp_path / "x", *system.options, "--contents", file))
    assert "link is a symlink, which has no xattrs" in line


def test_file_systems_and_writers_that_do_not_go_together(system: System, tmp_path: Path) -> None:
    """All at once."""
    options = ["--filesystem", "xfs", "--writer", "direct", "--label", "thirteen long"]
    options += ["--subvolume", "@=/", "--subvolume", "@=relative", "--subvolume", "a/b=/"]
    assert refused(tmp_path / "x", *system.options, *options)[-7:] == [
        "--label 'thirteen long' is not 1 to 12 printable bytes",
        "--writer direct makes ext4 only: take --writer guestfs for xfs",
        "--subvolume is for --filesystem btrfs, not xfs",
        "--subvolume @=relative: 'relative' is not an absolute, plain path",
        "--subvolume a/b=/: a name has letters, digits and @._+- only",
        "--subvolume: the name @ is given twice",
        "--subvolume: the place / is given twice",
    ]


def test_a_file_system_that_nobody_makes(system: System, tmp_path: Path) -> None:
    said = only(refused(tmp_path / "x", *system.options, "--filesystem", "ntfs"))
    assert said == (
        "--filesystem ntfs cannot be made: "
        "there are ext4, and with --writer guestfs btrfs, xfs, f2fs"
    )


def test_a_subvolume_that_would_show_twice(system: System, tmp_path: Path) -> None:
    """Where the root is the top level of the btrfs, in which every subvolume has its name."""
    options = ["--filesystem", "btrfs", "--subvolume", "nix=/nix", "--subvolume", "home=/var"]
    assert only(refused(tmp_path / "x", *system.options, *options)) == (
        "--subvolume home=/var would show in the root as /home, too: "
        "give the root a subvolume of its own, as in --subvolume @=/"
    )


@pytest.mark.parametrize("given", ["@", "=/", "..=/", "@=/a/../b", "@=/a,b"])
def test_a_subvolume_that_is_none(system: System, tmp_path: Path, given: str) -> None:
    options = [*system.options, "--filesystem", "btrfs", "--subvolume", given]
    assert given in refused(tmp_path / "x", *options)[-2 if given == "@" else -1]


def test_a_symlink_too_long_for_xfs(system: System, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("x" * 1024)
    contents = tmp_path / "contents.json"
    contents.write_text(json.dumps([{"source": str(link), "target": "/etc/link"}]))
    options = [*system.options, "--filesystem", "xfs", "--contents", contents]
    assert only(refused(tmp_path / "x", *options)) == (
        "/etc/link is a symlink of 1024 bytes; in XFS the longest has 1023"
    )


@pytest.mark.parametrize("command", ["assemble", "prepare-root"])
def test_every_bad_part_of_the_skeleton_is_named(
    system: System, tmp_path: Path, command: str
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    target = ["--out", root / "disk.raw"] if command == "assemble" else [root]
    options = [
        "--generation", "0=/home/me/system", "--generation", f"3={store_path(9, 'gone')}",
        "--channel", system.paths[2], "--configuration", "/nonexistent",
    ]  # fmt: skip
    done = run(command, *target, *system.options, *options)
    assert done.returncode == 2
    for told in (
        "--generation 0=/home/me/system is not a store path",
        "--generation 0=/home/me/system: the numbers are 1 to",
        f"--generation 3={store_path(9, 'gone')} does not exist",
        f"--channel {system.paths[2]} has neither",
        "--configuration /nonexistent does not exist",
    ):
        assert told in done.stderr
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("given", ["7", "=/x", "x=/x", "-1=/x", "1.5=/x", f"{'9' * 5000}=/x"])
def test_generation_without_a_number(system: System, tmp_path: Path, given: str) -> None:
    told = refused(tmp_path / "x", *system.options, f"--generation={given}")
    assert told[0].endswith(f"{given} is not N=PATH with a number N")


@pytest.mark.parametrize("option", ["--channel", "--generation"])
def test_what_is_outside_the_closure(system: System, tmp_path: Path, option: str) -> None:
    """With a registration the store is asked for the rest; here it has no database."""
    path = store_path(7, "nixos-23.05")
    add_path(system, path, {"nixos/default.nix": b"{ }"})
    given = f"2={path}" if option == "--generation" else path
    line = only(refused(tmp_path / "x", *system.options, option, given))
    assert f"{system.root} holds no Nix database" in line


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
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps([{"source": str(tmp_path / source), "target": target}]))
    options = ["--contents", rows, "--configuration", tmp_path / "configuration.nix"]
    line = only(refused(tmp_path / "x", *system.options, *options))
    assert line.startswith("--configuration and the --contents row for /etc")
    assert line.endswith("both make /etc/nixos/configuration.nix")


def test_contents_beside_the_configuration(system: System, tmp_path: Path) -> None:
    (tmp_path / "nixos").mkdir()
    (tmp_path / "nixos/hardware-configuration.nix").write_text("{ }")
    (tmp_path / "configuration.nix").write_text("{ }")
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps([{"source": str(tmp_path / "nixos"), "target": "/etc/nixos"}]))
    options = ["--contents", rows, "--configuration", tmp_path / "configuration.nix"]
    done = run("assemble", "--out", tmp_path / "x", "--plan", *system.options, *options)
    assert done.returncode == 0, done.stderr


def test_prepare_root_with_all_that_can_be_asked_for(tmp_path: Path) -> None:
    system = make_system(tmp_path / "store")
    channel, root = store_path(7, "nixos-23.05"), tmp_path / "root"
    registration = add_path(system, channel, {"nixos/default.nix": b"{ }"})
    (tmp_path / "configuration.nix").write_bytes(b"{ } # caf\xe9")
    root.mkdir()
    done = run(
        "prepare-root", root, *system.options, "--closure", registration,
        "--channel", f"{channel}/", "--configuration", tmp_path / "configuration.nix",
        "--generation", f"4={system.paths[2]}/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert os.readlink(root / "nix/var/nix/profiles/system") == "system-5-link"
    assert os.readlink(root / "nix/var/nix/profiles/system-5-link") == system.toplevel
    assert os.readlink(root / "nix/var/nix/profiles/system-4-link") == system.paths[2]
    query = ["nix-store", "--store", f"local?root={root}", "--query", "--requisites", channel]
    assert subprocess.run(query, capture_output=True, text=True).stdout.split() == [channel]
    assert (root / "etc/nixos/configuration.nix").read_bytes() == b"{ } # caf\xe9"


def test_build_dependencies_of_a_system_whose_derivation_is_unknown(tmp_path: Path) -> None:
    source = make_system(tmp_path / "source")
    nix_store(source.root, "--load-db", stdin=source.registration.read_bytes())
    options = ["--store", source.root, "--system", source.toplevel, "--include-build-deps"]
    (tmp_path / "root").mkdir()
    done = run("prepare-root", tmp_path / "root", *options)
    assert done.returncode == 2
    assert list((tmp_path / "root").iterdir()) == []
    told = only(done.stderr.splitlines())
    assert f"Nix does not know what built {source.toplevel}: find its derivation" in told
    assert only(refused(tmp_path / "x", *options)) in told


def test_build_dependencies_where_no_store_can_be_asked(system: System, tmp_path: Path) -> None:
    line = only(refused(tmp_path / "x", *system.options, "--include-build-deps"))
    assert line == (
        f"--include-build-deps: {system.root} holds no Nix database, and no --closure has the "
        f"derivation of {system.toplevel} with all outputs"
    )
