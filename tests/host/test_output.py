"""The output file is complete, or is what it was before.

Without these tests, a run that fails can leave half an image in place of a good one.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from assembler.errors import HostError
from assembler.host.output import all_or_nothing, hidden_name
from assembler.units import NAME_MAX

OLD = b"what was there"
NAMES = [b"a?b", b"a@@b", b"with space", b"new\nline", b"\xff\xfe", b"-rf", b"x" * 255, b"a'\"$b"]

# Enters the block for the file named on its command line, prints a line, and stays there.
HOLDER = """
import sys, time
from pathlib import Path
from assembler.host.output import all_or_nothing
with all_or_nothing(Path(sys.argv[1])) as image:
    image.write_bytes(b"half an image")
    print("inside", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A file that is there already."""
    path = tmp_path / "disk.raw"
    path.write_bytes(OLD)
    return path


@contextmanager
def holder(out: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Another process that is writing `out`; what it leaves in TMPDIR when killed goes too."""
    command = [sys.executable, "-c", HOLDER, str(out)]
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        search = os.pathsep.join(sys.path)
        environment = {**os.environ, "PYTHONPATH": search, "TMPDIR": scratch}
        start = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        process = stack.enter_context(start)
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"inside\n"
            yield process
        finally:
            process.kill()


def write(out: Path, content: bytes = b"new", *, wait: bool = False) -> None:
    with all_or_nothing(out, wait=wait) as image:
        image.write_bytes(content)


def assert_untouched(out: Path) -> None:
    assert out.read_bytes() == OLD
    assert os.listdir(out.parent) == [out.name]


def test_the_file_is_replaced_at_the_end_only(out: Path) -> None:
    with all_or_nothing(out) as image:
        image.write_bytes(b"new")
        assert out.read_bytes() == OLD
    assert out.read_bytes() == b"new"
    assert os.listdir(out.parent) == [out.name]


def test_a_file_that_was_absent_is_made(tmp_path: Path) -> None:
    with all_or_nothing(tmp_path / "out") as image:
        image.write_bytes(b"new")
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out").read_bytes() == b"new"


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit, HostError])
def test_a_block_that_raises_leaves_no_trace(out: Path, failure: type[BaseException]) -> None:
    with pytest.raises(failure), all_or_nothing(out) as image:
        image.write_bytes(b"half")
        raise failure
    assert_untouched(out)


def test_a_full_disk_is_told(out: Path) -> None:
    with pytest.raises(HostError, match=r"disk.raw: No space left"), all_or_nothing(out):
        Path("/dev/full").write_bytes(b"x")
    assert_untouched(out)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_process_leaves_what_was_there(out: Path, number: signal.Signals) -> None:
    with holder(out) as process:
        process.send_signal(number)
        process.wait()
        assert out.read_bytes() == OLD


def test_an_interrupted_process_leaves_no_trace(out: Path) -> None:
    with holder(out) as process:
        process.send_signal(signal.SIGINT)
        process.wait()
    assert_untouched(out)


def test_the_next_run_removes_what_a_killed_one_left(out: Path) -> None:
    with holder(out) as process:
        process.kill()
        process.wait()
    assert len(os.listdir(out.parent)) == 2
    with all_or_nothing(out) as image:
        assert image.read_bytes() == b""
        image.write_bytes(b"new")
    assert out.read_bytes() == b"new"
    assert os.listdir(out.parent) == [out.name]


def test_what_a_killed_run_left_is_never_written_to(out: Path) -> None:
    """A child of the killed run may live on, with the file open and data still to write."""
    with holder(out) as process:
        process.kill()
        process.wait()
    with (out.parent / ".disk.raw.partial").open("r+b") as orphan:
        with all_or_nothing(out) as image:
            image.write_bytes(b"new")
            orphan.write(b"what the orphan still had to write")
            orphan.flush()
        assert os.fstat(orphan.fileno()).st_nlink == 0
    assert out.read_bytes() == b"new"


def test_a_file_taken_for_a_left_over_before_its_lock_is_made_again(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a run's creation of the file and its lock, another run may remove it."""
    hidden = out.parent / ".disk.raw.partial"
    lock = fcntl.flock
    removed = []

    def remove_once(handle: int, operation: int) -> None:
        if not removed:
            removed.append(hidden)
            hidden.unlink()
        lock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", remove_once)
    with all_or_nothing(out) as image:
        assert image.samefile(hidden)
        image.write_bytes(b"new")
    assert removed
    assert out.read_bytes() == b"new"
    assert os.listdir(out.parent) == [out.name]


def test_a_second_run_at_the_same_time_is_refused(out: Path) -> None:
    with holder(out) as process:
        with pytest.raises(HostError, match=r"another run is writing .*disk.raw.* now"):
            write(out)
        assert process.poll() is None
        assert len(os.listdir(out.parent)) == 2


def test_a_second_run_can_wait_for_the_first(out: Path) -> None:
    """Until that ends, here killed; as two runs do that add a line to one SHA256SUMS."""
    with holder(out) as process, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(write, out, wait=True)
        assert out.read_bytes() == OLD
        process.kill()
        waiting.result(timeout=60)
    assert out.read_bytes() == b"new"
    assert os.listdir(out.parent) == [out.name]


def test_two_outs_of_one_directory_can_be_written_at_once(tmp_path: Path) -> None:
    with all_or_nothing(tmp_path / "a") as first, all_or_nothing(tmp_path / "b") as second:
        first.write_bytes(b"1")
        second.write_bytes(b"2")
    assert ((tmp_path / "a").read_bytes(), (tmp_path / "b").read_bytes()) == (b"1", b"2")


def test_a_symlink_stays_and_its_target_is_replaced(out: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere/link"
    link.symlink_to("../disk.raw")
    write(link)
    assert link.is_symlink()
    assert out.read_bytes() == b"new"
    assert os.listdir(tmp_path / "elsewhere") == ["link"]


def test_a_dangling_symlink_gets_its_target(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    write(tmp_path / "link")
    assert (tmp_path / "target").read_bytes() == b"new"


def test_symlinks_that_go_round_are_told(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(HostError, match="leads back to itself"):
        write(tmp_path / "a")
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]
    assert (tmp_path / "a").is_symlink()


def test_a_relative_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with all_or_nothing(Path("out")) as image:
        image.write_bytes(b"new")
        monkeypatch.chdir("/")
    assert (tmp_path / "out").read_bytes() == b"new"


@pytest.mark.parametrize("name", NAMES)
def test_any_file_name_will_do(tmp_path: Path, name: bytes) -> None:
    out = tmp_path / os.fsdecode(name)
    with all_or_nothing(out) as image:
        image.write_bytes(b"new")
        assert str(image).isprintable()
        assert not set("?@ '$") & set(str(image))
    assert out.read_bytes() == b"new"


@pytest.mark.parametrize("letter", ["x", "é", "\udcff"])
def test_a_hidden_name_fits_and_differs_from_every_other(letter: str) -> None:
    names = ["", *(letter * n + end for n in range(255) for end in ("1", "2"))]
    names = [name for name in names if len(os.fsencode(name)) <= NAME_MAX]
    hidden = [hidden_name(name) for name in names]
    assert len(set(hidden)) == len(names)
    assert all(len(os.fsencode(name)) <= NAME_MAX for name in hidden)
    assert all(name.startswith(".") and name.endswith(".partial") for name in hidden)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_mode_follows_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write(tmp_path / "out")
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert (tmp_path / "out").stat().st_mode & 0o7777 == mode


def test_the_hidden_file_is_nobody_elses_business(tmp_path: Path) -> None:
    with all_or_nothing(tmp_path / "out") as image:
        assert image.stat().st_mode & 0o7777 == 0o600


@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_a_directory_that_may_not_be_written_is_told(tmp_path: Path, mode: int) -> None:
    (tmp_path / "locked").mkdir(mode=mode)
    with pytest.raises(HostError, match=r"cannot create .*Permission denied"):
        write(tmp_path / "locked/out")


def test_a_directory_that_may_only_be_written_to_will_do(tmp_path: Path) -> None:
    (tmp_path / "drop").mkdir(mode=0o300)
    write(tmp_path / "drop/out")
    assert (tmp_path / "drop/out").read_bytes() == b"new"


def test_an_absent_directory_is_told(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"cannot create .*No such file"):
        write(tmp_path / "absent/out")


def test_a_directory_in_the_files_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(HostError, match=r"cannot write .*Is a directory"):
        write(tmp_path / "out")
    assert os.listdir(tmp_path) == ["out"]


def test_a_planted_symlink_is_not_followed(out: Path) -> None:
    (out.parent / f".{out.name}.partial").symlink_to("disk.raw")
    with pytest.raises(HostError, match="cannot create"):
        write(out)
    assert out.read_bytes() == OLD


@pytest.mark.parametrize("left_over", [False, True])
def test_many_runs_at_once_leave_one_whole_image(tmp_path: Path, left_over: bool) -> None:
    if left_over:
        (tmp_path / ".out.partial").write_bytes(OLD)
    script = HOLDER.replace("time.sleep(60)", "").replace("half an image", "whole")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, str(tmp_path / "out")]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    runs = [subprocess.Popen(command, env=environment, **quiet) for _ in range(8)]
    printed = [run.communicate()[1] for run in runs]
    assert all(not text or b"another run is writing" in text for text in printed)
    assert (tmp_path / "out").read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["out"]
