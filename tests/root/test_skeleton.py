"""The skeleton: complete in itself, and what Nix expects.

Without these tests, Nix on the machine can fail to list generations, or a directory has the wrong
mode.
"""

import posixpath
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.root import skeleton
from assembler.root.skeleton import ProfileGeneration
from tests.support.helpers import directory, output
from tests.support.systems import store_path

SYSTEM = store_path(1, "nixos-system")
SHELL = store_path(2, "bash") + "/bin/bash"
OTHER, CHANNEL = store_path(3, "nixos-system"), store_path(4, "nixos-23.05")
PLACES = [
    *skeleton.DIRECTORIES,
    *skeleton.CHANNEL_DIRECTORIES,
    *skeleton.CONFIGURATION_DIRECTORIES,
]
PATHS = [place.path for place in PLACES]
FILES = [*skeleton.FILES, skeleton.CONFIGURATION]
LINKS = skeleton.links(
    SYSTEM, shell=SHELL, env=SHELL, generations=[(3, SYSTEM), (7, OTHER)], channel=CHANNEL
)


def test_parents_come_before_what_they_hold() -> None:
    for index, path in enumerate(PATHS[1:], 1):
        assert posixpath.dirname(path) in PATHS[:index]


def test_no_place_is_named_twice() -> None:
    everything = [*PATHS, *LINKS, *FILES]
    assert len(everything) == len(set(everything))


def test_files_and_links_lie_in_the_directories() -> None:
    for path in (*FILES, *LINKS):
        assert posixpath.dirname(path) in PATHS


def test_modes_that_differ_from_0755() -> None:
    special = {place.path: place[1:] for place in PLACES if place[1:] != (0o755, 0, 0)}
    assert special == {
        "/nix/store": (0o1775, 0, 30000),
        "/root": (0o700, 0, 0),
        "/root/.nix-defexpr": (0o700, 0, 0),
        "/tmp": (0o1777, 0, 0),
        "/var/empty": (0o555, 0, 0),
        "/var/tmp": (0o1777, 0, 0),
    }


@pytest.mark.parametrize(
    ("generations", "expected"),
    [
        ([], 1),
        ([(4, SYSTEM)], 4),
        ([(4, SYSTEM), (9, OTHER)], 4),
        ([(9, SYSTEM), (4, SYSTEM)], 9),
        ([(9, OTHER), (4, OTHER)], 10),
    ],
)
def test_which_generation_the_system_is(
    generations: Sequence[ProfileGeneration], expected: int
) -> None:
    assert skeleton.current_generation(SYSTEM, generations) == expected


@settings(max_examples=25)
@given(st.dictionaries(st.integers(1, (1 << 32) - 2), st.sampled_from([SYSTEM, OTHER])))
def test_nix_env_lists_the_generations(numbers: dict[int, str]) -> None:
    links = skeleton.links(SYSTEM, shell=SHELL, generations=list(numbers.items()))
    profile = posixpath.basename(skeleton.SYSTEM_PROFILE)
    with directory() as profiles:
        for path, target in links.items():
            if path.startswith(skeleton.SYSTEM_PROFILE):
                (profiles / posixpath.basename(path)).symlink_to(target)
        printed = output(
            "env", f"HOME={profiles}", "nix-env", "--profile", profiles / profile,
            "--list-generations",
        ).decode()  # fmt: skip
    listed = {int(line.split()[0]): "(current)" in line for line in printed.splitlines()}
    [current] = [number for number, is_current in listed.items() if is_current]
    expected = numbers if current in numbers else {**numbers, current: SYSTEM}
    assert set(listed) == set(expected)
    assert expected[current] == SYSTEM
    assert current in numbers or current == max(listed)
