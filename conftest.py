"""What all tests share. A test run as root gives its privileges up before anything is tested.

Only an oracle (a mount that looks at a result from outside) may take them back, through the
`as_root` fixture, and is skipped where there are none to take back.
"""

import functools
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.places import ASSEMBLE, REPOSITORY, UNPRIVILEGED, AsRoot

_NIX_CONFIG = "build-users-group =\nsandbox = false\nsubstituters =\n"

settings.register_profile("project", database=None, deadline=None, print_blob=True)
settings.load_profile("project")


class _Daemon:
    """A nix-daemon for the tests, which as another user than root cannot open root's store.

    It has a socket of its own, so that no other run of the tests can take it away.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._socket = Path()

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self._socket)) == 0

    def start(self) -> None:
        directory = Path(tempfile.mkdtemp(prefix="assemble-test-nix-"))
        directory.chmod(0o755)
        self._socket = directory / "socket"
        environment = {
            **os.environ,
            "NIX_CONFIG": _NIX_CONFIG,
            "NIX_DAEMON_SOCKET_PATH": str(self._socket),
        }
        self._process = subprocess.Popen(["nix-daemon"], env=environment, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while not self._answers() and time.monotonic() < deadline:
            time.sleep(0.05)
        os.environ["NIX_REMOTE"] = f"unix://{self._socket}"

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._socket.unlink(missing_ok=True)
            self._socket.parent.rmdir()


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
    os.environ["HOME"] = tempfile.mkdtemp(prefix="assemble-test-home-")
    os.environ.pop("SOURCE_DATE_EPOCH", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every boot as `emulated`."""
    for item in items:
        if item.path.is_relative_to(REPOSITORY / "vm-tests"):
            item.add_marker(pytest.mark.emulated)


def pytest_unconfigure() -> None:
    """Leave nothing running."""
    with suppress(OSError):  # a test may have left something there
        Path(os.environ["HOME"]).rmdir()
    if os.getresuid()[2] == 0:
        with _root():
            _daemon.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell how long boots took, which tests record as the property "boot"."""
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
