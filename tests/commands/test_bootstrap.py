"""scripts/bootstrap prints everything that an administrator must do at once.

Without these tests, an administrator is asked again and again for one more package.
"""

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.helpers import directory, output
from tests.support.places import REPOSITORY

PACKAGES = re.findall(
    r"^([\w.+-]+)", (REPOSITORY / "scripts/apt-packages").read_text(), re.MULTILINE
)
KERNEL = "linux-image-cloud-amd64"
USER = output("id", "-un").decode().strip()  # not the one of the environment


class Host:
    """A directory in place of /, and programs that list the packages and groups there are."""

    def __init__(self, root: Path) -> None:
        self.root, self.programs = root / "machine", root / "programs"
        self.programs.mkdir()
        for name in ("boot", "lib/modules", "nix"):
            (self.root / name).mkdir(parents=True)
        self.program("dpkg-query", *(f"installed {name}" for name in PACKAGES))
        self.kernel("6.1", 0o644)

    def program(self, name: str, *lines: str, status: int = 0) -> None:
        script = self.programs / name
        script.write_text(f"#!/bin/sh\ncat <<END\n{chr(10).join(lines)}\nEND\nexit {status}\n")
        script.chmod(0o755)

    def kernel(self, version: str, mode: int) -> None:
        (self.root / "boot" / f"vmlinuz-{version}").touch(mode)
        (self.root / "boot" / f"vmlinuz-{version}").chmod(mode)
        (self.root / "lib/modules" / version).mkdir()

    def store(self, mode: int) -> Path:
        """A store whose database is of a mode; gives its nix-daemon's directory."""
        (self.root / "nix/store").mkdir()
        (self.root / "nix/var/nix/db").mkdir(mode=mode, parents=True)
        return self.root / "nix/var/nix/daemon-socket"

    def commands(self) -> list[str]:
        """What an administrator is to do."""
        done = subprocess.run(
            [REPOSITORY / "scripts/bootstrap", "--check"],
            env={"PATH": f"{self.programs}:{os.defpath}", "MACHINE": str(self.root)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        lines = done.stdout.splitlines()
        assert done.returncode == bool(lines), done.stderr
        words = "this machine lacks something; an administrator can make it ready with:"
        assert not lines or done.stderr == f"bootstrap: {words}\n"
        assert all(line.startswith("sudo ") for line in lines)
        return [line.removeprefix("sudo ") for line in lines]


@pytest.fixture
def host() -> Iterator[Host]:
    with directory() as root:  # the path of a socket must be short
        yield Host(root)


def test_nothing_is_asked_for_where_all_is_there(host: Host) -> None:
    assert host.commands() == []  # an empty /nix of the user's own
    host.store(0o755)
    assert host.commands() == []


def test_all_that_is_missing_is_told_at_once(host: Host) -> None:
    host.program("dpkg-query", "installed bash", "config-files cpio")
    (host.root / "lib/modules/6.1").rmdir()
    (host.root / "nix").chmod(0o555)
    update, install, nix = host.commands()
    assert update == "apt-get -q update"
    assert install.split()[:5] == ["apt-get", "-q", "install", "-y", "--no-install-recommends"]
    assert sorted(install.split()[5:]) == sorted([*PACKAGES, KERNEL])
    assert nix == f"install -d -o {USER} /nix"


def test_kernels_must_be_readable(host: Host) -> None:
    host.kernel("6.2", 0o600)
    host.kernel("6.3", 0o600)
    host.program("dpkg-query", *(f"installed {name}" for name in PACKAGES[1:]))
    host.store(0o555)
    _, install, chmod, chown = host.commands()
    assert install.split()[5:] == PACKAGES[:1]
    assert chmod == f"chmod 0644 {host.root}/boot/vmlinuz-6.2 {host.root}/boot/vmlinuz-6.3"
    assert chown.startswith(f"chown -R {USER} /nix # ")


def test_a_daemon_builds_for_its_users(host: Host) -> None:
    daemon = host.store(0o555)
    daemon.mkdir()
    host.program("getent", status=2)
    assert host.commands()[0].startswith(f"chown -R {USER} /nix # ")
    host.program("getent", "nix-users:x:999:")
    assert host.commands() == [f"usermod -aG nix-users {USER} # then {USER} must log in again"]
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(daemon / "socket"))
        [line] = host.commands()  # nobody listens
        assert line.startswith("usermod ")
        server.listen()
        assert host.commands() == []
