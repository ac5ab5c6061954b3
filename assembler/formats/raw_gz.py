"""The raw image, compressed with gzip."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assembler.copying.sparse import Readable, write_sparse
from assembler.errors import DamagedError
from assembler.formats.compressed import Compressed
from assembler.formats.format import require_scratch


class RawGz(Compressed):
    """Made by pigz, which uses all processors; without a name and a time."""

    name = "raw.gz"
    title = "raw, compressed with gzip"
    endings = ("gz",)
    programs = ("pigz",)
    marks = ((0, b"\x1f\x8b\x08"),)
    argv = ("pigz", "-n", "-c", "-p", "{threads}")

    def unpack(self, file: Path, raw: Path) -> list[str]:
        """Let zlib unpack it: pigz overlooks what follows the end."""
        require_scratch(file.stat().st_size)
        with gunzipped(file) as stream, raw.open("wb") as image:
            write_sparse(stream, image)
        return []


@contextmanager
def gunzipped(file: Path) -> Iterator[Readable]:
    """What a file has in gzip's format; raises DamagedError unless it is whole.

    No byte becomes more than 1032, so that every file ends.
    """
    try:
        with gzip.open(file) as stream:
            yield stream
    except EOFError as error:
        raise DamagedError(f"it is cut: {error}") from None
    except gzip.BadGzipFile as error:
        words = str(error)
        if words.startswith("Not a gzipped file"):
            words = "something that is not gzip's follows the data"
        raise DamagedError(words) from None
    except zlib.error as error:
        raise DamagedError(f"its data is damaged: {error}") from None
