"""Nix builds images on other machines: two at once, over SSH, as many a fleet is built.

Without these tests, an image can depend on the machine that builds it, or need more than Nix sends.
"""

import hashlib
import socket
from pathlib import Path

from tests.support.helpers import output
from tests.support.places import ASSEMBLE, AsRoot
from tests.support.store_builds import SYSTEMD, Tools
from tests.support.systems import System

# Builds the expression $1 on two builders and on nothing else: $2 and $3 are the ports of their SSH
# servers, which listen on the loopback interface. Each has a store of its own, and builds one
# derivation at a time. Copies the outputs to $top, by number; prints a line for each image that a
# builder has: the builder's number, and the name of the store path.
_SCRIPT = r"""
install -d -m 700 root root/.ssh
ssh-keygen -q -t ed25519 -N "" -f root/.ssh/id_ed25519
cp root/.ssh/id_ed25519.pub root/.ssh/authorized_keys
dropbearkey -t ed25519 -f host_key > host_key.txt
trap 'kill $(cat *.pid); rm -rf "$work"' EXIT
expression=$1
shift
for n in 1 2; do
  cat > builder$n << END
#!/bin/bash
export NIX_CONFIG="store = local?root=$work/builder$n.store
build-users-group = nixbld$((n + 1))
$settings"
exec nix-daemon --stdio
END
  chmod +x builder$n
  dropbear -p 127.0.0.1:${!n} -r host_key -s -c "$work/builder$n" -P "$work/$n.pid" 2>> ssh.log
  cat >> ssh_config << END
Host builder$n
  HostName 127.0.0.1
  Port ${!n}
  User root
  IdentityFile $work/root/.ssh/id_ed25519
  StrictHostKeyChecking no
  UserKnownHostsFile $work/known_hosts
END
done
export NIX_SSHOPTS="-F $work/ssh_config" HOME=$work/root
builders="ssh-ng://builder1 x86_64-linux - 1; ssh-ng://builder2 x86_64-linux - 1"
outputs=$(nix-build --no-out-link -j 0 --builders "$builders" "$expression" 2> build.log) ||
  { cat build.log ssh.log >&2; exit 1; }
# Both builds have begun before an image is copied from where it was built.
grep -oE "^(building|copying) .*-nixos-disk-image" build.log | cut -d " " -f 1 | sort -c ||
  { cat build.log >&2; exit 1; }
# Nix builds them anew on this machine, and compares.
nix-build --no-out-link --check --builders "" "$expression" >> build.log 2>&1 ||
  { tail build.log >&2; exit 1; }
[ "$(grep -c "^checking outputs of" build.log)" = 2 ]
number=0
for out in $outputs; do
  cp -r --sparse=always "$out" "$top/$number"
  number=$((number + 1))
done
for n in 1 2; do
  for path in builder$n.store/nix/store/*-nixos-disk-image; do
    echo "$n ${path##*/}"
  done
done
"""


def free_ports(count: int) -> list[str]:
    """Ports of the loopback interface on which nothing listens."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def test_two_images_at_once_on_two_builders(
    as_root: AsRoot, tools: Tools, tiny_system: System, tmp_path: Path
) -> None:
    (tmp_path / "files").mkdir()
    labels = ("one", "two")
    for label in labels:
        tools.image(
            tmp_path / f"{label}.nix",
            f"""
            toplevel = path "{tiny_system.toplevel}";
            additionalPaths = [ (path "{SYSTEMD}") ];
            bootLoader = "systemd-boot";
            partitionTableType = "efi";
            additionalSpace = "1M";
            bootSize = "34M";
            label = "{label}";
            """,
        )
    both = tmp_path / "both.nix"
    both.write_text("[ (import ./one.nix) (import ./two.nix) ]")
    printed = tools.run(as_root, tmp_path, [], _SCRIPT, both, *free_ports(2))
    builders, names = zip(*(line.split() for line in printed.splitlines()), strict=True)
    assert builders == ("1", "2")
    assert len(set(names)) == 2
    for number, label in enumerate(labels):
        out = tmp_path / f"{label}.raw"
        output(
            ASSEMBLE, "--out", out, "--store", tiny_system.root,
            "--closure", tmp_path / "registration", "--system", tiny_system.toplevel,
            "--additional-path", SYSTEMD, "--boot-loader", "systemd-boot", "--label", label,
            "--partition-table", "efi", "--additional-space", "1M", "--boot-size", "34M", "--quiet",
        )  # fmt: skip
        digest = sha256(out)
        print(f"{label}: {digest}")
        assert sha256(tmp_path / str(number) / "disk.raw") == digest


def sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
