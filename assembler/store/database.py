"""The Nix database of the image, made by Nix and then freed of the host's traces."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from assembler import process
from assembler.errors import HostError, InternalError
from assembler.store.live import nix_store
from assembler.store.paths import StoreRoot
from assembler.store.registration import PathInfo, format_registration

SCHEMA = "10"  # nix/var/nix/db/schema, the same from Nix 2.0 to this day


def make_database(infos: Sequence[PathInfo], target: Path, epoch: int) -> None:
    """Write `db.sqlite` and `schema` for `infos` into the directory `target`.

    All paths get the registration time `epoch` (seconds). Raises HostError when Nix or SQLite
    fails, InternalError when what Nix made is not the closure.
    """
    with process.scratch_directory() as scratch:
        nix_store(
            StoreRoot(Path(scratch)),
            ["--load-db"],
            what="making the Nix database",
            input=format_registration(infos),
        )
        made = Path(scratch) / "nix/var/nix/db"
        if (made / "schema").read_text().strip() != SCHEMA:
            raise HostError("this Nix writes another database schema than 10: use Nix 2.x")
        try:
            _normalise(made / "db.sqlite", infos, epoch)
            for leftover in ("-wal", "-shm", "-journal"):  # of a database that was there before
                (target / f"db.sqlite{leftover}").unlink(missing_ok=True)
            put_file(target / "db.sqlite", (made / "db.sqlite").read_bytes())
        except sqlite3.Error as error:
            raise HostError(f"making the Nix database: SQLite says: {error}") from None
        put_file(target / "schema", SCHEMA.encode())


def put_file(path: Path, content: bytes) -> None:
    """Write a file that all may read, whatever the umask, in place of what was at `path`."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    path.chmod(0o644)


def _normalise(database: Path, infos: Sequence[PathInfo], epoch: int) -> None:
    """Set what varies between runs, fold the journal in, and compare with the closure."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("pragma synchronous = off")
        connection.execute("update ValidPaths set registrationTime = ?", (epoch,))
        connection.execute("pragma wal_checkpoint(truncate)")
        connection.execute("pragma journal_mode = delete")
        connection.execute("vacuum")
        rows = connection.execute("select path, hash, narSize from ValidPaths order by path")
        expected = sorted((i.path, f"sha256:{i.nar_hash}", i.nar_size) for i in infos)
        references = connection.execute("select count(*) from Refs").fetchone()[0]
        if list(rows) != expected or references != sum(len(set(i.references)) for i in infos):
            raise InternalError("the Nix database differs from the closure")
        if connection.execute("pragma integrity_check").fetchone()[0] != "ok":
            raise InternalError("the Nix database is damaged")
