"""Requests for images of tiny systems, planned in this process, and what they are refused for."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from assembler import pipeline
from assembler.errors import RequestError
from assembler.host.progress import Progress
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
    spec = Spec(root=RootSpec(**fields), out=place / "x", **options)
    with tempfile.TemporaryDirectory() as scratch:
        return pipeline.plan(spec, Progress(quiet=True), Path(scratch))


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
