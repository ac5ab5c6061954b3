"""Builds by Nix with nothing but store paths, in a store that is laid over this machine's."""

import json
from dataclasses import dataclass
from pathlib import Path

from tests.support.helpers import output
from tests.support.places import REPOSITORY, AsRoot
from tests.support.systems import store_path

SYSTEMD, SYSTEMD_BOOT = store_path(30, "systemd"), "lib/systemd/boot/efi/systemd-bootx64.efi"
_EXPRESSION = REPOSITORY / "nix/assemble-image.nix"

# Run by root in a mount namespace of its own: $1 has a file `paths` with the store paths that are
# needed, and the `registration` of a system that this machine's store lacks, which is in `system`;
# $2 is /bin/sh in the sandbox. New store paths are laid over the machine's store, which stays as it
# is; a database of its own has what is valid. Builds run in the sandbox, as users of groups of
# their own. `$work` is not below pytest's directory, which builders cannot enter.
_NAMESPACE = r"""
set -eu
top=$1 shell=$2
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cd "$work"
install -d -o 65534 home
mkdir new overlay state
sed "s|^root:.*|root:x:0:0:root:$work/root:/bin/sh|" /etc/passwd > passwd
cp /etc/group .
# Nix kills all processes of a build user, so that no two of these namespaces may share one.
for n in 1 2 3; do
  id=$((100000 + $$ * 4 + n))
  echo "nixbld$n:x:$id:nixbld$n" >> group
  echo "nixbld$n:x:$id:$id::/var/empty:/usr/sbin/nologin" >> passwd
done
mount --bind passwd /etc/passwd
mount --bind group /etc/group
unset NIX_REMOTE
nix-store --dump-db $(cat "$top/paths") > registration
layers=lowerdir=/nix/store,upperdir=$work/new,workdir=$work/overlay
mount -t overlay overlay -o "$layers" /nix/store
cp -r "$top/system/nix/store"/* /nix/store
cat "$top/registration" >> registration
settings="
sandbox = true
sandbox-fallback = false
substituters =
sandbox-paths = /bin/sh=$shell"
export NIX_STATE_DIR=$work/state NIX_CONFIG="$settings
build-users-group = nixbld1"
nix-store --load-db < registration
"""


@dataclass(frozen=True)
class Tools:
    """Store paths that an image is built with."""

    programs: str
    assemble: str
    with_appliance: str  # the same, with libguestfs's appliance
    shell: str  # a static one

    def image(self, file: Path, arguments: str, *options: str, appliance: bool = False) -> None:
        """Write an expression that builds an image, with more options of the command."""
        assemble = self.with_appliance if appliance else self.assemble
        extra = " ".join(json.dumps(option) for option in ("--quiet", *options))
        file.write_text(
            f"""
            let
              path = builtins.storePath;
              tools = path "{self.programs}";
              files = builtins.path {{ path = {file.parent}/files; name = "files"; }};
              image = import {_EXPRESSION} {{
                assemble = "${{path "{assemble}"}}/bin/assemble";
                bash = "${{tools}}/bin/bash";
                searchPath = "${{tools}}/bin";
                system = "x86_64-linux";
              }};
            in
            image {{ {arguments} extraArgs = [ {extra} ]; }}
            """
        )

    def run(
        self, as_root: AsRoot, top: Path, paths: list[str], script: str, *args: str | Path
    ) -> str:
        """Run `script` as root where the tools, `paths` and the tiny system of `top` are valid.

        It gets `top` as $top, the further `args` as $1 and so on, and a directory as $work. Gives
        what it prints.
        """
        built = (self.assemble, self.with_appliance)
        needed = output("nix-store", "--query", "--requisites", *built, *paths).decode()
        (top / "paths").write_text(needed)
        for directory in (top, *list(top.parents)[:2]):
            directory.chmod(0o755)
        words = ["unshare", "--mount", "bash", "-c", _NAMESPACE + script, "bash", top, self.shell]
        return as_root(*words, *args).stdout

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
