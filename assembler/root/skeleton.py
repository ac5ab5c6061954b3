"""What a NixOS root has before its first boot, besides the store paths.

Owners and modes are those that nixos-install and Nix's own installer set. The activation script of
the system makes everything else at every boot.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from assembler.errors import Message, Setting
from assembler.root import gcroots

NIXBLD_GID = 30000  # nixbld in nixpkgs' nixos/modules/misc/ids.nix

SYSTEM_PROFILE = "/nix/var/nix/profiles/system"
CHANNEL_PROFILE = "/nix/var/nix/profiles/per-user/root/channels"
DATABASE = "/nix/var/nix/db"
CONFIGURATION = "/etc/nixos/configuration.nix"


class Place(NamedTuple):
    """A directory of the skeleton."""

    path: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


DIRECTORIES = (
    Place("/"),
    Place("/bin"),
    Place("/boot"),
    Place("/dev"),
    Place("/etc"),
    Place("/home"),
    Place("/nix"),
    Place("/nix/store", 0o1775, gid=NIXBLD_GID),
    Place("/nix/var"),
    Place("/nix/var/log"),
    Place("/nix/var/log/nix"),
    Place("/nix/var/log/nix/drvs"),
    Place("/nix/var/nix"),
    Place("/nix/var/nix/daemon-socket"),
    Place(DATABASE),
    Place("/nix/var/nix/gcroots"),
    Place("/nix/var/nix/gcroots/auto"),
    Place("/nix/var/nix/gcroots/per-user"),
    Place("/nix/var/nix/gcroots/per-user/root"),
    Place("/nix/var/nix/profiles"),
    Place("/nix/var/nix/profiles/per-user"),
    Place("/nix/var/nix/profiles/per-user/root"),
    Place("/nix/var/nix/temproots"),
    Place("/nix/var/nix/userpool"),
    Place("/proc"),
    Place("/root", 0o700),
    Place("/run"),
    Place("/sys"),
    Place("/tmp", 0o1777),
    Place("/usr"),
    Place("/usr/bin"),
    Place("/var"),
    Place("/var/empty", 0o555),
    Place("/var/lib"),
    Place("/var/log"),
    Place("/var/tmp", 0o1777),
)

# Directories that exist only if something is put into them. With an empty .nix-defexpr, nix-env
# would not make the links in it; nixos-install gives it this mode.
ROOTS_DIRECTORIES = (Place(gcroots.DIRECTORY),)
CHANNEL_DIRECTORIES = (Place("/root/.nix-defexpr", 0o700),)
CONFIGURATION_DIRECTORIES = (Place("/etc/nixos"),)
SOME_DIRECTORIES = (*ROOTS_DIRECTORIES, *CHANNEL_DIRECTORIES, *CONFIGURATION_DIRECTORIES)


def some_directories(*, roots: bool, channel: bool, configuration: bool) -> list[Place]:
    """Those of SOME_DIRECTORIES into which something is put."""
    made: list[Place] = []
    made += ROOTS_DIRECTORIES if roots else ()
    made += CHANNEL_DIRECTORIES if channel else ()
    made += CONFIGURATION_DIRECTORIES if configuration else ()
    return made


# Directories that exist only where the boot loader puts files into them.
BOOT_DIRECTORIES = (Place("/boot/grub", 0o700),)

# Path → the file's content. Tools recognise NixOS by this file, though it is empty.
FILES = {"/etc/NIXOS": b""}


# parseName in Nix's src/libstore/profiles.cc reads 32 bits, and the next generation needs a number.
_MAX_GENERATION = (1 << 32) - 2
ProfileGeneration = tuple[int, str]  # its number and the toplevel's store path


def generation_setting(number: int, path: str) -> Setting:
    """A generation, as messages name it."""
    return Setting("generations", f"{number}={path}")


def generation_problems(generations: Sequence[ProfileGeneration]) -> list[str]:
    """One line for each number that no profile can have, or that is given twice."""
    lines: list[str] = [
        Message(generation_setting(number, path), f": the numbers are 1 to {_MAX_GENERATION}")
        for number, path in generations
        if not 1 <= number <= _MAX_GENERATION
    ]
    numbers = [number for number, _ in generations]
    for twice in sorted({number for number in numbers if numbers.count(number) > 1}):
        paths = " and ".join(path for number, path in generations if number == twice)
        lines.append(Message(Setting("generations", twice), f" is given twice: {paths}"))
    return lines


class RootRequest(Protocol):
    """What a root has besides a closure; `spec.RootSpec` is one."""

    @property
    def system(self) -> str:
        """The store path of the toplevel."""

    @property
    def generations(self) -> Sequence[ProfileGeneration]:
        """Other generations of the system profile."""

    @property
    def channel(self) -> str | None:
        """The store path with root's channels."""

    @property
    def profile_paths(self) -> Sequence[str]:
        """The store paths that the machine's profiles name, the system first."""

    @property
    def configuration(self) -> Path | None:
        """The host's file to copy as NixOS's configuration.nix."""

    @property
    def epoch(self) -> int:
        """The time of the configuration, in seconds since 1970."""


def current_generation(system: str, generations: Sequence[ProfileGeneration]) -> int:
    """Which generation of the system profile `system` is: the last that has its path.

    If none has, its number is the next, as with `nix-env --set`.
    """
    own = [number for number, path in generations if path == system]
    return max(own) if own else max((number for number, _ in generations), default=0) + 1


def links(
    system: str,
    *,
    shell: str | None = None,
    env: str | None = None,
    generations: Sequence[ProfileGeneration] = (),
    channel: str | None = None,
) -> dict[str, str]:
    """Path → target of the skeleton's symlinks, for a toplevel.

    `shell` and `env` are the programs for `/bin/sh` and `/usr/bin/env`, `generations` are those of
    the system profile, and `channel` is the store path with root's channels, as `nixos-install
    --channel` takes it.
    """
    current = current_generation(system, generations)
    made = {
        # The activation script makes the targets of these two.
        "/nix/var/nix/gcroots/booted-system": "/run/booted-system",
        "/nix/var/nix/gcroots/current-system": "/run/current-system",
        "/nix/var/nix/gcroots/profiles": "/nix/var/nix/profiles",
        SYSTEM_PROFILE: f"system-{current}-link",
        "/var/run": "/run",
    }
    for number, path in (*generations, (current, system)):
        made[f"{SYSTEM_PROFILE}-{number}-link"] = path
    if shell is not None:
        made["/bin/sh"] = shell
    if env is not None:
        made["/usr/bin/env"] = env
    if channel is not None:
        made[CHANNEL_PROFILE] = "channels-1-link"
        made[f"{CHANNEL_PROFILE}-1-link"] = channel
        made["/root/.nix-defexpr/channels"] = CHANNEL_PROFILE
    return made
