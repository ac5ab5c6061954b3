"""What all tests share. A test run as root gives its privileges up before anything is tested.

Only an oracle (a mount that looks at a result from outside) may take them back, through the
`as_root` fixture, and is skipped where there are none to take back.
"""

import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support import nix_daemon
from tests.support.places import ASSEMBLE, REPOSITORY, UNPRIVILEGED, AsRoot

_NIX_CONFIG = "build-users-group =\nsandbox = false\nsubstituters =\n"
_PATIENCE = 20  # seconds for a nix-daemon to answer
_HOME = pytest.StashKey[Path]()

settings.register_profile("project", database=None, deadline=None, print_blob=True)
settings.load_profile("project")


class _Daemon:
    """A nix-daemon for the tests, which as another user than root cannot open root's store.

    It has a socket of its own, so that no other run of the tests can take it away.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._directory = Path()

    def start(self) -> None:
        """Start it; ends the run of the tests if it does not answer."""
        self._directory = Path(tempfile.mkdtemp(prefix="assemble-test-nix-"))
        self._directory.chmod(0o755)
        address, log = self._directory / "socket", self._directory / "log"
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, nix_daemon.__file__, address],
                env={**os.environ, "NIX_CONFIG": _NIX_CONFIG},
                stdout=subprocess.PIPE,
                stderr=file,
            )
        assert self._process.stdout is not None
        if not (self._process.stdout.readline() and _answers(address)):
            printed = log.read_text(errors="replace")
            self.stop()
            pytest.exit(f"nix-daemon gave no answer in {_PATIENCE} s:\n{printed}", 2)
        os.environ["NIX_REMOTE"] = f"unix://{address}"

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.communicate()
            shutil.rmtree(self._directory)


def _answers(address: Path) -> bool:
    """Whether a nix-daemon answers, by the greetings of its protocol (Nix, worker-protocol.hh)."""
    with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
        client.settimeout(_PATIENCE)
        client.connect(str(address))
        client.sendall(b"cxin".ljust(8, b"\0"))
        return client.recv(4) == b"oixd"
    return False


_daemon = _Daemon()


def pytest_configure(config: pytest.Config) -> None:
    """Give root's privileges up, for this process and all that it starts."""
    # Started in the background by a script, we would hand an ignored SIGINT on to every child.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.geteuid() == 0:
        os.umask(0o022)
        _daemon.start()
        os.setgroups([])
    if os.getuid() == 0:
        # pytest-xdist's workers keep the real user across their exec, and the saved one not.
        real = 0 if config.getoption("dist", "no") != "no" else UNPRIVILEGED
        os.setresgid(real, UNPRIVILEGED, 0)
        os.setresuid(real, UNPRIVILEGED, 0)
    config.stash[_HOME] = Path(tempfile.mkdtemp(prefix="assemble-test-home-"))
    os.environ["HOME"] = str(config.stash[_HOME])
    os.environ.pop("SOURCE_DATE_EPOCH", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every boot as `emulated`."""
    for item in items:
        if item.path.is_relative_to(REPOSITORY / "vm-tests"):
            item.add_marker(pytest.mark.emulated)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing running."""
    if _HOME not in config.stash:  # the tests have not begun
        return
    with suppress(OSError):  # a test may have left something there
        config.stash[_HOME].rmdir()
    if os.getresuid()[2] == 0:
        with _root():
            _daemon.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how long boots took, which tests record as the property "boot"."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "boot":
                terminalreporter.write_line(f"{value}: {report.nodeid}")


@contextmanager
def _root() -> Iterator[None]:
    os.seteuid(0)
    os.setegid(0)
    try:
        yield
    finally:
        os.setegid(UNPRIVILEGED)
        os.seteuid(UNPRIVILEGED)


@functools.cache
def _may_mount() -> bool:
    """Whether we can be root again, and as root may mount: in many a container root may not."""
    if os.getresuid()[2] != 0:
        return False
    with _root():
        probe = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        done = subprocess.run(probe, user=0, group=0, capture_output=True, check=False)
        return done.returncode == 0


@pytest.fixture
def as_root() -> AsRoot:
    """Run a command as root, for an oracle; skips the test where that cannot be."""
    if not _may_mount():
        pytest.skip("this oracle needs root, and leave to mount")

    def run(*argv: str | Path, check: bool = True) -> "subprocess.CompletedProcess[str]":
        with _root():
            done = subprocess.run(
                [str(arg) for arg in argv],
                user=0,
                group=0,
                capture_output=True,
                text=True,
                check=False,
            )
        assert done.returncode == 0 or not check, done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def demo_system() -> str:
    """The demo's toplevel store path, as `make image` builds it."""
    link = REPOSITORY / "build" / "demo-system"
    if not link.is_symlink():
        pytest.fail("build/demo-system is absent: run `make demo` first")
    return str(link.readlink())


@pytest.fixture(scope="session")
def demo_variant(demo_system: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Build the demo with other parameters of its expression, as strings; gives the toplevel.

    Packages and kernel are the demo's own. What is built stays for as long as the tests run.
    """
    roots = tmp_path_factory.mktemp("variants")
    built: dict[tuple[tuple[str, str], ...], str] = {(): demo_system}

    def build(**parameters: str) -> str:
        key = tuple(sorted(parameters.items()))
        if key not in built:
            argv: list[str | Path] = ["nix-build", REPOSITORY / "scripts" / "demo-system"]
            for name in ("debs", "bootstrap"):
                argv += ["--arg", name, REPOSITORY / "build" / name]
            for name, value in key:
                argv += ["--argstr", name, value]
            argv += ["--out-link", roots / str(len(built))]
            done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, done.stderr
            built[key] = done.stdout.strip()
        return built[key]

    return build


@pytest.fixture(scope="session")
def assemble_command() -> Path:
    """The installed `assemble`."""
    return ASSEMBLE
