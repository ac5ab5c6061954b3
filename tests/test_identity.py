"""UUIDs derived from the input."""

from collections.abc import Sequence
from uuid import RFC_4122

import pytest

from assembler.identity import Identity
from assembler.store.registration import PathInfo
from tests.systems import store_path

INFOS = (
    PathInfo(store_path(1, "a"), "0" * 64, 1, ()),
    PathInfo(store_path(2, "b"), "1" * 64, 1, ()),
)


def test_the_same_input_gives_the_same_names() -> None:
    first, second = Identity.of(INFOS, ["x", 1, None]), Identity.of(list(INFOS), ("x", 1, None))
    assert first.uuid("disk") == second.uuid("disk")
    assert first.serial("esp") == second.serial("esp")


@pytest.mark.parametrize(
    ("infos", "options"),
    [
        (INFOS[:1], ["x"]),
        ((INFOS[0], INFOS[1]._replace(nar_hash="2" * 64)), ["x"]),
        (INFOS, ["y"]),
        (INFOS, [["x"]]),
        (INFOS, []),
    ],
)
def test_another_input_gives_other_names(
    infos: Sequence[PathInfo], options: Sequence[object]
) -> None:
    assert Identity.of(infos, options).uuid("disk") != Identity.of(INFOS, ["x"]).uuid("disk")


def test_every_name_has_its_own_uuid() -> None:
    identity = Identity.of(INFOS, [])
    assert len({identity.uuid(name) for name in ("a", "b", "")}) == 3


def test_a_uuid_is_marked_as_made_by_ourselves() -> None:
    uuid = Identity.of(INFOS, []).uuid("disk")
    assert (uuid.version, uuid.variant) == (8, RFC_4122)


def test_a_serial_fits_32_bits() -> None:
    assert 0 <= Identity.of(INFOS, []).serial("esp") < 1 << 32


def test_an_option_that_is_not_utf_8_is_no_obstacle() -> None:
    assert Identity.of(INFOS, ["\udcff"]) != Identity.of(INFOS, ["\udcfe"])
