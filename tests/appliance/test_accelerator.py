"""The accelerator of an appliance depends on the option and on /dev/kvm.

Without these tests, an appliance can run without KVM where KVM works, or fail where it does not.
"""

from pathlib import Path

import pytest

from assembler.appliance import accelerator
from assembler.appliance.accelerator import Accelerator, attempts
from assembler.errors import HostError

KVM, TCG, AUTO = Accelerator.KVM, Accelerator.TCG, Accelerator.AUTO


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In place of /dev/kvm a file that may be opened."""
    device = tmp_path / "kvm"
    device.touch()
    monkeypatch.setattr(accelerator, "_DEVICE", str(device))
    return device


@pytest.mark.usefixtures("device")
def test_kvm_is_tried_where_it_may_be_opened() -> None:
    assert attempts(AUTO) == (KVM, TCG)
    assert attempts(KVM) == (KVM,)
    assert attempts(TCG) == (TCG,)


def test_a_device_that_is_not_ours(device: Path) -> None:
    device.chmod(0)
    assert attempts(AUTO) == (TCG,)
    with pytest.raises(HostError, match="may not be opened: join the group kvm, or take"):
        attempts(KVM)


def test_no_device(device: Path) -> None:
    device.unlink()
    assert attempts(AUTO) == (TCG,)
    with pytest.raises(HostError, match=r"kvm is absent, or take accelerator tcg"):
        attempts(KVM)
