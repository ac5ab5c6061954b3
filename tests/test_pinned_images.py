"""The bytes of small images are the ones that were pinned for these versions of the tools.

Without these tests, an upgrade of this program can change every image that users build again.
"""

import json
import warnings
from pathlib import Path

import pytest

from tests.support.pinned_images import (
    COMMAND,
    IMAGES,
    PINS,
    Inputs,
    digest,
    make_inputs,
    versions,
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return make_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.mark.parametrize("name", IMAGES)
def test_the_bytes_are_the_pinned_ones(name: str, inputs: Inputs, tmp_path: Path) -> None:
    pinned, tools = json.loads(PINS.read_text())[name], versions(name)
    if tools not in pinned:
        warnings.warn(f"no image is pinned for {tools}: to add them, {COMMAND}", stacklevel=1)
        return
    assert digest(name, inputs, tmp_path / "image") == pinned[tools], (
        f"if the change is meant, write it into CHANGELOG.md and run {COMMAND}"
    )


def test_every_image_is_pinned() -> None:
    """Else it would only warn, on every machine."""
    assert json.loads(PINS.read_text()).keys() == IMAGES.keys()
