"""Paths are given from the top level of a btrfs; test_pipeline.py shows that GRUB finds them.

Without these tests, GRUB can look for its files in the wrong subvolume of a btrfs, and shows no
menu.
"""

import pytest

from assembler.filesystems.subvolumes import path_from_top

SUBVOLUMES = (("@", "/"), ("store", "/nix/store"), ("nix", "/nix"))


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/boot/grub", "/@/boot/grub"),
        ("/", "/@"),
        ("/nix", "/nix"),
        ("/nix/var", "/nix/var"),
        ("/nix/store", "/store"),
        ("/nix/store/x-linux/bzImage", "/store/x-linux/bzImage"),
        ("/nixos", "/@/nixos"),  # begins with the same letters, and lies elsewhere
    ],
)
def test_the_innermost_subvolume_has_it(path: str, found: str) -> None:
    assert path_from_top(path, SUBVOLUMES) == found


@pytest.mark.parametrize("path", ["/", "/boot/grub", "/nix/store/x"])
def test_without_subvolumes_nothing_changes(path: str) -> None:
    assert path_from_top(path, ()) == path


def test_the_root_may_stay_in_the_top_level() -> None:
    assert path_from_top("/boot/grub", (("nix", "/nix"),)) == "/boot/grub"
