"""Ask Nix: the one place that runs `nix-store`."""

import os
from collections.abc import Sequence
from pathlib import Path

from assembler import process
from assembler.errors import HostError, RequestError
from assembler.store import registration
from assembler.store.paths import StoreRoot
from assembler.store.registration import PathInfo

_REMEDY = (
    "as an ordinary user, Nix needs a running nix-daemon or a store of your own; where there is "
    "neither, let the store's owner write `nix-store --dump-db $(nix-store -qR SYSTEM) > "
    "registration` and pass --closure registration"
)
_DATABASE = "/nix/var/nix/db/db.sqlite"
_BATCH = 1000  # store paths on one command line: far below ARG_MAX


def nix_store(
    store: StoreRoot, arguments: Sequence[str], *, what: str, input: bytes | None = None
) -> bytes:
    """Run nix-store on a store and return what it prints; raises HostError."""
    # Nix refuses a HOME that belongs to another user, as it does under sudo or in a container.
    with process.scratch_directory() as home:
        done = process.run(
            ["nix-store", "--store", store.uri, *arguments],
            what=what,
            input=input,
            # A user without an entry in /etc/passwd (a container's, a sandbox's) has no name else.
            env={"HOME": home, "USER": "nobody"},
            remedy=_REMEDY if store.root == Path("/") else "",
        )
    return done.stdout


def query(store: StoreRoot, paths: Sequence[str]) -> list[PathInfo]:
    """The registration of the closure of `paths`.

    Raises RequestError when the store has no database or does not know a path, HostError when
    Nix cannot tell.
    """
    if store.root != Path("/") and not os.path.isfile(store.host(_DATABASE)):
        # Nix would make one there.
        raise RequestError(f"{store.root} holds no Nix database: say --closure registration")
    asked = "asking Nix for the closure"
    try:
        listed = nix_store(store, ["--query", "--requisites", *paths], what=asked)
    except HostError:
        check = ["--check-validity", "--print-invalid", *paths]
        invalid = nix_store(store, check, what=asked).decode().split()
        if invalid:
            raise RequestError(
                [f"{path} is unknown to Nix's database" for path in invalid]
            ) from None
        raise
    closure = sorted(set(listed.decode().split()))
    infos = []
    for start in range(0, len(closure), _BATCH):
        batch = closure[start : start + _BATCH]
        dump = nix_store(store, ["--dump-db", *batch], what="asking Nix for the registration")
        infos += registration.parse(dump.decode(), "nix-store --dump-db")
    return infos
