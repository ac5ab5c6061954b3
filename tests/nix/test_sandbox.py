"""Images made in Nix's build sandbox, of nothing but store paths, against those made outside.

Without these tests, a build by Nix can differ from a build by hand, or need files of the builder.
"""

import hashlib
import json
import sys
from pathlib import Path

import pytest

from tests.support import nix_daemon, readback
from tests.support.helpers import output
from tests.support.places import ASSEMBLE, AsRoot
from tests.support.store_builds import SYSTEMD, Tools
from tests.support.systems import System
from tests.support.trees import CAPABILITY, parse

# $1 and $2 are the command that starts a nix-daemon, the others are expressions, which an ordinary
# user has it build. Each output is copied to $top.
_BUILD = r"""
export NIX_DAEMON_SOCKET_PATH=$work/socket
exec 3< <(exec "$1" "$2" socket 2> daemon.log)
daemon=$!
trap '[ $? = 0 ] || cat daemon.log >&2; kill $daemon; wait $daemon || :; rm -rf "$work"' EXIT
read -r <&3 # a line, or the end where the daemon is no more
shift 2
for expression; do
  out=$(setpriv --reuid 65534 --regid 65534 --clear-groups \
    env -u NIX_CONFIG -u NIX_STATE_DIR NIX_REMOTE="unix://$work/socket" HOME="$work/home" \
    nix-build --no-out-link "$expression")
  cp -r --sparse=always "$out" "$top/$(basename "$expression" .nix)"
done
"""


def contents(sources: Path) -> list[dict[str, object]]:
    """Rows with what a build in the sandbox may not do itself."""
    return [
        {"source": f"{sources}/motd", "target": "/etc/motd", "mode": "0640", "group": "wheel"},
        {
            "source": f"{sources}/ping",
            "target": "/usr/local/bin/ping",
            "user": "1000",
            "group": "users",
            "mode": "4755",
            "xattrs": {"security.capability": f"0x{CAPABILITY.hex()}"},
        },
    ]


def make_files(directory: Path) -> None:
    """The sources of `contents`."""
    directory.mkdir()
    (directory / "motd").write_text("made in a Nix build\n")
    (directory / "ping").write_text("#!/bin/sh\n")
    (directory / "ping").chmod(0o755)


def build(as_root: AsRoot, tools: Tools, top: Path, paths: list[str], *files: Path) -> None:
    """Build expressions in the sandbox; `top` gets the outputs, by the names of the files."""
    tools.run(as_root, top, paths, _BUILD, sys.executable, nix_daemon.__file__, *files)


def sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def test_images_of_sandboxed_builds_have_the_same_bytes(
    as_root: AsRoot, demo_system: str, tools: Tools, tiny_system: System, tmp_path: Path
) -> None:
    make_files(tmp_path / "files")
    rows = json.dumps(contents(Path("@files@"))).replace("'", "")
    probe, grub, systemd_boot = (tmp_path / f"{name}.nix" for name in ("probe", "grub", "systemd"))
    tools.probe(probe)
    tools.image(
        grub,
        f"""
        toplevel = path "{demo_system}";
        configFile = "${{files}}/motd";
        contents = map
          (row: row // {{
            source = builtins.replaceStrings [ "@files@" ] [ "${{files}}" ] row.source;
          }})
          (builtins.fromJSON ''{rows}'');
        """,
    )
    tools.image(
        systemd_boot,
        f"""
        toplevel = path "{tiny_system.toplevel}";
        additionalPaths = [ (path "{SYSTEMD}") ];
        bootLoader = "systemd-boot";
        partitionTableType = "efi";
        """,
    )
    build(as_root, tools, tmp_path, [demo_system], probe, grub, systemd_boot)

    # A user of our group, on the host: `inside, outside, count` in user_namespaces(7). In a chroot
    # there are none, and Nix does without.
    user = int((tmp_path / "probe/user").read_text())
    inside, outside, _ = map(int, (tmp_path / "probe/map").read_text().split())
    on_the_host = outside + user - inside
    assert on_the_host > 100000
    assert on_the_host % 4 == 1  # the first build user of three
    network = (tmp_path / "probe/network").read_text().splitlines()
    assert [line.split()[0] for line in network if ":" in line] == ["lo:"]
    files = (tmp_path / "probe/files").read_text().split()
    nothing_else = ["/", "/bin", "/build", "/dev", "/etc", "/nix", "/proc", "/tmp", "/bin/sh"]
    assert files == nothing_else

    (tmp_path / "rows.json").write_text(json.dumps(contents(tmp_path / "files")))
    for name, options in (
        (
            "grub",
            [
                "--system", demo_system, "--contents", tmp_path / "rows.json",
                "--configuration", tmp_path / "files/motd",
            ],
        ),
        (
            "systemd",
            [
                "--store", tiny_system.root, "--closure", tmp_path / "registration",
                "--system", tiny_system.toplevel, "--additional-path", SYSTEMD,
                "--boot-loader", "systemd-boot", "--partition-table", "efi",
            ],
        ),
    ):  # fmt: skip
        out = tmp_path / f"{name}.raw"
        output(ASSEMBLE, "--out", out, *options, "--quiet")
        digest = sha256(out)
        print(f"{name}: {digest}")
        assert sha256(tmp_path / name / "disk.raw") == digest


@pytest.mark.emulated
def test_an_image_that_an_appliance_fills_in_a_sandboxed_build_has_the_same_files(
    as_root: AsRoot, tools: Tools, tiny_system: System, tmp_path: Path
) -> None:
    """Not the same bytes: Linux, which fills it there, draws numbers at random."""
    make_files(tmp_path / "files")
    appliance = tmp_path / "appliance.nix"
    arguments = f'toplevel = path "{tiny_system.toplevel}"; partitionTableType = "none";'
    options = ("--writer", "guestfs", "--accelerator", "tcg")
    tools.image(appliance, arguments, *options, appliance=True)
    build(as_root, tools, tmp_path, [], appliance)
    outside = tmp_path / "outside.raw"
    output(ASSEMBLE, "--out", outside, *tiny_system.options, "--partition-table", "none", "--quiet")
    assert files_of(as_root, tmp_path / "appliance/disk.raw") == files_of(as_root, outside)


def files_of(as_root: AsRoot, image: Path) -> object:
    """All that a bare file system shows of its files, but for the numbers of their inodes."""
    read = f"mount -o loop,ro {image} /mnt && exec {sys.executable} {readback.__file__} /mnt"
    return parse(as_root("unshare", "--mount", "sh", "-c", read).stdout)
