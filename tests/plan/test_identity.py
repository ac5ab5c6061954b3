"""UUIDs and serial numbers depend on the input, and on nothing else.

Without these tests, two builds of one system can get different UUIDs, or two file systems the same.
"""

from collections.abc import Sequence
from uuid import RFC_4122

import pytest

from assembler.plan.identity import Identity
from tests.support.systems import store_path

PATHS = (store_path(1, "a"), store_path(2, "b"))


def test_the_same_input_gives_the_same_names() -> None:
    first, second = Identity.of(PATHS, ["x", 1, None]), Identity.of(list(PATHS), ("x", 1, None))
    assert first.uuid("disk") == second.uuid("disk")
    assert first.serial("esp") == second.serial("esp")


@pytest.mark.parametrize(
    ("paths", "options"),
    [
        (PATHS[:1], ["x"]),
        ((PATHS[0], store_path(2, "c")), ["x"]),
        (PATHS, ["y"]),
        (PATHS, [["x"]]),
        (PATHS, []),
    ],
)
def test_another_input_gives_other_names(paths: Sequence[str], options: Sequence[object]) -> None:
    assert Identity.of(paths, options).uuid("disk") != Identity.of(PATHS, ["x"]).uuid("disk")


def test_every_name_has_its_own_uuid() -> None:
    identity = Identity.of(PATHS, [])
    assert len({identity.uuid(name) for name in ("a", "b", "")}) == 3


def test_a_uuid_is_marked_as_made_by_ourselves() -> None:
    uuid = Identity.of(PATHS, []).uuid("disk")
    assert (uuid.version, uuid.variant) == (8, RFC_4122)


def test_a_serial_fits_32_bits() -> None:
    assert 0 <= Identity.of(PATHS, []).serial("esp") < 1 << 32


def test_an_option_that_is_not_utf_8_is_no_obstacle() -> None:
    assert Identity.of(PATHS, ["\udcff"]) != Identity.of(PATHS, ["\udcfe"])
