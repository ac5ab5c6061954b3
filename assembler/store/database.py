"""The Nix database of the image: Nix makes it, and we remove what varies between hosts."""

import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import zip_longest
from pathlib import Path

from assembler.errors import HostError, InternalError
from assembler.host.scratch import scratch_directory
from assembler.store.derivation import is_derivation, read_outputs
from assembler.store.live import nix_store
from assembler.store.paths import STORE, Store, StoreRoot
from assembler.store.registration import PathInfo, format_registration

SCHEMA = "10"  # nix/var/nix/db/schema, the same from Nix 2.0 to this day

_Record = tuple[object, ...]
# Everything in the database about a closure. Derivers are left out: only some sources have them.
_PATHS = """select path, hash, narSize, registrationTime, coalesce(deriver, '')
    from ValidPaths order by path"""
_REFERENCES = """select p.path, r.path from Refs left join ValidPaths p on p.id = referrer
    left join ValidPaths r on r.id = reference order by p.path, r.path"""
_OUTPUTS = """select p.path, o.id, o.path from DerivationOutputs o
    left join ValidPaths p on p.id = drv order by p.path, o.id"""


def make_database(infos: Sequence[PathInfo], store: Store, target: Path, epoch: int) -> None:
    """Write `db.sqlite` and `schema` for `infos` into the directory `target`.

    All paths get the registration time `epoch` (seconds). Derivations are read from `store`; raises
    RequestError for a file that is none. Raises HostError when Nix or SQLite fails, InternalError
    when the database is not about this closure.
    """
    with scratch_directory() as scratch:
        scratch_store = StoreRoot(Path(scratch))
        derivations = [info.path for info in infos if is_derivation(info.path)]
        _copy_derivations(derivations, store, scratch_store)
        outputs = {path: read_outputs(scratch_store, path) for path in derivations}
        nix_store(
            scratch_store,
            ["--load-db"],
            what="making the Nix database",
            input=format_registration(infos),
        )
        made = Path(scratch) / "nix/var/nix/db"
        if (made / "schema").read_text().strip() != SCHEMA:
            raise HostError("this Nix writes another database schema than 10: use Nix 2.x")
        try:
            _normalise(made / "db.sqlite", infos, outputs, epoch)
            for leftover in ("-wal", "-shm", "-journal"):  # of a database that was there before
                (target / f"db.sqlite{leftover}").unlink(missing_ok=True)
            put_file(target / "db.sqlite", (made / "db.sqlite").read_bytes())
        except sqlite3.Error as error:
            raise HostError(f"making the Nix database: SQLite: {error}") from None
        put_file(target / "schema", SCHEMA.encode())


def put_file(path: Path, content: bytes) -> None:
    """Write a file that all may read, whatever the umask; replaces what was at `path`."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    path.chmod(0o644)


def _copy_derivations(paths: Sequence[str], store: Store, scratch: StoreRoot) -> None:
    """Copy derivations to a scratch store, where Nix reads their outputs to register them."""
    scratch.host(STORE).mkdir(parents=True)
    for path in paths:
        shutil.copyfile(store.host(path), scratch.host(path))


def _normalise(
    database: Path, infos: Sequence[PathInfo], outputs: Mapping[str, Mapping[str, str]], epoch: int
) -> None:
    """Set what varies between runs, merge the journal, and compare with the closure.

    `outputs` has, for each derivation, output name → store path.
    """
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("pragma synchronous = off")
        connection.execute("update ValidPaths set registrationTime = ?", (epoch,))
        connection.execute("pragma wal_checkpoint(truncate)")
        connection.execute("pragma journal_mode = delete")
        connection.execute("vacuum")
        ordered = sorted(infos)
        expected: dict[str, Iterator[_Record]] = {
            _PATHS: ((i.path, f"sha256:{i.nar_hash}", i.nar_size, epoch, "") for i in ordered),
            _REFERENCES: ((i.path, other) for i in ordered for other in sorted(set(i.references))),
            _OUTPUTS: (
                (drv, *pair) for drv in sorted(outputs) for pair in sorted(outputs[drv].items())
            ),
            "pragma foreign_key_check": iter(()),
            "pragma integrity_check": iter([("ok",)]),
        }
        for question, rows in expected.items():
            _compare(connection.execute(question), rows)


def _compare(found: Iterable[_Record], expected: Iterable[_Record]) -> None:
    """Raise InternalError at the first row that differs."""
    for row, should in zip_longest(found, expected):
        if row != should:
            raise InternalError(f"the Nix database has {row}, where the closure has {should}")
