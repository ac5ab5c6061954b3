"""What is asked of KVM, and what a host's verdict is good for."""

import json
import os
import platform
from pathlib import Path

import pytest

from assembler.appliance import accelerator
from assembler.appliance.accelerator import (
    Accelerator,
    attempts,
    cache_directory,
    forget_what_libguestfs_learnt,
    remember,
)
from assembler.errors import HostError

KVM, TCG, AUTO = Accelerator.KVM, Accelerator.TCG, Accelerator.AUTO


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The XDG cache directory, and in place of /dev/kvm a file that may be opened."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    device = tmp_path / "kvm"
    device.touch()
    monkeypatch.setattr(accelerator, "_DEVICE", str(device))
    return tmp_path / "cache"


def test_kvm_is_tried_where_it_may_be_opened(cache: Path) -> None:
    assert attempts(AUTO) == (KVM, TCG)
    assert attempts(KVM) == (KVM,)
    assert attempts(TCG) == (TCG,)
    assert not cache.exists()


def test_a_device_that_is_not_ours(cache: Path) -> None:
    os.chmod(cache.parent / "kvm", 0)
    assert attempts(AUTO) == (TCG,)
    with pytest.raises(HostError, match="may not be opened: join the group kvm, or take"):
        attempts(KVM)


def test_no_device(cache: Path) -> None:
    (cache.parent / "kvm").unlink()
    assert attempts(AUTO) == (TCG,)
    with pytest.raises(HostError, match=r"kvm is absent, or take --accelerator tcg"):
        attempts(KVM)


def test_a_failure_is_remembered_until_kvm_works(cache: Path) -> None:
    remember(kvm_fails=True)
    assert attempts(AUTO) == (TCG,)
    assert attempts(KVM) == (KVM,)  # the demand overrides it
    remember(kvm_fails=False)
    assert attempts(AUTO) == (KVM, TCG)
    assert [one.name for one in (cache / "assemble").iterdir()] == ["accelerator.json"]


def test_the_verdict_is_for_this_host_and_kernel(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(kvm_fails=True)
    with monkeypatch.context() as patch:
        patch.setattr(platform, "release", lambda: "7.0")
        assert attempts(AUTO) == (KVM, TCG)
        remember(kvm_fails=True)
    assert len(json.loads((cache / "assemble" / "accelerator.json").read_text())) == 2


@pytest.mark.parametrize("content", ["", "[]", "{", "null"])
def test_a_damaged_file_is_no_verdict(cache: Path, content: str) -> None:
    file = cache / "assemble" / "accelerator.json"
    file.parent.mkdir(parents=True)
    file.write_text(content)
    assert attempts(AUTO) == (KVM, TCG)
    remember(kvm_fails=True)
    assert attempts(AUTO) == (TCG,)


def test_where_nothing_can_be_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.mkdir(mode=0o500)
    remember(kvm_fails=True)
    assert attempts(AUTO) == (KVM, TCG)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    assert cache_directory() is None
    remember(kvm_fails=True)


def test_the_cache_directory_is_that_of_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_directory() == Path("/home/me/.cache/assemble")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which the specification says to ignore
    assert cache_directory() == Path("/home/me/.cache/assemble")


def test_libguestfs_forgets_that_there_was_no_kvm(tmp_path: Path) -> None:
    kept = tmp_path / f".guestfs-{os.geteuid()}"
    kept.mkdir()
    said = '{"return": {"enabled": %s, "present": true}}\n'
    (kept / "qemu-1-2.query-kvm").write_text(said % "false")
    (kept / "qemu-1-3.query-kvm").write_text(said % "true")
    (kept / "qemu-1-4.query-kvm").write_text("{}")
    (kept / "qemu-1-2.help").write_text("false")
    forget_what_libguestfs_learnt(tmp_path)
    left = sorted(file.name for file in kept.iterdir())
    assert left == ["qemu-1-2.help", "qemu-1-3.query-kvm", "qemu-1-4.query-kvm"]
    forget_what_libguestfs_learnt(tmp_path / "absent")
