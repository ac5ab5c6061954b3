"""Whether the appliance may use KVM: what was asked for, and what was learnt on this host."""

import json
import os
import platform
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from assembler.errors import HostError

_DEVICE = "/dev/kvm"
_NAME = "accelerator.json"


class Accelerator(StrEnum):
    """How QEMU runs the appliance: with hardware, without (TCG), or as this host can."""

    AUTO = "auto"
    KVM = "kvm"
    TCG = "tcg"

    @property
    def backend_settings(self) -> list[str]:
        """What makes libguestfs's direct backend do so (guestfs(3), BACKEND SETTINGS)."""
        return [f"force_{self}"]


def attempts(asked: Accelerator) -> Sequence[Accelerator]:
    """What to launch with, first the best; raises HostError when KVM is demanded and closed."""
    may_open = os.access(_DEVICE, os.R_OK | os.W_OK)
    if asked is Accelerator.KVM and not may_open:
        why = "may not be opened: join the group kvm" if os.path.exists(_DEVICE) else "is absent"
        raise HostError(f"--accelerator kvm: {_DEVICE} {why}, or take --accelerator tcg")
    if asked is not Accelerator.AUTO:
        return (asked,)
    if may_open and not _known().get(_host()):
        return Accelerator.KVM, Accelerator.TCG
    return (Accelerator.TCG,)


def remember(*, kvm_fails: bool) -> None:
    """Keep for later runs whether KVM can be used on this host, where there is room to keep it."""
    file = _file()
    known = _known()
    if file is None or known.get(_host(), False) == kvm_fails:
        return
    known[_host()] = kvm_fails
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f".{_NAME}.{os.getpid()}")
        new.write_text(json.dumps(known))
        new.replace(file)


def forget_what_libguestfs_learnt(cache: Path) -> None:
    """Let libguestfs ask QEMU for KVM again, if its `cache` says that there was none.

    It asks once for each QEMU (files qemu-*.query-kvm), and /dev/kvm may have been opened since.
    """
    for file in (cache / f".guestfs-{os.geteuid()}").glob("qemu-*.query-kvm"):
        with suppress(OSError, ValueError, LookupError, TypeError):
            if not json.loads(file.read_bytes())["return"]["enabled"]:
                file.unlink()


def cache_directory() -> Path | None:
    """Our directory by the XDG Base Directory Specification, or None where there is no home."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    home = os.environ.get("HOME", "")
    base = Path(given) if given.startswith("/") else Path(home) / ".cache" if home else None
    return None if base is None else base / "assemble"


def _file() -> Path | None:
    directory = cache_directory()
    return None if directory is None else directory / _NAME


def _known() -> dict[str, bool]:
    """For each host whether KVM fails there; a home may be shared by several."""
    file = _file()
    if file is None:
        return {}
    try:
        known = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _host() -> str:
    """This host with its kernel: another kernel deserves another try."""
    return f"{platform.node()} {platform.release()}"
