"""Contents: accepted rows get into the tree, and all problems of others are reported at once.

Without these tests, files of --contents can be missing in the image, or replace those of the
system.
"""

import json
import os
import random
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.errors import RequestError
from assembler.root.accounts import Accounts
from assembler.root.contents import read_contents
from assembler.root.placing import add_contents
from assembler.root.rows import Row
from assembler.store.paths import StoreRoot
from assembler.tree.linux import XATTR_SIZE_MAX
from assembler.tree.scan import Scanner
from assembler.tree.tree import Directory, Node, Tree, regular, symlink
from tests.support.helpers import directory
from tests.support.systems import store_path


def read(tmp_path: Path, *rows: object) -> list[Row]:
    """Write rows as JSON and read them; `$` in a source is the directory."""
    text = json.dumps(rows).replace("$", str(tmp_path))
    (tmp_path / "contents.json").write_text(text)
    return read_contents(tmp_path / "contents.json", StoreRoot(tmp_path / "root"), Accounts())


def problems(tmp_path: Path, *rows: object) -> list[str]:
    with pytest.raises(RequestError) as caught:
        read(tmp_path, *rows)
    return [line.removeprefix("contents, ") for line in caught.value.problems]


def row(**changes: object) -> dict[str, Any]:
    return {"source": "$/file", "target": "/etc/file", **changes}


IDS = "a user is a name or a whole number from 0 to 4294967294, not"


@pytest.fixture(autouse=True)
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    return path


def test_a_row_by_itself_is_roots(tmp_path: Path) -> None:
    assert read(tmp_path, row()) == [Row(f"{tmp_path}/file", "/etc/file", 0, 0, None, ())]


def test_nobody_waits_for_a_fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(RequestError, match=r"contents .*/fifo is a FIFO, not a regular file"):
        read_contents(tmp_path / "fifo", StoreRoot(tmp_path), Accounts())


def test_no_rows_are_none(tmp_path: Path) -> None:
    assert read(tmp_path) == []


@pytest.mark.parametrize("empty", [None, ""])
def test_what_is_empty_is_the_default(tmp_path: Path, empty: object) -> None:
    assert read(tmp_path, row(user=empty, group=empty, mode=empty)) == read(tmp_path, row())


@pytest.mark.parametrize(
    ("user", "group", "ids"),
    [
        ("nobody", "nixbld", (65534, 30000)),
        ("1000", "100", (1000, 100)),
        (1000, 0xFFFFFFFE, (1000, 0xFFFFFFFE)),
        ("root", "users", (0, 100)),
    ],
)
def test_owners(tmp_path: Path, user: object, group: object, ids: tuple[int, int]) -> None:
    [found] = read(tmp_path, row(user=user, group=group))
    assert (found.uid, found.gid) == ids


def test_names_come_from_passwd_and_group_among_the_contents(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_bytes(b"me:x:1001:5::\nodd\nbad:x:no\nbig:x:99999999999\n")
    (tmp_path / "group").write_bytes(b"us:x:5:\n\xff:x:6\n")
    rows = read(
        tmp_path,
        row(user="me", group="us"),
        {"source": "$/passwd", "target": "etc//./passwd"},
        {"source": "$/group", "target": "/etc/group"},
    )
    assert (rows[0].uid, rows[0].gid) == (1001, 5)


def test_xattrs_that_no_linux_holds_are_refused(tmp_path: Path) -> None:
    fits = {"user.note": "x" * XATTR_SIZE_MAX}
    assert len(read(tmp_path, row(xattrs=fits))[0].xattrs[0][1]) == XATTR_SIZE_MAX
    [problem] = problems(tmp_path, row(xattrs={"user.note": "x" * (XATTR_SIZE_MAX + 1)}))
    assert "user.note: its value has more than the 65536 bytes that Linux allows" in problem


def test_a_link_to_a_directory_stands_for_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    [found] = read(tmp_path, row(source="$/link"))
    assert found.source == f"{tmp_path}/real"


def test_xattrs_are_written_as_getfattr_shows_them(tmp_path: Path) -> None:
    values = {"user.a": "0x00ff", "user.b": "0sAP8=", "security.capability": "text", "user.c": ""}
    assert read(tmp_path, row(xattrs=values))[0].xattrs == (
        ("security.capability", b"text"),
        ("user.a", b"\0\xff"),
        ("user.b", b"\0\xff"),
        ("user.c", b""),
    )


@pytest.mark.parametrize(
    ("target", "clean"), [("etc/x", "/etc/x"), ("//a//b/", "/a/b"), ("/a/./b", "/a/b")]
)
def test_targets_are_made_absolute(tmp_path: Path, target: str, clean: str) -> None:
    assert read(tmp_path, row(target=target))[0].target == clean


def test_a_target_that_is_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff")).touch()
    rows = read(tmp_path, row(source="$/\udcff", target="/\udcfe"))
    tree = Tree()
    add_contents(tree, Scanner(tree), rows, 1)
    assert tree.get(b"/\xfe") is not None


def test_a_pattern_puts_what_it_finds_into_the_target(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for name in ("b", "a", ".hidden"):
        (tmp_path / "d" / name).touch()
    found = read(tmp_path, row(source="$/d/*", target="/srv"))
    assert [(item.source, item.target) for item in found] == [
        (f"{tmp_path}/d/a", "/srv/a"),
        (f"{tmp_path}/d/b", "/srv/b"),
    ]


def test_a_pattern_may_bring_empty_places_for_mounts(tmp_path: Path) -> None:
    for name in ("proc", "run", "etc"):
        (tmp_path / "root" / name).mkdir(parents=True)
    rows = row(source="$/root/*", target="/")
    assert [item.target for item in read(tmp_path, rows)] == ["/etc", "/proc", "/run"]
    (tmp_path / "root/run/x").touch()
    [messages] = problems(tmp_path, rows)
    assert messages.startswith("row 1: the target /run cannot be seen in the machine")


def test_a_pattern_may_fill_the_root(tmp_path: Path) -> None:
    assert [item.target for item in read(tmp_path, row(source="$/fi*", target="/"))] == ["/file"]


def test_sources_in_the_store_are_looked_for_in_the_store_given(tmp_path: Path) -> None:
    path = store_path(1, "x")
    (tmp_path / "root" / path[1:]).mkdir(parents=True)
    (tmp_path / "root" / path[1:] / "f").touch()
    [found] = read(tmp_path, row(source=f"{path}/*"))
    assert found.source == f"{tmp_path}/root{path}/f"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"source": "/nowhere/x"}, "the source /nowhere/x does not exist"),
        ({"source": "/nowhere/*"}, "the source /nowhere/* does not exist"),
        ({"source": "/dev/null"}, "/dev/null is a device, pipe or socket"),
        ({"source": "$/locked"}, "the source $/locked may not be read"),
        ({"source": "$/a\0*"}, "needs a source and a target, both file names"),
        ({"source": "\ud800*"}, "needs a source and a target, both file names"),
        ({"source": 5}, "needs a source and a target, both file names"),
        ({"target": ""}, "needs a source and a target, both file names"),
        ({"target": "/a\0"}, "needs a source and a target, both file names"),
        ({"target": "/\udfff"}, "needs a source and a target, both file names"),
        ({"target": None}, "needs a source and a target, both file names"),
        ({"target": "/a/../../b"}, "the target /a/../../b leaves the root or goes through .."),
        ({"target": "/"}, "the target is the root itself"),
        ({"target": "//."}, "the target is the root itself"),
        ({"target": "/" + "ä" * 128}, f"the target /{'ä' * 128} has a name of over 255 bytes"),
        ({"target": "/nix/store/x"}, "the target /nix/store/x is in the store: use additional_"),
        ({"target": "nix//store"}, "the target /nix/store is in the store: use additional_paths"),
        ({"source": "$/tree", "target": "/nix"}, "the target /nix is in the store: use"),
        ({"source": "$/tree/*", "target": "/nix"}, "the target /nix/store is in the store: use"),
        ({"target": "/nix/var/nix/db/x"}, "the target /nix/var/nix/db/x is Nix's own, its data"),
        ({"target": "/nix/var/nix/profiles"}, "the target /nix/var/nix/profiles is Nix's own"),
        ({"source": "$/tree", "target": "/nix/var"}, "the target /nix/var is Nix's own, its"),
        ({"target": "/run/x"}, "the target /run/x cannot be seen in the machine, which mounts a"),
        ({"target": "/proc"}, "the target /proc cannot be seen in the machine, which mounts a"),
        ({"user": "me"}, "unknown user 'me': give its number, or put /etc/passwd among the cont"),
        ({"group": "me"}, "unknown group 'me': give its number, or put /etc/group among the con"),
        ({"user": -1}, f"{IDS} -1"),
        ({"user": True}, f"{IDS} true"),
        ({"user": 1.5}, f"{IDS} 1.5"),
        ({"user": 0xFFFFFFFF}, f"{IDS} 4294967295"),
        ({"user": "4294967295"}, f'{IDS} "4294967295"'),
        ({"user": "9" * 5000}, f'{IDS} "999'),
        ({"user": []}, f"{IDS} []"),
        ({"user": "-1"}, f'{IDS} "-1"'),
        ({"group": -1}, f"{IDS.replace('user', 'group')} -1"),
        ({"mode": 420}, "the mode 420 is neither a string of octal digits nor one of changes as"),
        ({"mode": "u+y"}, "the mode 'u+y' is neither a string of octal digits nor one of changes"),
        ({"mode": "888"}, "the mode '888' is neither a string of octal digits nor one of changes"),
        ({"mode": "10000"}, "the mode '10000' is neither a string of octal digits nor one of"),
        ({"mode": "7" * 9000}, "the mode '777"),
        ({"xattrs": []}, "xattrs is not an object"),
        ({"xattrs": {"a": "b"}}, "the extended attribute a: its name starts with none of user."),
        ({"xattrs": {"user.": "b"}}, "the extended attribute user.: its name is not 1 to 255"),
        ({"xattrs": {"user.\0": "b"}}, "the extended attribute user.\0: its name is not 1 to"),
        ({"xattrs": {"user.\ud800": "b"}}, "the extended attribute user.\ud800: "),
        ({"xattrs": {"user.a": "\ud800"}}, "the extended attribute user.a: "),
        ({"xattrs": {"user.a": 1}}, "the extended attribute user.a: its value is not a string"),
        ({"xattrs": {"user.a": "0xg"}}, "the extended attribute user.a: "),
        ({"xattrs": {"user.a": "0s?"}}, "the extended attribute user.a: "),
        ({"colour": "red"}, "unknown key colour"),
    ],
)
def test_a_bad_row_is_told_with_its_number(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    (tmp_path / "locked").touch(mode=0)
    (tmp_path / "tree/store").mkdir(parents=True)
    (tmp_path / "tree/nix").mkdir()
    messages = problems(tmp_path, {**row(target="/a")}, row(**changes))
    assert len(messages) == 1
    assert messages[0].startswith("row 2: " + words.replace("$", str(tmp_path)))


def test_a_device_for_passwd_is_not_read(tmp_path: Path) -> None:
    messages = problems(tmp_path, {"source": "/dev/zero", "target": "/etc/passwd"})
    assert messages == ["row 1: /dev/zero is a device, pipe or socket"]


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    messages = problems(
        tmp_path,
        row(user="a", group="b", mode="c", xattrs=1),
        row(target="/x"),
        row(target="/x"),
        {},
    )
    assert [line.partition(":")[0] for line in messages] == ["row 1"] * 4 + ["row 3", "row 4"]
    assert messages[-2] == "row 3: row 2 has the target /x, too: leave one of them out"


def test_a_pattern_with_two_files_for_one_target_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").touch()
    both = f"{tmp_path}/a/f and {tmp_path}/b/f, two sources for the target /etc/f"
    assert problems(tmp_path, row(source="$/*/f", target="/etc")) == [
        f"row 1: its pattern finds {both}: leave one of them out"
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", r"is not JSON \(line 1, column 1\)$"),
        (b"[" * 200_000, "is not JSON that can be read: its lists and objects are nested too"),
        (b"\xff\xff", "is not JSON: it is not text in UTF-8$"),
        (b"9" * 5000, "is not JSON that can be read: a number in it has too many digits$"),
        (b"{}", "is not a list of objects"),
        (b"[1]", "is not a list of objects"),
        (b"null", "is not a list of objects"),
        (b"[NaN, Infinity]", "is not a list of objects"),
    ],
)
def test_what_is_no_list_of_rows_is_told(tmp_path: Path, text: bytes, words: str) -> None:
    (tmp_path / "c").write_bytes(text)
    with pytest.raises(RequestError, match=f"contents {tmp_path}/c {words}"):
        read_contents(tmp_path / "c", StoreRoot(), Accounts())


@pytest.mark.parametrize("name", ["absent", "."])
def test_contents_that_cannot_be_read_are_told(tmp_path: Path, name: str) -> None:
    words = "does not exist|Is a directory"
    with pytest.raises(RequestError, match=f"contents {tmp_path}.*({words})"):
        read_contents(tmp_path / name, StoreRoot(), Accounts())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below),
    max_leaves=5,
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("source", "target", "user", "group", "mode", "xattrs"), JSON)
    )
)


@given(ROWS)
@settings(max_examples=50)
def test_any_json_is_read_or_refused(rows: list[dict[str, Any]]) -> None:
    with directory() as place:
        (place / "c").write_text(json.dumps(rows))
        try:
            found = read_contents(place / "c", StoreRoot(), Accounts())
            assert all(isinstance(item, Row) for item in found)
        except RequestError as error:
            assert error.problems


def test_many_rows_are_read_quickly(tmp_path: Path) -> None:
    rows = read(tmp_path, *(row(target=f"/many/{number}") for number in range(20_000)))
    tree = Tree()
    add_contents(tree, Scanner(tree), rows, 1)
    assert len(list(tree.walk())) == 20_002


def added(tmp_path: Path, tree: Tree, *rows: dict[str, Any]) -> None:
    add_contents(tree, Scanner(tree), read(tmp_path, *rows), 7)


def test_rows_are_added_with_what_they_say(tmp_path: Path) -> None:
    tree = Tree()
    added(tmp_path, tree, row(user=1, group=2, mode="4711", xattrs={"user.a": "b"}))
    assert tree.get(b"/etc/file") == Node(
        stat.S_IFREG, 0o4711, 7, f"{tmp_path}/file", 1, 2, 7, 0, (("user.a", b"b"),)
    )


def node_at(tree: Tree, path: bytes) -> Node:
    found = tree.get(path)
    assert isinstance(found, Node)
    return found


def directory_at(tree: Tree, path: bytes) -> Directory:
    found = tree.get(path)
    assert isinstance(found, Directory)
    return found


def refusal(tmp_path: Path, tree: Tree, *rows: dict[str, Any]) -> list[str]:
    """The message for rows that the tree cannot have, without the setting's name."""
    with pytest.raises(RequestError) as caught:
        added(tmp_path, tree, *rows)
    return [line.removeprefix("contents, ") for line in caught.value.problems]


def test_what_this_program_makes_is_not_replaced(tmp_path: Path) -> None:
    tree = Tree()
    tree.add(b"/etc/NIXOS", regular(b""))
    tree.add(b"/etc/empty", regular(b""))
    tree.add(b"/bin/sh", symlink(b"/nix/store/bash"))
    tree.add(b"/boot/grub/grub.cfg", regular(b"menu"))
    (tmp_path / "d/grub").mkdir(parents=True)
    (tmp_path / "d/grub/grub.cfg").touch()
    (tmp_path / "sh").symlink_to("/nix/store/bash")
    same = (
        row(source="$/sh", target="/bin/sh"),
        row(source="$/d/grub/grub.cfg", target="/etc/empty"),
    )
    added(tmp_path, tree, *same)
    rows = [row(target="/bin/sh"), row(source="$/d", target="/boot"), row(target="/etc/NIXOS")]
    assert refusal(tmp_path, tree, *rows) == [
        f"row {path} is made by this program, and cannot be replaced: leave it out"
        for path in ("1: /bin/sh", "2: /boot/grub/grub.cfg", "3: /etc/NIXOS")
    ]


@pytest.mark.parametrize("forwards", [True, False])
def test_the_row_that_names_a_directory_wins(tmp_path: Path, forwards: bool) -> None:
    """Over the system and over a row for a directory above it."""
    tree = Tree()
    tree.add(b"/var/log", Directory(0o755))
    (tmp_path / "app/data/below").mkdir(parents=True)
    (tmp_path / "app/data/file").touch()
    (tmp_path / "app/bin").mkdir()
    rows = [
        row(source="$/app", target="/srv/app", user=1000, group=1000, mode="755"),
        row(source="$/app/data", target="/srv/app/data", user=999, group=999, mode="700"),
        row(
            source="$/app/bin",
            target="/var/log",
            user=5,
            mode="u=rwx,go=,+t",
            xattrs={"user.a": "b"},
        ),
    ]
    added(tmp_path, tree, *(rows if forwards else rows[::-1]))
    assert {
        path: (found.uid, found.gid, found.mode, found.xattrs)
        for path, found in tree.walk()
        if path.startswith((b"/srv", b"/var/log"))
    } == {
        b"/srv": (0, 0, 0o755, ()),
        b"/srv/app": (1000, 1000, 0o755, ()),
        b"/srv/app/bin": (1000, 1000, 0o755, ()),
        b"/srv/app/data": (999, 999, 0o700, ()),
        b"/srv/app/data/below": (999, 999, 0o700, ()),
        b"/srv/app/data/file": (999, 999, 0o700, ()),
        b"/var/log": (5, 0, 0o1700, (("user.a", b"b"),)),
    }


def test_a_directory_of_the_system_keeps_its_mode_where_none_is_given(tmp_path: Path) -> None:
    """A source in the store has 0555: that is no mode for /tmp or /root."""
    tree = Tree()
    tree.add(b"/tmp", Directory(0o1777))
    tree.add(b"/root", Directory(0o700))
    tree.add(b"/root/.cache", Directory(0o700))
    (tmp_path / "d/.cache").mkdir(parents=True)
    (tmp_path / "d").chmod(0o555)
    rows = row(source="$/d", target="/tmp", mode="F600"), row(source="$/d", target="/root")
    added(tmp_path, tree, *rows)
    modes = [directory_at(tree, path).mode for path in (b"/tmp", b"/root", b"/root/.cache")]
    assert modes == [0o1777, 0o700, 0o700]


def test_directories_on_the_way_are_roots(tmp_path: Path) -> None:
    tree = Tree()
    added(tmp_path, tree, row(target="/home/me/.ssh/keys", user=1000, mode="600"))
    for path in (b"/home", b"/home/me", b"/home/me/.ssh"):
        found = directory_at(tree, path)
        assert (found.uid, found.gid, found.mode) == (0, 0, 0o755)


def test_rows_that_bring_the_same_do_not_contradict(tmp_path: Path) -> None:
    """Directories may overlap in files of equal bytes; a row that names a file may have its own."""
    for name in ("a/x/f", "b/f"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"equal")
    (tmp_path / "a/x/l").symlink_to("f")
    (tmp_path / "b/l").symlink_to("f")
    (tmp_path / "a/x/named").touch()
    tree = Tree()
    rows = (
        row(source="$/a", target="/srv", user=1),
        row(source="$/b", target="/srv/x", user=2),
        row(target="/srv/x/named", user=3),
    )
    added(tmp_path, tree, *rows)
    nodes = [node_at(tree, b"/srv/x/" + name) for name in (b"f", b"l", b"named")]
    assert [node.uid for node in nodes] == [2, 2, 3]
    assert nodes[2].data == f"{tmp_path}/file"


@pytest.mark.parametrize("other", [b"other", b"longer than it", None])
def test_rows_that_contradict_are_refused(tmp_path: Path, other: bytes | None) -> None:
    (tmp_path / "a/x").mkdir(parents=True)
    (tmp_path / "a/x/f").write_bytes(b"equal")
    (tmp_path / "b").mkdir()
    if other is None:
        (tmp_path / "b/f").symlink_to("nowhere")
    else:
        (tmp_path / "b/f").write_bytes(other)
    rows = row(source="$/a", target="/srv"), row(source="$/b", target="/srv/x")
    assert refusal(tmp_path, Tree(), *rows) == [
        f"row 2: /srv/x/f is brought by row 1, too, as something else: {tmp_path}/a for /srv, and "
        f"{tmp_path}/b for /srv/x"
    ]


def test_a_file_and_a_directory_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("a/x/f", "b"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "b/f").touch()
    (tmp_path / "a/y").touch()
    rows = (
        row(source="$/a", target="/srv"),
        row(source="$/b", target="/srv/x"),
        row(source="$/b", target="/srv/y"),
        row(target="/srv/x/f/below"),
    )
    assert refusal(tmp_path, Tree(), *rows) == [
        f"row 2: /srv/x/f is brought by row 1, too, as something else: {tmp_path}/a for /srv, and "
        f"{tmp_path}/b for /srv/x",
        f"row 3: /srv/y is brought by row 1, too, as something else: {tmp_path}/a for /srv, and "
        f"{tmp_path}/b for /srv/y",
    ]


SOURCES = ("", "x", "x/f", "y", "y/f", "link")
TARGETS = ("/a", "/a/x", "/a/x/f", "/a/y", "/a/x/x", "/a/y/f", "/var", "/var/log", "/var/log/f")


@given(
    rows=st.lists(
        st.tuples(st.sampled_from(SOURCES), st.sampled_from(TARGETS), st.integers(1, 9)),
        unique_by=lambda row: row[1],
        max_size=5,
    ),
    random=st.randoms(use_true_random=False),
)
@settings(max_examples=60)
def test_rows_mean_the_same_in_any_order(
    rows: list[tuple[str, str, int]], random: random.Random
) -> None:
    """And what a row names is its, or all are refused."""

    def result(rows: list[Row]) -> dict[bytes, tuple[object, ...]] | list[str]:
        tree = Tree()
        tree.add(b"/var/log", Directory(0o700))
        try:
            add_contents(tree, Scanner(tree), rows, 1)
        except RequestError as error:
            return list(error.problems)
        return {
            path: (type(found), found.uid, found.mode, getattr(found, "data", None))
            for path, found in tree.walk()
        }

    with directory() as place:
        (place / "x").mkdir()
        (place / "y").mkdir()
        (place / "x/f").write_bytes(b"one")
        (place / "y/f").write_bytes(b"two")
        (place / "link").symlink_to("x")
        given = [Row(str(place / source), target, uid=uid) for source, target, uid in rows]
        found = result(given)
        random.shuffle(given)
        assert result(given) == found
        for row in given:
            if isinstance(found, dict):
                assert found[row.target.encode()][1] == row.uid


def test_what_the_kernel_makes_up_is_refused(tmp_path: Path) -> None:
    assert [
        line.partition(" is on ")[2].partition(",")[0]
        for line in problems(
            tmp_path,
            row(source="/proc/self/status", target="/a"),
            row(source="/proc/1/cmdline", target="/b"),
            row(source="/proc/sys", target="/c"),
            row(source="/sys/kernel", target="/d"),
        )
    ] == ["proc", "proc", "proc", "sysfs"]


def test_what_a_user_names_in_the_store_stays_in_the_store(tmp_path: Path) -> None:
    path, other = store_path(1, "x"), store_path(2, "y")
    root = tmp_path / "root"
    (root / path[1:]).mkdir(parents=True)
    (root / other[1:]).mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/f").touch()
    for name, target in (("out", f"{tmp_path}/secret"), ("up", "../" * 99), ("in", other)):
        (root / path[1:] / name).symlink_to(target)
    (root / path[1:] / "file").symlink_to(f"{tmp_path}/secret/f")
    sources = [
        read(tmp_path, row(source=f"{path}/{name}"))[0].source
        for name in ("in", "out", "up", "file")
    ]
    # A link that leads out is a link in the image, too.
    assert sources == [
        f"{root}{other}",
        *(f"{root}{path}/{name}" for name in ("out", "up", "file")),
    ]
    for source in (f"{path}/out/f", f"{path}/out/*", f"{path}/*/f"):
        [messages] = problems(tmp_path, row(source=source))
        assert messages.endswith("which is outside /nix/store")


def test_a_directory_comes_before_what_goes_into_it(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/file").write_bytes(b"shadowed")
    tree = Tree()
    added(
        tmp_path,
        tree,
        row(target="/srv/file", user=1),
        row(source="$/d", target="/srv", user=2, mode="750"),
    )
    srv, file = tree.get(b"/srv"), tree.get(b"/srv/file")
    assert isinstance(srv, Directory)
    assert isinstance(file, Node)
    assert (srv.uid, srv.mode, file.uid, file.data) == (2, 0o750, 1, f"{tmp_path}/file")


def test_every_target_that_cannot_be_is_told(tmp_path: Path) -> None:
    tree = Tree()
    tree.add(b"/var/run", symlink(b"/run"))
    tree.add(b"/etc/x", Directory())
    (tmp_path / "d/x").mkdir(parents=True)
    os.mkfifo(tmp_path / "d/x/fifo")
    rows = read(
        tmp_path,
        row(target="/etc/x"),
        row(target="/var/run/y"),
        row(target="/z"),
        row(source="$/d", target="/d"),
        row(target="/z/below"),
    )
    with pytest.raises(RequestError) as caught:
        add_contents(tree, Scanner(tree), rows, 1)
    assert list(caught.value.problems) == [
        f"contents, row 4: {tmp_path}/d/x/fifo is neither a file, a directory nor a symlink",
        "contents, row 1: /etc/x is a directory of the system: a file needs another target",
        "contents, row 2: /var/run: run on the way is not a directory",
        f"contents, row 5: /z/below needs a directory at /z, where row 3 puts {tmp_path}/file: "
        "leave one of them out",
    ]


def test_a_file_that_is_linked_into_the_store_becomes_one_of_its_own(tmp_path: Path) -> None:
    host = tmp_path / "root" / store_path(1, "x")[1:]
    host.parent.mkdir(parents=True)
    os.link(tmp_path / "file", host)
    tree = Tree()
    scanner = Scanner(tree)
    scanner.add(str(host), store_path(1, "x").encode())
    add_contents(tree, scanner, read(tmp_path, row(source=store_path(1, "x"), user=1)), 1)
    ours, stores = tree.get(b"/etc/file"), tree.get(store_path(1, "x").encode())
    assert isinstance(ours, Node)
    assert isinstance(stores, Node)
    assert ours.group != stores.group
    assert (ours.uid, stores.uid) == (1, 0)
