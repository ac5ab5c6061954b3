import shlex
import subprocess
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.boot.bootspec import Bootspec
from assembler.boot.grub_cfg import grub_cfg, quote, split_command_line

ROOT_UUID = UUID("6d3c1b0a-0f5e-4b7c-9f1d-2a3b4c5d6e7f")
SYSTEM = "/nix/store/0c5b8jvv2zl8pzvzz0m9sxlyc4flpnlr-nixos-system-demo"
SPEC = Bootspec(
    init=f"{SYSTEM}/init",
    kernel=f"{SYSTEM}/kernel",
    initrd=f"{SYSTEM}/initrd",
    kernel_params=("console=tty0", "console=ttyS1,115200n8", "root=fstab"),
    label="NixOS",
    system="x86_64-linux",
    toplevel=SYSTEM,
)

# Whatever a bootspec may hold, with what GRUB's shell would act on more often.
words = st.text(
    st.one_of(st.sampled_from("'\"\\$ {}()[]<>;|&#!*?~`="), st.characters()), max_size=30
).filter(str.isprintable)


def script_check(text: str) -> None:
    done = subprocess.run(
        ["grub-script-check"], input=text.encode(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def linux_line(text: str) -> list[str]:
    """The words of the `linux` line; GRUB's quotes are those of a POSIX shell."""
    [line] = [line for line in text.splitlines() if line.startswith("  linux ")]
    return shlex.split(line)


def test_the_whole_text() -> None:
    text = grub_cfg(SPEC, ROOT_UUID)
    script_check(text)
    assert text == (
        "set default=0\n"
        "set timeout=1\n"
        "serial --unit=1 --speed=115200\n"
        "terminal_input serial console\n"
        "terminal_output serial console\n"
        "search --no-floppy --fs-uuid --set=root 6d3c1b0a-0f5e-4b7c-9f1d-2a3b4c5d6e7f\n"
        "menuentry 'NixOS - Default' {\n"
        f"  linux {SYSTEM}/kernel init={SYSTEM}/init "
        "console=tty0 console=ttyS1,115200n8 root=fstab\n"
        f"  initrd {SYSTEM}/initrd\n"
        "}\n"
    )


def test_without_initrd_and_serial_console() -> None:
    text = grub_cfg(replace(SPEC, initrd=None, kernel_params=("console=tty0",)), ROOT_UUID)
    script_check(text)
    assert "initrd" not in text
    assert "serial" not in text


def test_a_serial_console_without_a_speed_has_the_kernels() -> None:
    text = grub_cfg(replace(SPEC, kernel_params=("console=ttyS0",)), ROOT_UUID)
    assert "serial --unit=0 --speed=9600\n" in text


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (["quiet", "loglevel=4"], ["quiet", "loglevel=4"]),
        (["quiet  splash "], ["quiet", "splash"]),
        (['dyndbg="file a.c +p; file b.c +p"', "ro"], ["dyndbg=file a.c +p; file b.c +p", "ro"]),
        (['"dyndbg=file a.c +p" ro'], ["dyndbg=file a.c +p", "ro"]),
        (['open="never closed', "ro"], ["open=never closed ro"]),
        ([], []),
    ],
)
def test_parameters_are_split_as_the_kernel_splits_them(
    params: list[str], expected: list[str]
) -> None:
    assert split_command_line(params) == expected


@given(word=words)
def test_a_quoted_word_is_one_word_again(word: str) -> None:
    assert shlex.split(quote(word)) == [word]


@settings(max_examples=60, deadline=None)
@given(kernel=words, params=st.lists(words, max_size=5))
def test_grub_understands_whatever_the_parameters_hold(kernel: str, params: list[str]) -> None:
    spec = replace(SPEC, kernel=f"/{kernel}", kernel_params=tuple(params))
    text = grub_cfg(spec, ROOT_UUID)
    script_check(text)
    arguments = split_command_line([f"init={SPEC.init}", *params])
    assert linux_line(text) == ["linux", f"/{kernel}", *arguments]
