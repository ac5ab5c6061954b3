"""The room for an image is what it takes, with the second file of its format.

Without these tests, a run can be refused although there is room, or fail at its end for want of it.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from assembler.host.output import STANDARD_OUTPUT
from assembler.plan.needs import image_needs
from tests.support.requests import plan
from tests.support.systems import System, make_system


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    return make_system(tmp_path_factory.mktemp("store"))


def test_what_a_format_needs(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assembler.plan.needs.can_share", lambda *_: False)
    planned = plan(system, tmp_path)

    def needed(name: str, out: Path = tmp_path / "x") -> list[int]:
        spec = replace(planned.spec, format=name, out=out)
        return [one.size for one in image_needs(replace(planned, spec=spec), tmp_path, tmp_path)]

    raw, scratch = needed("raw")
    assert needed("vhd") == [raw, scratch]
    assert needed("qcow2") == [2 * raw, scratch]
    for name in ("ova", "raw.zst", "qcow2-compressed"):
        assert needed(name) == [raw + raw // 5, scratch]
    for name in ("raw", "vma", "raw.zst"):  # a stream takes no room here
        assert needed(name, STANDARD_OUTPUT) == [raw + scratch]
