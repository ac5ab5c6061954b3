"""Images made in Nix's build sandbox, of nothing but store paths, against those made outside.

Without these tests, a build by Nix can differ from a build by hand, or need files of the builder.
"""

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import nix_daemon, readback
from tests.support.helpers import output
from tests.support.places import ASSEMBLE, COMMANDS, REPOSITORY, AsRoot
from tests.support.systems import System, add_path, make_system, store_path
from tests.support.trees import CAPABILITY, parse

_EXPRESSION = REPOSITORY / "nix/assemble-image.nix"
_TOOLS = REPOSITORY / "tests/support/debian-tools.nix"
_PACKAGES = (
    "cffi", "_cffi_backend", "pycparser", "tqdm", "guestfs", "libguestfsmod", "parted", "_ped",
)  # fmt: skip
SYSTEMD, SYSTEMD_BOOT = store_path(30, "systemd"), "lib/systemd/boot/efi/systemd-bootx64.efi"

# Run by root in a mount namespace of its own: $1 has a file `paths` with the store paths that are
# needed, and the `registration` of a system that this machine's store lacks, which is in `system`;
# $2 and $3 are the command that starts a nix-daemon, $4 is /bin/sh in the sandbox, the others are
# expressions to build. New store paths are laid over the machine's store, which stays as it is; a
# database of its own has what is valid. The daemon builds in the sandbox, as users of a group of
# its own. Each output is copied to $1. Not below pytest's directory, which builders cannot enter.
_SCRIPT = r"""
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
top=$1 python=$2 script=$3 shell=$4
shift 4
cd "$work"
install -d -o 65534 home
mkdir new overlay state
cp /etc/passwd /etc/group .
echo "nixbld:x:30000:nixbld1,nixbld2" >> group
for n in 1 2; do echo "nixbld$n:x:3000$n:30000::/var/empty:/usr/sbin/nologin" >> passwd; done
mount --bind passwd /etc/passwd
mount --bind group /etc/group
env -u NIX_REMOTE nix-store --dump-db $(cat "$top/paths") > registration
layers=lowerdir=/nix/store,upperdir=$work/new,workdir=$work/overlay
mount -t overlay overlay -o "$layers" /nix/store
cp -r "$top/system/nix/store"/* /nix/store
cat "$top/registration" >> registration
export NIX_STATE_DIR=$work/state NIX_DAEMON_SOCKET_PATH=$work/socket NIX_CONFIG="
build-users-group = nixbld
sandbox = true
sandbox-fallback = false
substituters =
sandbox-paths = /bin/sh=$shell"
env -u NIX_REMOTE nix-store --load-db < registration
exec 3< <(exec env -u NIX_REMOTE "$python" "$script" socket 2> daemon.log)
daemon=$!
trap '[ $? = 0 ] || cat daemon.log >&2; kill $daemon; wait $daemon || :; rm -rf "$work"' EXIT
read -r <&3 # a line, or the end where the daemon is no more
for expression; do
  out=$(setpriv --reuid 65534 --regid 65534 --clear-groups \
    env -u NIX_CONFIG -u NIX_STATE_DIR NIX_REMOTE="unix://$work/socket" HOME="$work/home" \
    nix-build --no-out-link "$expression")
  cp -r --sparse=always "$out" "$top/$(basename "$expression" .nix)"
done
"""


@dataclass(frozen=True)
class Tools:
    """Store paths that an image is built with."""

    programs: str
    assemble: str
    shell: str  # a static one

    def image(self, file: Path, arguments: str, *options: str) -> None:
        """Write an expression that builds an image, with more options of the command."""
        extra = " ".join(json.dumps(option) for option in ("--quiet", *options))
        file.write_text(
            f"""
            let
              path = builtins.storePath;
              tools = path "{self.programs}";
              files = builtins.path {{ path = {file.parent}/files; name = "files"; }};
              image = import {_EXPRESSION} {{
                assemble = "${{path "{self.assemble}"}}/bin/assemble";
                bash = "${{tools}}/bin/bash";
                searchPath = "${{tools}}/bin";
                system = "x86_64-linux";
              }};
            in
            image {{ {arguments} extraArgs = [ {extra} ]; }}
            """
        )

    def probe(self, file: Path) -> None:
        """Write an expression whose output shows where a builder runs."""
        script = (
            "mkdir $out; id -u > $out/user; cat /proc/self/uid_map > $out/map; "
            "cat /proc/net/dev > $out/network; echo / /* /bin/* > $out/files"
        )
        file.write_text(
            f"""
            let tools = builtins.storePath "{self.programs}"; in
            derivation {{
              name = "probe"; system = "x86_64-linux"; builder = "${{tools}}/bin/bash";
              PATH = "${{tools}}/bin"; args = [ "-euc" "{script}" ];
            }}
            """
        )


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


@pytest.fixture(scope="module")
def tools(demo_system: str, tmp_path_factory: pytest.TempPathFactory) -> Tools:
    """Built of this machine's packages, and kept while the tests run."""
    top = tmp_path_factory.mktemp("tools")
    found = [output(COMMANDS / "python", "-c", _FIND, name).decode().strip() for name in _PACKAGES]
    arguments = {
        "stamp": hashlib.sha256(output("dpkg-query", "-W")).hexdigest(),
        "python": " ".join(found),
    }
    words = [word for item in arguments.items() for word in ("--argstr", *item)]
    built = output(
        "nix-build", _TOOLS, "-A", "tools", "-A", "assemble", *words, "--out-link", top / "result",
        "--arg", "source", f'builtins.path {{ path = {REPOSITORY}; name = "source"; filter = '
        f'path: _: builtins.match "{REPOSITORY}/(assembler(/.*)?|assemble_start.py)" path != null '
        f'&& builtins.match ".*__pycache__" path == null; }}',
    )  # fmt: skip
    programs, assemble = built.decode().split()
    [shell] = [
        path
        for path in output("nix-store", "--query", "--requisites", demo_system).decode().split()
        if "-busybox-static-" in path
    ]
    return Tools(programs, assemble, f"{shell}/bin/busybox")


_FIND = """
import importlib.util, os, sys
found = importlib.util.find_spec(sys.argv[1])
print(found.submodule_search_locations[0] if found.submodule_search_locations else found.origin)
"""


def build(as_root: AsRoot, tools: Tools, top: Path, paths: list[str], *expressions: Path) -> None:
    """Build expressions in the sandbox; `top` gets the outputs, by the names of the files."""
    needed = output("nix-store", "--query", "--requisites", tools.assemble, *paths).decode()
    (top / "paths").write_text(needed)
    for directory in (top, *list(top.parents)[:2]):
        directory.chmod(0o755)
    script = ["unshare", "--mount", "bash", "-c", _SCRIPT, "bash", top]
    as_root(*script, sys.executable, nix_daemon.__file__, tools.shell, *expressions)


def sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@pytest.fixture
def system(tmp_path: Path) -> System:
    """A tiny one, which this machine's store has not, and `SYSTEMD`."""
    made = make_system(tmp_path / "system")
    program = Path(f"/usr/{SYSTEMD_BOOT}").read_bytes()
    added = add_path(made, SYSTEMD, {SYSTEMD_BOOT: program})
    (tmp_path / "registration").write_bytes(made.registration.read_bytes() + added.read_bytes())
    return made


def test_images_of_sandboxed_builds_have_the_same_bytes(
    as_root: AsRoot, demo_system: str, tools: Tools, system: System, tmp_path: Path
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
        toplevel = path "{system.toplevel}";
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
    assert outside + user - inside in (30001, 30002)
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
                "--store", system.root, "--closure", tmp_path / "registration",
                "--system", system.toplevel, "--additional-path", SYSTEMD,
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
    as_root: AsRoot, tools: Tools, system: System, tmp_path: Path
) -> None:
    """Not the same bytes: Linux, which fills it there, draws numbers at random."""
    make_files(tmp_path / "files")
    appliance = tmp_path / "appliance.nix"
    arguments = f'toplevel = path "{system.toplevel}"; partitionTableType = "none";'
    tools.image(appliance, arguments, "--writer", "guestfs", "--accelerator", "tcg")
    build(as_root, tools, tmp_path, [], appliance)
    outside = tmp_path / "outside.raw"
    output(ASSEMBLE, "--out", outside, *system.options, "--partition-table", "none", "--quiet")
    assert files_of(as_root, tmp_path / "appliance/disk.raw") == files_of(as_root, outside)


def files_of(as_root: AsRoot, image: Path) -> object:
    """All that a bare file system shows of its files, but for the numbers of their inodes."""
    read = f"mount -o loop,ro {image} /mnt && exec {sys.executable} {readback.__file__} /mnt"
    return parse(as_root("unshare", "--mount", "sh", "-c", read).stdout)
