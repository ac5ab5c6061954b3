"""Whether the appliance may use KVM."""

import os
from collections.abc import Sequence
from enum import StrEnum

from assembler.errors import HostError, Message, Setting

_DEVICE = "/dev/kvm"


class Accelerator(StrEnum):
    """How QEMU runs the appliance: with hardware, without (TCG), or as this host can."""

    AUTO = "auto"
    KVM = "kvm"
    TCG = "tcg"

    @property
    def backend_settings(self) -> list[str]:
        """Settings of libguestfs's direct backend for it (guestfs(3), BACKEND SETTINGS)."""
        return [f"force_{self}"]


def attempts(asked: Accelerator) -> Sequence[Accelerator]:
    """What to launch with, first the best; raises HostError when KVM is demanded and closed."""
    may_open = os.access(_DEVICE, os.R_OK | os.W_OK)
    kvm, tcg = Accelerator.KVM, Accelerator.TCG
    if asked is kvm and not may_open:
        why = "may not be opened: join the group kvm" if os.path.exists(_DEVICE) else "is absent"
        instead = Setting("accelerator", tcg)
        raise HostError(
            Message(Setting("accelerator", kvm), f": {_DEVICE} {why}, or take ", instead)
        )
    if asked is not Accelerator.AUTO:
        return (asked,)
    return (kvm, tcg) if may_open else (tcg,)
