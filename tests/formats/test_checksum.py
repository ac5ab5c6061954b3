"""Check sums of output files, and the lines of them that `sha256sum` writes and reads.

Without these tests, `sha256sum -c` could call a sound image damaged, or not find it.
"""

import errno
import hashlib
import io
import os
import subprocess
from pathlib import Path

import pytest

from assembler.formats.checksum import Hasher, changed_sums, read_sums
from assembler.units import MIB
from tests.support.helpers import output

NAMES = ["plain", "new\nline", "back\\slash", "\r", "\\n\n\\", " *x", "\udcff", "(x) = y"]
SUM = b"0" * 64


def test_a_file_that_grows_is_hashed(tmp_path: Path) -> None:
    file, content = tmp_path / "file", os.urandom(3 * MIB)
    file.touch()
    with Hasher(file) as hasher, file.open("ab") as growing:
        for at in range(0, len(content), MIB):
            growing.write(content[at : at + MIB])
            growing.flush()
    assert hasher.digest == hashlib.sha256(content).hexdigest()


def test_a_file_that_cannot_be_read_has_no_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(io.FileIO):
        def readinto(self, _: object) -> int:
            raise OSError(errno.EIO, "Input/output error")

    (tmp_path / "file").touch()
    monkeypatch.setattr(Path, "open", lambda file, *_, **__: Broken(file))
    with Hasher(tmp_path / "file") as hasher:
        pass
    with pytest.raises(OSError, match="Input/output error"):
        _ = hasher.digest


@pytest.mark.parametrize("options", [[], ["--binary"], ["--tag"]])
def test_lines_of_sha256sum_are_found(tmp_path: Path, options: list[str]) -> None:
    """By any name, and with any of its options."""
    for name in NAMES:
        (tmp_path / name).touch()
    printed = output("env", "-C", tmp_path, "sha256sum", *options, "--", *NAMES)
    lines = printed.removesuffix(b"\n").split(b"\n")
    for number, name in enumerate(NAMES):
        assert changed_sums(lines, {name}, {}) == [*lines[:number], *lines[number + 1 :]]


def test_sha256sum_finds_the_files(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name).write_text("content")
    digest = hashlib.sha256(b"content").hexdigest()
    lines = changed_sums([], set(), dict.fromkeys(NAMES, digest))
    (tmp_path / "sums").write_bytes(b"\n".join(lines))
    done = subprocess.run(
        ["sha256sum", "-c", "--strict", "sums"], cwd=tmp_path, capture_output=True
    )
    assert (done.returncode, done.stdout.count(b": OK\n"), done.stderr) == (0, len(NAMES), b"")


def test_other_lines_stay_in_their_order(tmp_path: Path) -> None:
    """Also a comment, one by another program, and one without an end."""
    lines = [b"# sums", SUM + b"  z", b"", b"MD5 (a) = 0", SUM + b"  ./a", SUM + b"  b"]
    (tmp_path / "sums").write_bytes(b"\n".join(lines))
    assert read_sums(tmp_path / "sums") == lines
    changed = changed_sums(lines, {"a"}, {"c": SUM.decode()})
    assert changed == [*lines[:4], lines[5], SUM + b"  c"]


@pytest.mark.parametrize("kind", ["absent", "fifo", "directory", "huge"])
def test_what_is_no_list_of_sums(tmp_path: Path, kind: str) -> None:
    """A FIFO is not waited for, and no file is read that does not fit into memory."""
    sums = tmp_path / kind
    if kind == "absent":
        assert read_sums(sums) == []
        return
    if kind == "fifo":
        os.mkfifo(sums)
    elif kind == "directory":
        sums.mkdir()
    else:
        sums.touch()
        os.truncate(sums, 1 << 40)
    with pytest.raises(OSError, match=r"not a regular file|too large"):
        read_sums(sums)
