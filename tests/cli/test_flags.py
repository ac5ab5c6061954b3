"""The command line shows its flags for the library's settings, in errors and in the log.

Without these tests, an error can name a setting for which the user finds no option.
"""

import dataclasses
import logging

import pytest

from assembler.cli.flags import flag, record_with_flags, with_flags
from assembler.cli.parsers import assemble_parser
from assembler.errors import Message, Setting
from assembler.spec import RootSpec, Spec

TAKE = Message(
    "/x: take ", Setting("partition_table", "efi"), ", or ", Setting("file_system"), " ext4"
)


def test_a_setting_is_shown_by_its_flag() -> None:
    assert with_flags(TAKE) == "/x: take --partition-table efi, or --filesystem ext4"


def test_text_before_a_message_keeps_its_settings() -> None:
    inner = Message(Setting("closures", "/a"), " is empty")
    assert with_flags(Message("generation 2: ", inner)) == "generation 2: --closure /a is empty"


@pytest.mark.parametrize(
    "text", ["partition_table efi", "{partition_table}", "%s", "Setting('size')", "--size\x00"]
)
def test_text_is_never_taken_for_a_setting(text: str) -> None:
    assert with_flags(text) == text
    assert with_flags(Message(text, Setting("out", text))) == f"{text}--out {text}"


def test_every_setting_has_a_flag_of_its_own() -> None:
    parser = assemble_parser()
    flags = {name for action in parser._actions for name in action.option_strings}
    fields = {one.name for kind in (Spec, RootSpec) for one in dataclasses.fields(kind)}
    named = {flag(name) for name in fields - {"root", "epoch"}}
    assert named <= flags
    assert len(named) == len(fields) - 2


@pytest.mark.parametrize(
    ("message", "args"),
    [
        (TAKE, ()),
        ("%s", (TAKE,)),
        ("%s: take %s, or %s ext4", ("/x", Message(Setting("partition_table", "efi")), "{fs}")),
    ],
)
def test_a_log_record_is_shown_with_flags(message: str, args: tuple[object, ...]) -> None:
    args = tuple(Message(Setting("file_system")) if one == "{fs}" else one for one in args)
    record = logging.LogRecord("assembler", logging.WARNING, "", 0, message, args, None)
    assert record_with_flags(record) == with_flags(TAKE)
    assert record.getMessage() == TAKE  # what a handler of somebody else's prints


def test_a_log_record_without_arguments_keeps_its_percent_signs() -> None:
    record = logging.LogRecord("assembler", logging.WARNING, "", 0, "100 % full", (), None)
    assert record_with_flags(record) == "100 % full"


def test_a_log_record_of_any_object() -> None:
    record = logging.LogRecord("other", logging.WARNING, "", 0, ValueError("x"), (), None)
    assert record_with_flags(record) == "x"


def test_a_log_record_with_a_mapping() -> None:
    record = logging.LogRecord("other", logging.WARNING, "", 0, "%(a)s", ({"a": 1},), None)
    assert record_with_flags(record) == "1"
