"""The demo image as the output of a sandboxed Nix build, against the one made outside.

Without these tests, a build by Nix can differ from a build by hand.
"""

import json
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support import nix_daemon
from tests.support.helpers import output
from tests.support.places import ASSEMBLE, REPOSITORY, AsRoot
from tests.support.trees import CAPABILITY

_EXPRESSION = REPOSITORY / "nix/assemble-image.nix"

# Run by root in a mount namespace of its own: $1 is the repository, $2 the toplevel, $3 and $4 the
# command that starts a nix-daemon, the others are expressions to build. A Nix store of its own gets
# the closure and a daemon that builds in the sandbox as users of a group of its own: nothing of the
# machine is changed. Prints the SHA-256 of all files in the outputs. Not below pytest's directory,
# which builders cannot enter.
_SCRIPT = r"""
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
install -d -o 65534 home
cp /etc/passwd /etc/group .
echo "nixbld:x:30000:nixbld1,nixbld2" >> group
for n in 1 2; do echo "nixbld$n:x:3000$n:30000::/var/empty:/usr/sbin/nologin" >> passwd; done
mount --bind passwd /etc/passwd
mount --bind group /etc/group
paths=$(nix-store --query --requisites "$2")
nix-store --export $paths > closure
export NIX_DAEMON_SOCKET_PATH=$work/socket NIX_CONFIG="store = local?root=$work/store
build-users-group = nixbld
sandbox = true
sandbox-fallback = false
substituters =
sandbox-paths = /usr /lib /lib64 /bin $1"
env -u NIX_REMOTE nix-store --import < closure > imported
exec 3< <(exec env -u NIX_REMOTE "$3" "$4" socket 2> daemon.log)
daemon=$!
trap '[ $? = 0 ] || cat daemon.log >&2; kill $daemon; wait $daemon || :; rm -rf "$work"' EXIT
read -r <&3 # a line, or the end where the daemon is no more
shift 4
for expression; do
  out=$(setpriv --reuid 65534 --regid 65534 --clear-groups \
    env -u NIX_CONFIG NIX_REMOTE="unix://$work/socket?root=$work/store" HOME="$work/home" \
    nix-build --no-out-link "$expression")
  if [ -f "$work/store$out" ]; then cat "$work/store$out"; else sha256sum "$work/store$out"/*; fi
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


@pytest.fixture
def expression(demo_system: str, tmp_path: Path) -> Path:
    """A Nix file that builds the image with tools of this machine, for there is no nixpkgs here."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files/motd").write_text("made in a Nix build\n")
    (tmp_path / "files/ping").write_text("#!/bin/sh\n")
    (tmp_path / "files/ping").chmod(0o755)
    rows = json.dumps(contents(Path("@files@"))).replace("'", "")
    file = tmp_path / "image.nix"
    file.write_text(
        f"""
let
  files = builtins.path {{ path = {tmp_path}/files; name = "files"; }};
  image = import {_EXPRESSION} {{
    assemble = "{ASSEMBLE}";
    bash = "/bin/bash";
    searchPath = "/usr/bin:/bin";
    system = "x86_64-linux";
  }};
in
image {{
  toplevel = builtins.storePath "{demo_system}";
  contents = map
    (row: row // {{ source = builtins.replaceStrings [ "@files@" ] [ "${{files}}" ] row.source; }})
    (builtins.fromJSON ''{rows}'');
  configFile = "${{files}}/motd";
  extraArgs = [ "--quiet" ];
}}
"""
    )
    return file


@pytest.fixture
def probe(tmp_path: Path) -> Path:
    """A Nix file whose output tells where its builder ran."""
    script = (
        "/usr/bin/id -u > $out; /bin/cat /proc/self/uid_map /proc/net/dev >> $out; "
        "echo / /* >> $out"
    )
    file = tmp_path / "probe.nix"
    file.write_text(
        'derivation { name = "probe"; system = "x86_64-linux"; builder = "/bin/bash"; '
        f'args = [ "-euc" "{script}" ]; }}'
    )
    return file


def test_the_image_of_a_sandboxed_build_has_the_same_bytes(
    as_root: AsRoot, demo_system: str, expression: Path, probe: Path, tmp_path: Path
) -> None:
    for directory in (tmp_path, *list(tmp_path.parents)[:2]):
        directory.chmod(0o755)
    script = ["unshare", "--mount", "bash", "-c", _SCRIPT, "bash", REPOSITORY, demo_system]
    daemon = [sys.executable, nix_daemon.__file__]
    printed = as_root(*script, *daemon, probe, expression).stdout
    # A user of our group, on the host: `inside, outside, count` in user_namespaces(7). In a chroot
    # there are none, and Nix does without.
    user, inside, outside = map(int, printed.split()[:3])
    assert outside + user - inside in (30001, 30002)
    interfaces = [line.split()[0] for line in printed.splitlines() if ":" in line]
    assert interfaces == ["lo:"]
    [top] = [line.split() for line in printed.splitlines() if line.startswith("/ ")]
    assert "/build" in top
    hidden = {"/home", "/run", "/var", "/root"} - {f"/{REPOSITORY.parts[1]}"}
    assert not hidden & set(top)
    digest, name = printed.split()[-2:]
    assert name.endswith("/disk.raw")
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps(contents(tmp_path / "files")))
    out = tmp_path / "disk.raw"
    output(
        ASSEMBLE, "--out", out, "--system", demo_system,
        "--contents", rows, "--configuration", tmp_path / "files/motd", "--quiet",
    )  # fmt: skip
    print(f"sandboxed build: {digest}")
    assert output("sha256sum", out).decode().split()[0] == digest


_PKGS = """
let
  package = name: { outPath = "/nix/store/" + name; type = "derivation"; inherit name; };
  pkgs = {
    bash = package "bash"; coreutils = package "coreutils";
    stdenv.hostPlatform.system = "x86_64-linux";
    callPackage = file: more: (import file) (builtins.intersectAttrs
      (builtins.functionArgs (import file)) (pkgs // more));
    lib = {
      removePrefix = prefix: text:
        builtins.substring (builtins.stringLength prefix) (builtins.stringLength text) text;
      makeBinPath = builtins.concatMap (one: [ "${one}/bin" ]);
      makeLibraryPath = builtins.concatMap (one: [ "${one}/lib" ]);
      importTOML = file: builtins.fromTOML (builtins.readFile file);
      licenses.mit = "MIT"; platforms.linux = [ "x86_64-linux" ];
    };
    python3Packages = {
      cffi = package "cffi"; pyparted = package "pyparted"; tqdm = package "tqdm";
      setuptools = package "setuptools"; shtab = package "shtab";
      argparse-manpage = package "argparse-manpage";
      buildPythonApplication = about: package "${about.pname}-${about.version}" // about;
    };
    dosfstools = package "dosfstools"; e2fsprogs = package "e2fsprogs"; grub2 = package "grub2";
    grub2_efi = package "grub2_efi"; mtools = package "mtools"; nix = package "nix";
    pigz = package "pigz"; qemu-utils = package "qemu-utils"; util-linux = package "util-linux";
    xz = package "xz"; zstd = package "zstd";
  };
in
"""


def test_nixpkgs_gives_what_is_not_given(demo_system: str) -> None:
    """Evaluated with a stand-in for nixpkgs, for there is none here to build with."""
    question = f"""
      let image = import {_EXPRESSION} {{ inherit pkgs; }}
        {{ toplevel = builtins.storePath "{demo_system}"; generations."7" = "{demo_system}";
           diskSize = 4096; }};
      in {{ inherit (image) assemble searchPath builder arguments; }}
    """
    printed = json.loads(
        output("nix-instantiate", "--eval", "--strict", "--json", "-E", _PKGS + question)
    )
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    assert printed["assemble"] == f"/nix/store/assemble-{version}/bin/assemble"
    assert printed["searchPath"] == "/nix/store/coreutils/bin"
    assert printed["builder"] == "/nix/store/bash/bin/bash"
    assert printed["arguments"][:4] == ["--system", demo_system, "--size", "4096M"]
    assert printed["arguments"][-2:] == ["--generation", f"7={demo_system}"]


def test_kvm_is_not_asked_for(demo_system: str) -> None:
    question = f"""(import {_EXPRESSION} {{ inherit pkgs; }}
        {{ toplevel = builtins.storePath "{demo_system}"; }}).drvAttrs ? requiredSystemFeatures"""
    assert output("nix-instantiate", "--eval", "-E", _PKGS + question).strip() == b"false"


def test_the_package_has_the_program_and_nothing_that_is_built_beside_it() -> None:
    question = f"builtins.readDir (pkgs.callPackage {REPOSITORY}/nix/package.nix {{ }}).src"
    printed = output(
        "nix-instantiate",
        "--eval",
        "--read-write-mode",
        "--strict",
        "--json",
        "-E",
        _PKGS + question,
    )
    assert json.loads(printed) == {
        "LICENSE": "regular", "README.md": "regular", "assemble_start.py": "regular",
        "assembler": "directory", "pyproject.toml": "regular", "setup.py": "regular",
    }  # fmt: skip
