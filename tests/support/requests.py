"""Requests for images of tiny systems, planned in this process, and what they are refused for."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from assembler import plan_image
from assembler.errors import RequestError
from assembler.plan.plan import Plan
from assembler.spec import RootSpec, Spec
from tests.support.systems import System


def plan(
    system: System, place: Path, root: Mapping[str, Any] | None = None, **options: Any
) -> Plan:
    """Plan an image of a system; `root` are fields of RootSpec, `options` of Spec."""
    fields = {
        "system": system.toplevel,
        "store": system.root,
        "closures": (system.registration,),
        **(root or {}),
    }
    return plan_image(Spec(root=RootSpec(**fields), out=place / "x", **options))


def refused(
    system: System, place: Path, root: Mapping[str, Any] | None = None, **options: Any
) -> Sequence[str]:
    """The problems for which `plan` refuses."""
    with pytest.raises(RequestError) as caught:
        plan(system, place, root, **options)
    return caught.value.problems


def rows_file(place: Path, *rows: Mapping[str, Any]) -> Path:
    file = place / "rows.json"
    file.write_text(json.dumps(rows))
    return file
