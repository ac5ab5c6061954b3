"""Turn a Nix closure into a bootable disk image, entirely in user space.

    from pathlib import Path
    from assembler import RootSpec, Spec, assemble

    plan, report = assemble(Spec(root=RootSpec(system="./result"), out=Path("disk.raw")))

Everything that is not listed in `__all__` may change from release to release.
"""

from assembler.appliance.accelerator import Accelerator
from assembler.check.image import Report, check_image
from assembler.copying.sharing import CopyMode
from assembler.disk.tables import Table
from assembler.errors import (
    AssembleError,
    HostError,
    InternalError,
    RequestError,
    TooSlowError,
)
from assembler.host.progress import Progress
from assembler.pipeline import assemble, plan_image, prepare
from assembler.plan.plan import Plan
from assembler.spec import RootSpec, Spec

__all__ = [
    "Accelerator",
    "AssembleError",
    "CopyMode",
    "HostError",
    "InternalError",
    "Plan",
    "Progress",
    "Report",
    "RequestError",
    "RootSpec",
    "Spec",
    "Table",
    "TooSlowError",
    "assemble",
    "check_image",
    "plan_image",
    "prepare",
]
