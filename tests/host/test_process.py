"""Programs are started in a fixed environment, and failures show the command and its output.

Without these tests, a tool can behave differently for each user, or fail without a cause that users
see.
"""

import errno
import logging
import os
import signal
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from assembler.errors import HostError, TooSlowError
from assembler.host import process, programs
from assembler.host.scratch import remove_tree
from tests.support.helpers import output


def test_run_returns_what_the_program_prints() -> None:
    assert process.run(["echo", b"\xff", Path("x")], what="test").stdout == b"\xff x\n"


def test_run_gives_input() -> None:
    assert process.run(["cat"], what="test", input=b"in").stdout == b"in"


def test_run_without_input_reads_nothing() -> None:
    assert process.run(["cat"], what="test").stdout == b""


def test_run_reads_from_a_descriptor(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"file")
    with (tmp_path / "file").open() as file:
        assert process.run(["cat"], what="test", stdin=file.fileno()).stdout == b"file"


def test_the_environment_is_small_and_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MKE2FS_CONFIG", "LANG", "LC_ALL", "TZ", "TMPDIR"):
        monkeypatch.setenv(name, "/tmp")
    printed = process.run(["env", "-0"], what="test", env={"EXTRA": "1"}).stdout.decode()
    variables = dict(line.split("=", 1) for line in printed.split("\0") if line)
    kept = {"TMPDIR", "PATH", "HOME", "LC_ALL", "TZ", "EXTRA"}
    fixed = {"E2FSCK_CONFIG"}
    assert set(variables) - kept - fixed <= {"NIX_REMOTE", "NIX_CONF_DIR", "NIX_STATE_DIR"}
    assert (variables["LC_ALL"], variables["TZ"], variables["EXTRA"]) == ("C", "UTC", "1")


def test_a_missing_program_is_told_with_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_ADMIN_DIRECTORIES", ())
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(HostError) as caught:
        process.run(["mkfs.fat"], what="making the ESP")
    assert str(caught.value) == (
        "making the ESP: the program mkfs.fat is not on PATH: it is in the package dosfstools "
        "(Debian) or dosfstools (nixpkgs)"
    )


def test_a_directory_on_path_that_may_not_be_entered_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "locked").mkdir(mode=0)
    monkeypatch.setenv("PATH", f"{tmp_path}/locked:{os.environ['PATH']}")
    assert programs.which("sh") is not None
    with pytest.raises(HostError, match="the program no-such-program is not on PATH"):
        process.run(["no-such-program"], what="test")


def test_programs_for_administrators_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    assert programs.require("mke2fs", "sh") == []


def test_every_missing_program_gets_a_line() -> None:
    assert len(programs.require("sh", "no-such-a", "no-such-b")) == 2


def test_a_failure_shows_command_last_words_and_remedy() -> None:
    script = "seq 20; echo 'to stderr' >&2; exit 3"
    with pytest.raises(HostError) as caught:
        process.run(["sh", "-c", script], what="testing", remedy="try again")
    lines = str(caught.value).split("\n")
    assert lines[0] == "testing: sh failed with status 3"
    assert lines[1] == """  command: sh -c 'seq 20; echo '"'"'to stderr'"'"' >&2; exit 3'"""
    assert lines[2:] == [f"  {number}" for number in range(10, 21)] + ["  to stderr", "try again"]


@pytest.mark.parametrize(
    ("printed", "status", "messages"),
    [
        (
            "tool: error while loading shared libraries: libfoo.so.1: cannot open shared object "
            "file: No such file or directory",
            127,
            "cannot load a library that it needs (libfoo.so.1): install it anew",
        ),
        (
            "tool: /lib/libc.so.6: version `GLIBC_2.99' not found (required by tool)",
            1,
            "cannot load a library that it needs (GLIBC_2.99)",
        ),
        (
            "tool: symbol lookup error: tool: undefined symbol: x",
            127,
            "(tool: undefined symbol: x)",
        ),
        ("Error loading shared library libz.so.1: No such file", 127, "(libz.so.1)"),
        ("error: Resource temporarily unavailable", 1, "ran into a limit: the limit of processes"),
        (
            "write: No space left on device",
            1,
            "make room where the output goes, or in TMPDIR (/tmp)",
        ),
        (
            "a\nzstd: No space left on device \nb",
            1,
            "make room where the output goes, or in TMPDIR",
        ),
        (
            "x: error while writing: File too large",
            1,
            "take another file system, or a smaller disk",
        ),
        ("tar: Child died with signal 9\ntar: exiting", 2, "(Child died with signal 9), as Linux "),
        ("e: Disk quota exceeded while writing", 1, "no room to write to (Disk quota exceeded)"),
    ],
)
def test_what_is_the_hosts_fault_is_a_failure_whatever_the_status_means(
    monkeypatch: pytest.MonkeyPatch, printed: str, status: int, messages: str
) -> None:
    monkeypatch.setenv("TMPDIR", "/tmp")
    script = f'echo "$1" >&2; exit {status}'
    with pytest.raises(HostError) as caught:
        process.run(["sh", "-c", script, "sh", printed], what="testing", ok=range(256))
    [line] = caught.value.lines
    assert line.startswith("testing: sh ")
    assert messages in line
    ended_well = ["sh", "-c", 'echo "$1" >&2', "sh", printed]
    assert process.run(ended_well, what="testing").returncode == 0


def test_where_to_make_room_is_the_only_place_that_is_written() -> None:
    """Without it, the message for a full standard output would blame TMPDIR."""
    argv = ["sh", "-c", "echo x: No space left on device >&2; exit 1"]
    with pytest.raises(HostError) as caught:
        process.follow(argv, what="testing", tick=lambda _: None, room="there")
    words = "testing: sh has no room to write to (No space left on device): make room there"
    assert caught.value.lines == (words,)


def test_a_file_name_does_not_tell_of_a_full_disk() -> None:
    printed = "/srv/No space left on device.txt: bad format"
    with pytest.raises(HostError, match="testing: sh failed with status 1"):
        process.run(["sh", "-c", 'echo "$1" >&2; exit 1', "sh", printed], what="testing")


def test_a_program_whose_loader_is_absent_is_told(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/nowhere/interpreter\n")
    (tmp_path / "tool").chmod(0o755)
    for start in (
        lambda: process.run([tmp_path / "tool"], what="test"),
        lambda: process.start([tmp_path / "tool"], stdin=0, stdout=1),
    ):
        with pytest.raises(HostError, match=r"cannot start .*/tool: its interpreter, or its dyn"):
            start()


def test_the_limit_of_processes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr("subprocess.Popen.__init__", refuse)
    with pytest.raises(HostError, match=r"cannot start true: the limit of processes is reached"):
        process.run(["true"], what="test")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (
            "kill -9 $$",
            "9 (SIGKILL), as Linux does when memory runs out: give the host, or the container, "
            "more",
        ),
        (
            "kill -XCPU $$",
            "24 (SIGXCPU): the limit for processor time is reached (ulimit -t): raise it",
        ),
        (
            "ulimit -f 1; exec dd if=/dev/zero of=file bs=4096 count=9",
            "25 (SIGXFSZ): the limit for the size of files is reached (ulimit -f): raise it",
        ),
    ],
)
def test_a_program_that_the_host_kills_has_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HostError) as caught:
        process.run(["bash", "-c", script], what="test", ok=range(-64, 9))
    # bash becomes dd, whose name it then has
    assert caught.value.lines == (f"test: bash was killed by signal {words}",)


@pytest.mark.parametrize(("number", "words"), [(11, "11 (SIGSEGV)"), (40, "40")])
def test_a_killed_program_is_told_by_its_signal(number: int, words: str) -> None:
    with pytest.raises(HostError) as caught:
        process.run(["sh", "-c", f"echo last words; kill -{number} $$"], what="test")
    first, command, last = caught.value.lines
    assert first == f"test: sh was killed by signal {words}"
    assert command == f"  command: sh -c 'echo last words; kill -{number} $$'"
    assert last == "  last words"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> "list[subprocess.Popen[bytes]]":
    """The programs that a test has started."""
    found: list[subprocess.Popen[bytes]] = []

    class Popen(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **options: Any) -> None:
            found.append(self)
            super().__init__(*args, **options)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    return found


def test_a_program_that_does_not_end_is_stopped(started: "list[subprocess.Popen[bytes]]") -> None:
    with pytest.raises(TooSlowError) as caught:
        process.run(["sleep", "60"], what="test", limit=0.2)
    words = "test: sleep did not end within 0 seconds and was stopped: what it reads is damaged"
    assert caught.value.lines == (words,)
    assert [one.returncode for one in started] == [-signal.SIGKILL]


def test_what_a_program_writes_is_read(tmp_path: Path) -> None:
    content = os.urandom(1 << 20)
    (tmp_path / "file").write_bytes(content)
    with (
        (tmp_path / "file").open() as file,
        process.reading(["cat"], what="test", limit=60, stdin=file.fileno()) as stream,
    ):
        assert stream.read() == content
    with (
        pytest.raises(HostError, match="test: sh failed with status 3"),
        process.reading(["sh", "-c", "echo x; exit 3"], what="test", limit=60) as stream,
    ):
        assert stream.read() == b"x\n"


@pytest.mark.parametrize(
    ("script", "limit", "silence"),
    [
        ("cat /dev/zero", 0.2, 60),
        ("echo x; sleep 60", 60, 0.2),
        ("exec >&-; sleep 60", 0.2, 60),
    ],
)
def test_a_program_that_writes_without_end_or_nothing_is_stopped(
    started: "list[subprocess.Popen[bytes]]",
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    limit: float,
    silence: float,
) -> None:
    monkeypatch.setattr(process, "_SILENCE", silence)
    with (
        pytest.raises(TooSlowError) as caught,
        process.reading(["sh", "-c", f"{script}; :"], what="test", limit=limit) as stream,
    ):
        while stream.read(1 << 16):
            pass
    assert caught.value.lines == (
        "test: sh took too long and was stopped: what it reads is damaged, or holds far more than "
        "it seems to",
    )
    assert [one.returncode for one in started] == [-signal.SIGKILL]


def test_a_status_that_is_allowed_is_no_failure() -> None:
    assert process.run(["sh", "-c", "exit 1"], what="test", ok=(0, 1)).returncode == 1


def test_output_that_is_not_utf_8_can_be_shown() -> None:
    with pytest.raises(HostError, match="\ufffd"):
        process.run(["sh", "-c", "printf '\\377'; exit 1"], what="test")


def test_too_long_a_command_line_is_told() -> None:
    with pytest.raises(HostError, match="cannot start echo: Argument list too long"):
        process.run(["echo", "x" * (1 << 20)], what="test")


def test_a_command_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        process.run(["true", "a b"], what="test")
    assert "run: true 'a b'" in caplog.text


def test_a_deep_read_only_tree_is_removed(tmp_path: Path) -> None:
    deep = tmp_path / "deep"
    output("mkdir", "-p", deep / "/".join("d" * 1200))
    output("chmod", "-R", "a-w", deep)
    remove_tree(deep)
    assert not deep.exists()


def test_the_file_of_another_name_stays_as_it_is(tmp_path: Path) -> None:
    """As a store's does, of which `prepare-root --copy-mode hardlink` made one more name."""
    kept, gone = tmp_path / "kept", tmp_path / "gone/below"
    gone.mkdir(parents=True)
    kept.write_text("text")
    kept.chmod(0o444)
    (gone / "link").hardlink_to(kept)
    output("chmod", "-R", "a-w", tmp_path / "gone")
    remove_tree(tmp_path / "gone")
    assert os.listdir(tmp_path) == ["kept"]
    assert output("stat", "-c", "%a %h %s", kept) == b"444 1 4\n"


def test_directories_that_may_not_be_entered_are_removed(tmp_path: Path) -> None:
    locked = tmp_path / "top/locked"
    (locked / "below").mkdir(parents=True)
    (locked / "below/file").touch()
    for directory, mode in ((locked / "below", 0o555), (locked, 0), (locked.parent, 0o100)):
        directory.chmod(mode)
    remove_tree(tmp_path / "top")
    assert os.listdir(tmp_path) == []


def test_what_is_absent_is_removed_already(tmp_path: Path) -> None:
    remove_tree(tmp_path / "absent")


def test_a_link_is_removed_and_not_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").touch(mode=0o400)
    (tmp_path / "link").symlink_to("kept")
    remove_tree(tmp_path / "link")
    assert os.listdir(tmp_path) == ["kept"]
    assert stat.S_IMODE((tmp_path / "kept/file").stat().st_mode) == 0o400
