"""What the rows of contents put at a path.

Without these tests, a file that the contents bring can be ignored, such as their passwd.
"""

from pathlib import Path

from assembler.root.rows import Row, read_target, rows_with
from assembler.store.paths import StoreRoot
from tests.support.boots import link, path_of, put


def test_the_nearest_row_has_a_path(tmp_path: Path) -> None:
    (tmp_path / "a/x").mkdir(parents=True)
    (tmp_path / "a/x/f").touch()
    (tmp_path / "b").mkdir()
    rows = [Row(f"{tmp_path}/a", "/srv"), Row(f"{tmp_path}/a/x", "/srv/x"), Row("/absent", "/a")]
    assert rows_with(rows, "/srv/x/f") == [rows[1], rows[0]]
    assert rows_with(rows, "/srv") == [rows[0]]
    assert rows_with(rows, "/srv/x/g") == rows_with(rows, "/srvx") == rows_with(rows, "/a") == []


def test_a_file_is_read_as_the_image_will_have_it(tmp_path: Path) -> None:
    store = StoreRoot(tmp_path / "root")
    stored = put(store, path_of("stored"), "stored")
    (tmp_path / "etc/dir").mkdir(parents=True)
    (tmp_path / "etc/plain").write_bytes(b"plain")
    (tmp_path / "named").write_bytes(b"named")
    for name, target in (
        ("absolute", "/etc/dir/../plain"),
        ("relative", "dir/../plain"),
        ("stored", stored),
        ("over", "named"),
        ("dangling", "/etc/absent"),
        ("host", f"{tmp_path}/named"),
        ("out", path_of("out")),
    ):
        (tmp_path / "etc" / name).symlink_to(target)
    (tmp_path / "etc/named").write_bytes(b"shadowed")
    link(store, path_of("out"), f"{tmp_path}/named")
    rows = [Row(f"{tmp_path}/etc", "/etc"), Row(f"{tmp_path}/named", "/etc/named")]

    def read(name: str) -> bytes | None:
        return read_target(rows, store, f"/etc/{name}")

    assert [read(name) for name in ("plain", "absolute", "relative")] == [b"plain"] * 3
    assert [read(name) for name in ("stored", "named", "over")] == [b"stored", b"named", b"named"]
    assert [read(name) for name in ("absent", "dir", "dangling", "host", "out", "plain/x")] == [
        None
    ] * 6


def test_what_is_on_the_way_to_a_target_is_no_file(tmp_path: Path) -> None:
    rows = [Row(str(tmp_path), "/a/b/c")]
    assert read_target(rows, StoreRoot(), "/a/b") is None
    assert read_target([], StoreRoot(), "/a") is None
