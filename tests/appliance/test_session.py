"""What goes wrong with an appliance: one line with cause and remedy, and nothing left behind.

Without these tests, a failed appliance can leave QEMU running, or end without a reason.
"""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import cached_property
from pathlib import Path
from typing import IO

import pytest

from assembler.appliance.accelerator import Accelerator
from assembler.appliance.session import Appliance, AttachedDisk
from assembler.errors import HostError
from assembler.host.progress import Progress
from tests.support.helpers import output
from tests.support.places import UNPRIVILEGED, AsRoot
from tests.support.systems import System, make_system

BIN = Path(sys.executable).parent
OLD = "what was there before"
pytestmark = pytest.mark.emulated

_READ_AT_ONCE = os.O_RDONLY | os.O_NONBLOCK  # a FIFO is opened though nobody writes yet
LOG = re.compile(r"; its log is (\S+)$|^its log is (\S+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(tmp_path_factory.mktemp("store"))


WATCHED_QEMU = """#!/bin/sh
case "$*" in *,drive=disk0,*) echo $$ > {pids} ;; esac
exec qemu-system-x86_64 "$@"
"""


class Run:
    """A run of `assemble --writer guestfs` with a TMPDIR and an XDG cache directory of its own."""

    def __init__(self, system: System) -> None:
        # Not below pytest's directory: its paths are long, and a user's are not.
        self.top = Path(tempfile.mkdtemp(prefix="assemble-test-"))
        self.tmp, self.cache = self.top / "tmp", self.top / "cache"
        self.tmp.mkdir()
        self.out = self.top / "disk.raw"
        self.out.write_text(OLD)
        self.argv = [str(BIN / "assemble"), "--out", str(self.out), *system.options]
        self.argv += ["--writer", "guestfs"]
        self._kept = ExitStack()
        self._pids: IO[str] | None = None

    def environment(self, **variables: str) -> dict[str, str]:
        own = {"TMPDIR": str(self.tmp), "XDG_CACHE_HOME": str(self.cache)}
        return {**os.environ, **own, **variables}

    def start(self, *options: str, **variables: str) -> "subprocess.Popen[str]":
        child = subprocess.Popen(
            [*self.argv, *options],
            env=self.environment(**variables),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._kept.enter_context(child)
        self._kept.callback(child.kill)  # does nothing to one that has ended
        return child

    def remove(self) -> None:
        """End what a failed test has left running, and remove all files."""
        self._kept.close()
        subprocess.run(["chmod", "-R", "u+rwX", self.top], check=True)
        shutil.rmtree(self.top)

    def fails(self, *options: str, **variables: str) -> str:
        """The one line with the reason why it failed; asserts that nothing is left."""
        child = self.start(*options, **variables)
        return self.failed(child.communicate(timeout=200)[1], child.returncode)

    def failed(self, printed: str, status: int) -> str:
        assert status == 1, printed
        assert "Traceback" not in printed
        [line] = [one for one in printed.splitlines() if one.startswith("assemble: ")]
        found = LOG.search(line)
        assert found, line
        log = Path(found[1] or found[2])
        assert log.parent == self.tmp
        sys.stdout.write(log.read_text(errors="replace"))  # for whoever reads a failure
        log.unlink()
        self.assert_clean()
        assert self.out.read_text() == OLD
        return line

    def assert_clean(self) -> None:
        own = f".guestfs-{os.getuid()}"  # libguestfs's, for the next appliance
        assert [one.name for one in self.tmp.iterdir() if one.name != own] == []
        assert self.processes("") == []
        assert sorted(one.name for one in self.top.iterdir() if one.name != "cache") == [
            "disk.raw",
            "tmp",
        ]

    def processes(self, name: str) -> list[int]:
        """The processes that have our TMPDIR on their command line, or in their environment."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    line = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                except OSError:
                    continue
                if os.fsencode(self.tmp) in line and os.fsencode(name) in line:
                    found.append(int(entry.name))
        return found

    def start_watched(self) -> "subprocess.Popen[str]":
        """Start with a QEMU that reports its pid to `qemu`, each time it starts."""
        program, pids = self.cache / "qemu", self.cache / "pids"
        self.cache.mkdir()
        program.write_text(WATCHED_QEMU.format(pids=pids))
        program.chmod(0o755)
        os.mkfifo(pids)
        self._pids = self._kept.enter_context(os.fdopen(os.open(pids, _READ_AT_ONCE)))
        return self.start("--accelerator", "tcg", LIBGUESTFS_HV=str(program))

    @cached_property
    def qemu(self) -> int:
        """The pid of the first QEMU that runs the appliance, once it starts."""
        assert self._pids is not None
        assert select.select([self._pids], [], [], 60)[0], "QEMU did not start"
        return int(self._pids.readline())

    def wait_for_end(self) -> None:
        """Wait until none of our processes is left."""
        while pids := self.processes(""):
            for pid in pids:
                with suppress(ProcessLookupError), os.fdopen(os.pidfd_open(pid)) as process:
                    assert select.select([process], [], [], 20)[0], f"process {pid} still runs"


@pytest.fixture
def run(system: System) -> Iterator[Run]:
    one = Run(system)
    yield one
    one.remove()


def test_qemu_is_absent(run: Run) -> None:
    line = run.fails(LIBGUESTFS_HV="/nonexistent/qemu")
    assert "QEMU is absent (/nonexistent/qemu): install qemu-system-x86" in line


def test_qemu_does_not_start(run: Run) -> None:
    broken = run.top / "cache"
    broken.mkdir()
    (broken / "qemu").write_text("#!/bin/sh\necho 'qemu: it is broken' >&2\nexit 1\n")
    (broken / "qemu").chmod(0o755)
    line = run.fails(LIBGUESTFS_HV=str(broken / "qemu"), LIBGUESTFS_CACHEDIR=str(run.tmp))
    assert "starting the appliance: " in line


def test_no_appliance_at_the_path_given(run: Run) -> None:
    line = run.fails(LIBGUESTFS_PATH=str(run.tmp))
    assert f"there is no appliance in LIBGUESTFS_PATH ({run.tmp}): " in line


def test_a_broken_fixed_appliance(run: Run) -> None:
    run.cache.mkdir()
    for name in ("kernel", "initrd", "root", "README.fixed"):
        (run.cache / name).write_bytes(b"\0" * 4096)
    assert "the appliance did not start" in run.fails(LIBGUESTFS_PATH=str(run.cache))


BOOT = {
    "absent": ("", "there is no kernel for the appliance in /boot: install "),
    "unreadable": (
        "cp {kernel} {copy}; mount -t tmpfs t /boot; cp {copy} {kernel}; chmod 600 {kernel};",
        "the kernel {kernel} may not be read: an administrator can allow it with chmod 0644 ",
    ),
}


@pytest.mark.parametrize("state", BOOT)
def test_a_kernel_that_is_of_no_use(run: Run, as_root: AsRoot, state: str, tmp_path: Path) -> None:
    kernel = max(Path("/boot").glob("vmlinuz-*"))
    script, words = BOOT[state]
    script = script.format(kernel=kernel, copy=tmp_path / "kernel")
    script = script or "mount -t tmpfs tmpfs /boot;"
    line = inside(run, as_root, script, LIBGUESTFS_CACHEDIR=str(run.tmp))
    shutil.rmtree(run.tmp / f".guestfs-{UNPRIVILEGED}", ignore_errors=True)
    assert words.format(kernel=kernel) in line


def inside(run: Run, as_root: AsRoot, script: str, *options: str, **variables: str) -> str:
    """The failure of a run in a mount namespace that a script of root's has changed."""
    done = changed(run, as_root, script, *options, **variables)
    return run.failed(done.stderr, done.returncode)


def changed(
    run: Run, as_root: AsRoot, script: str, *options: str, **variables: str
) -> "subprocess.CompletedProcess[str]":
    drop = ["setpriv", "--reuid", str(UNPRIVILEGED), "--regid", str(UNPRIVILEGED), "--clear-groups"]
    set_up = [f"{name}={value}" for name, value in run.environment(**variables).items()]
    argv = ["unshare", "--mount", "sh", "-c", script + ' exec "$@"', "sh", *drop]
    return as_root(*argv, "env", "-i", *set_up, *run.argv, *options, check=False)


KVM = "mount -t tmpfs t /mnt; mknod -m 666 /mnt/kvm c 10 232; mount --bind /mnt/kvm /dev/kvm;"


# Broken or slow, KVM is not waited for as long as users wait.
SHORT_LIMITS = """
import assembler.appliance.session as session
session._LIMIT_BEFORE_TCG = session._LIMITS["{way}"] = 2
import assemble_start
assemble_start.assemble_main()
"""


def test_kvm_that_does_not_work(run: Run, as_root: AsRoot) -> None:
    """/dev/kvm can be opened and fails: one warning a run, and an error where KVM is demanded."""
    if not Path("/dev/kvm").exists():
        pytest.skip("there is no /dev/kvm to open")
    run.argv[:1] = [sys.executable, "-c", SHORT_LIMITS.format(way="kvm")]
    done = changed(run, as_root, KVM)
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if "going on without it" in line]
    if not warnings:
        pytest.skip("KVM works on this host")
    assert len(warnings) == 1
    run.out.write_text(OLD)
    assert "KVM does not work on this host" in inside(run, as_root, KVM, "--accelerator", "kvm")


def test_an_appliance_that_never_starts(run: Run) -> None:
    """As on a host whose processors others have; nothing is left running."""
    run.argv[:1] = [sys.executable, "-c", SHORT_LIMITS.format(way="tcg")]
    line = run.fails("--accelerator", "tcg")
    assert line.startswith(
        "assemble: starting the appliance: without KVM it has not started in 2 seconds: "
        "run it when the host is less busy; its log is "
    )


FAKE_QEMU = """#!/bin/sh
case "$*" in
  *"accel=kvm "* | *"accel=kvm,"*) echo '%s' >&2; exit 1 ;;
  *"accel=tcg "* | *"accel=tcg,"*) %s ;;
esac
exec qemu-system-x86_64 "$@"
"""
NO_MEMORY = "qemu: cannot set up guest memory"


def fake_qemu(run: Run, with_kvm: str, without: str = "") -> str:
    """A QEMU that dies of one thing with KVM, and of another, or not at all, without."""
    if not Path("/dev/kvm").exists():
        pytest.skip("there is no /dev/kvm to open")
    program = run.cache / "qemu"
    program.parent.mkdir()
    program.write_text(FAKE_QEMU % (with_kvm, f"echo '{without}' >&2; exit 1" if without else ":"))
    program.chmod(0o755)
    os.utime(program, (1, 1))  # libguestfs keeps what it learns of a QEMU by its size and time
    return str(program)


def test_the_reason_for_going_on_without_kvm(run: Run, as_root: AsRoot) -> None:
    done = changed(run, as_root, KVM, LIBGUESTFS_HV=fake_qemu(run, NO_MEMORY))
    assert done.returncode == 0, done.stderr
    [warning] = [line for line in done.stderr.splitlines() if "going on without it" in line]
    assert warning.startswith(
        "the appliance does not start with KVM (this host has not enough memory"
    )


def test_the_cause_is_that_of_the_last_launch(run: Run, as_root: AsRoot) -> None:
    program = fake_qemu(run, "failed to set MSR 0x10a to 0x69", NO_MEMORY)
    done = changed(run, as_root, KVM, LIBGUESTFS_HV=program)
    assert "going on without it" not in done.stderr
    assert "this host has not enough memory for an appliance of " in run.failed(done.stderr, 1)


def test_kvm_that_is_not_ours(run: Run) -> None:
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("/dev/kvm is ours")
    child = run.start("--accelerator", "kvm")
    printed = child.communicate(timeout=60)[1]
    assert child.returncode == 1
    assert "--accelerator kvm: /dev/kvm " in printed.splitlines()[-1]
    run.assert_clean()


def test_qemu_is_killed_while_it_copies(run: Run) -> None:
    child = run.start_watched()
    kill(run, child, "while it copies", lambda: os.kill(run.qemu, signal.SIGKILL))
    printed = child.communicate(timeout=100)[1]
    line = run.failed(printed, child.returncode)
    assert "the appliance died (" in line
    assert "QEMU was killed" in line


def test_qemu_that_is_killed_at_the_start_is_started_again(run: Run) -> None:
    child = run.start_watched()
    kill(run, child, "at the start", lambda: os.kill(run.qemu, signal.SIGKILL))
    printed = child.communicate(timeout=100)[1]
    assert child.returncode == 0, printed
    run.assert_clean()


def kill(run: Run, child: "subprocess.Popen[str]", moment: str, deed: Callable[[], object]) -> None:
    """Do a deed at a moment of a run."""
    assert child.stderr is not None
    if moment == "at the start":
        assert run.qemu
    else:
        for line in child.stderr:
            if line.startswith("writing ext4 ("):
                break
    deed()


# An appliance that does not end by itself is waited for longer than the test waits.
NO_KILL = """
import assembler.appliance.worker_process as worker_process
worker_process._PATIENCE = 3600
import assemble_start
assemble_start.assemble_main()
"""


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("at the start", signal.SIGINT),
        ("at the start", signal.SIGTERM),
        ("while it copies", signal.SIGTERM),
    ],
)
def test_a_signal_ends_everything(run: Run, moment: str, number: signal.Signals) -> None:
    run.argv[:1] = [sys.executable, "-c", NO_KILL]
    child = run.start_watched()
    kill(run, child, moment, lambda: child.send_signal(number))
    child.communicate(timeout=60)
    assert child.returncode == 128 + number
    run.assert_clean()
    assert run.out.read_text() == OLD


def test_a_killed_run_takes_its_appliance_along(run: Run) -> None:
    child = run.start_watched()
    kill(run, child, "while it copies", child.kill)
    child.communicate()
    run.wait_for_end()


def test_memory_runs_out_in_the_appliance(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(run.tmp))
    monkeypatch.setenv("LIBGUESTFS_MEMSIZE", "256")
    image = tmp_path / "image"
    image.write_bytes(b"\0" * 4096)
    with (
        Appliance([AttachedDisk(image)], Accelerator.TCG, Progress(quiet=True)) as appliance,
        pytest.raises(HostError) as failure,
    ):
        appliance.sh("head -c 500M /dev/zero | tail -c 400M > /dev/null", what="testing")
    assert "set LIBGUESTFS_MEMSIZE to more than 256 (MiB)" in str(failure.value)


def test_more_memory_than_the_host_has(run: Run) -> None:
    line = run.fails(LIBGUESTFS_MEMSIZE="300000000")
    assert "this host has not enough memory for an appliance of 300000000 MiB: set " in line


def small_disk(run: Run, size: str) -> tuple[Path, str]:
    """A place for a disk of `size`, and root's command that mounts one there."""
    place = run.cache / "small"
    place.mkdir(parents=True)
    return place, f"mount -t tmpfs -o size={size},mode=1777 tmpfs {place};"


def more_data(run: Run) -> list[str]:
    """The options that add 16 MiB to the image."""
    source, contents = run.cache / "data", run.cache / "contents.json"
    source.write_bytes(os.urandom(16 << 20))
    contents.write_text(json.dumps([{"source": str(source), "target": "/data"}]))
    return ["--contents", str(contents)]


def test_the_disk_of_the_image_is_too_small(run: Run, as_root: AsRoot) -> None:
    place, mount = small_disk(run, "12m")
    done = changed(run, as_root, mount, "--out", str(place / "disk.raw"), *more_data(run))
    assert done.returncode == 1
    assert f"assemble: the disk of --out ({place}) has 12.0 MiB free, and " in done.stderr
    run.assert_clean()


def test_the_disk_of_the_cache_is_full(run: Run, as_root: AsRoot) -> None:
    place, mount = small_disk(run, "20m")
    line = inside(run, as_root, mount, LIBGUESTFS_CACHEDIR=str(place))
    assert f"there is no room to build the appliance in {place}: make some, or set " in line


def test_the_disk_of_tmpdir_is_too_small(run: Run, as_root: AsRoot) -> None:
    place, mount = small_disk(run, "8m")
    done = changed(run, as_root, mount, *more_data(run), TMPDIR=str(place))
    assert done.returncode == 1
    [line] = [one for one in done.stderr.splitlines() if one.startswith("assemble: ")]
    # 16 MiB of data, and what GRUB has in /boot/grub, which is more from release to release
    needed = (
        re.escape(f"TMPDIR ({place}) has ")
        + r"[678]\.\d MiB free, and [2-4]\d\.\d MiB are needed: "
    )
    assert re.search(needed + "set TMPDIR to a directory with room$", line)
    run.assert_clean()


# Not something else mounted there: the repository may lie in it.
READ_ONLY = "mount --bind /var/tmp /var/tmp; mount -o remount,bind,ro /var/tmp;"


def test_a_fixed_appliance_without_home_or_var_tmp(run: Run, as_root: AsRoot) -> None:
    """As in the Nix build sandbox."""
    # As libguestfs-make-fixed-appliance makes it, without a start of the appliance.
    fixed = run.top / "cache" / "fixed"
    fixed.parent.mkdir()
    parts = "/usr/lib/x86_64-linux-gnu/guestfs/supermin.d"
    output("supermin", "--build", "--copy-kernel", "-f", "ext2", "--host-cpu", "x86_64",
        "-o", fixed, parts,
    )  # fmt: skip
    (fixed / "README.fixed").touch()
    shutil.rmtree(run.tmp / f".guestfs-{os.getuid()}", ignore_errors=True)
    bare = {
        name: value
        for name, value in run.environment(LIBGUESTFS_PATH=str(fixed)).items()
        if name in ("TMPDIR", "PATH", "LIBGUESTFS_PATH", "NIX_REMOTE")
    }
    run.environment = lambda **_: bare  # type: ignore[method-assign]
    done = changed(run, as_root, READ_ONLY)
    assert done.returncode == 0, done.stderr
    run.assert_clean()
