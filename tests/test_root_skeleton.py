"""The skeleton: complete in itself, and what Nix expects."""

import posixpath

from assembler.root import skeleton
from tests.systems import store_path

SYSTEM = store_path(1, "nixos-system")
SHELL = store_path(2, "bash") + "/bin/bash"
PLACES = [place.path for place in skeleton.DIRECTORIES]


def test_parents_come_before_what_they_hold() -> None:
    for index, path in enumerate(PLACES[1:], 1):
        assert posixpath.dirname(path) in PLACES[:index]


def test_no_place_is_named_twice() -> None:
    links = skeleton.links(SYSTEM, SHELL)
    everything = [*PLACES, *links, *skeleton.FILES]
    assert len(everything) == len(set(everything))


def test_files_and_links_lie_in_the_directories() -> None:
    for path in (*skeleton.FILES, *skeleton.links(SYSTEM, SHELL)):
        assert posixpath.dirname(path) in PLACES


def test_the_system_profile_leads_to_the_system() -> None:
    links = skeleton.links(SYSTEM, SHELL)
    first = links["/nix/var/nix/profiles/system"]
    assert links[posixpath.join("/nix/var/nix/profiles", first)] == SYSTEM


def test_modes_that_differ_from_0755() -> None:
    special = {
        place.path: place[1:] for place in skeleton.DIRECTORIES if place[1:] != (0o755, 0, 0)
    }
    assert special == {
        "/nix/store": (0o1775, 0, 30000),
        "/root": (0o700, 0, 0),
        "/tmp": (0o1777, 0, 0),
        "/var/tmp": (0o1777, 0, 0),
    }
