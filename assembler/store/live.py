"""Query Nix: the one place that runs `nix-store`."""

import os
from collections.abc import Sequence
from pathlib import Path

from assembler.errors import HostError, Message, RequestError, Setting
from assembler.host import process
from assembler.host.scratch import scratch_directory
from assembler.store import registration
from assembler.store.paths import StoreRoot, is_store_path
from assembler.store.registration import PathInfo

_REMEDY = (
    "as an ordinary user, Nix needs a running nix-daemon or a store of your own; where there is "
    "neither, let the store's owner write `nix-store --dump-db $(nix-store -qR SYSTEM) > "
    "registration` and give the file as the source of the closure"
)
_DATABASE = "/nix/var/nix/db/db.sqlite"
_ASKED = "asking Nix for the closure"
_BATCH = 1000  # store paths on one command line: far below ARG_MAX


def nix_store(
    store: StoreRoot, arguments: Sequence[str], *, what: str, input: bytes | None = None
) -> bytes:
    """Run nix-store on a store and return what it prints; raises HostError."""
    # Nix refuses a HOME that belongs to another user, as it does under sudo or in a container.
    with scratch_directory() as home:
        done = process.run(
            ["nix-store", "--store", store.uri, *arguments],
            what=what,
            input=input,
            # In a container or a sandbox, the user may have no entry in /etc/passwd.
            env={"HOME": home, "USER": "nobody"},
            remedy=_REMEDY if store.root == Path("/") else "",
        )
    return done.stdout


def nar_hash(path: Path) -> str:
    """The SHA-256, in hexadecimal, of the NAR of a file or directory; raises HostError."""
    command: list[process.Arg] = ["nix-hash", "--type", "sha256", path]
    return process.run(command, what=f"hashing {path}").stdout.decode().strip()


def query(
    store: StoreRoot, paths: Sequence[str], *, include_outputs: bool = False
) -> list[PathInfo]:
    """The registration of the closure of `paths`.

    With `include_outputs` the closure has the valid outputs of every derivation, too, with
    everything to which they refer. Raises RequestError when the store has no database or lacks a
    path, HostError when Nix fails.
    """
    _require_database(store)
    question = ["--requisites", *(["--include-outputs"] if include_outputs else []), *paths]
    try:
        listed = nix_store(store, ["--query", *question], what=_ASKED)
    except HostError:
        if problems := [f"{path} is unknown to Nix's database" for path in invalid(store, paths)]:
            raise RequestError(problems) from None
        raise
    closure = sorted(set(listed.decode().split()))
    infos = []
    for start in range(0, len(closure), _BATCH):
        batch = closure[start : start + _BATCH]
        dump = nix_store(store, ["--dump-db", *batch], what="asking Nix for the registration")
        infos += registration.parse_registration(dump.decode(), "nix-store --dump-db")
    return infos


def deriver(store: StoreRoot, path: str) -> str | None:
    """The derivation that built a store path, if it is registered; it may be gone.

    Raises as `query`.
    """
    _require_database(store)
    if invalid(store, [path]):
        raise RequestError(f"{path} is unknown to Nix's database")
    printed = nix_store(store, ["--query", "--deriver", path], what=_ASKED).decode().strip()
    return printed if is_store_path(printed) else None  # nix-store may print "unknown-deriver"


def invalid(store: StoreRoot, paths: Sequence[str]) -> list[str]:
    """Those of `paths` that are not valid in a store; raises HostError."""
    check = ["--check-validity", "--print-invalid", *paths]
    return nix_store(store, check, what=_ASKED).decode().split()


def has_database(store: StoreRoot) -> bool:
    """Whether Nix can query a store; the host's own may be behind a daemon."""
    return store.root == Path("/") or os.path.isfile(store.host(_DATABASE))


def _require_database(store: StoreRoot) -> None:
    if not has_database(store):  # Nix would make one there
        raise RequestError(
            Message(
                f"{store.root} holds no Nix database: give ", Setting("closures", "registration")
            )
        )
