"""What the errors print.

Without these tests, a failed command can show its message in another form than all others.
"""

import errno
import os
from pathlib import Path

import pytest

from assembler.errors import (
    AssembleError,
    HostError,
    InternalError,
    Message,
    RequestError,
    Setting,
    reason,
)


def test_a_request_error_prints_every_problem_on_a_line() -> None:
    assert str(RequestError(["one", "two"])) == "one\ntwo"


def test_a_request_error_takes_a_single_problem() -> None:
    assert RequestError("one").problems == ("one",)


@pytest.mark.parametrize(
    ("error", "status"),
    [(RequestError("x"), 2), (HostError("x"), 1), (InternalError("x"), 1), (AssembleError("x"), 1)],
)
def test_exit_status_says_whose_fault_it_is(error: AssembleError, status: int) -> None:
    assert error.exit_status == status


def test_an_internal_error_asks_for_a_report() -> None:
    assert str(InternalError("x")) == "bug in assemble, please report it: x"


@pytest.mark.parametrize("name", ["/absent", b"/absent", Path("/absent")])
def test_reason_names_the_file(name: str | bytes | Path) -> None:
    with pytest.raises(OSError) as caught:
        os.stat(name)
    assert reason(caught.value) == "/absent: No such file or directory"


def test_reason_tells_whose_limit_a_file_is_too_large_for() -> None:
    words = "File too large for ulimit -f, or for the file system"
    assert reason(OSError(errno.EFBIG, "File too large", "/x")) == f"/x: {words}"


def test_reason_without_a_file() -> None:
    assert reason(OSError("words")) == "words"


def test_a_message_names_settings_as_python_knows_them() -> None:
    message = Message(
        "take ", Setting("boot_loader", "grub"), " or leave ", Setting("size"), " out"
    )
    assert message == "take boot_loader grub or leave size out"
    assert str(RequestError(["one", message])) == f"one\n{message}"
