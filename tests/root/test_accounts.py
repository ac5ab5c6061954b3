"""The users and groups of a system, wherever its closure has them.

Without these tests, files of --contents can belong to another user on the machine than was named.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from assembler.errors import RequestError
from assembler.root.accounts import Accounts, read_accounts
from assembler.store.paths import StoreRoot
from assembler.store.registration import PathInfo, nearest
from tests.support.boots import link, path_of, put

SYSTEM = path_of("nixos-system", "1")
SPECIAL = path_of("nixos-system-special", "2")
ETC = path_of("etc", "3")
FAR = path_of("users-groups.json", "4")


@pytest.fixture
def store(tmp_path: Path) -> StoreRoot:
    store = StoreRoot(tmp_path)
    put(store, f"{SYSTEM}/init")
    put(store, f"{ETC}/etc/hosts")
    link(store, f"{SYSTEM}/etc", f"{ETC}/etc")
    put(store, FAR, document({"eve": 2}, {}))
    return store


def info(path: str, *references: str) -> PathInfo:
    return PathInfo(path, None, None, references)


def accounts(store: StoreRoot, *more: str) -> Accounts:
    """What a system refers to directly is `more`."""
    infos = [info(SYSTEM, ETC, SPECIAL, *more), info(SPECIAL, FAR), info(ETC)]
    return read_accounts(store, [*infos, *map(info, more)], SYSTEM)


def document(
    users: dict[str, int | None], groups: dict[str, int | None], system: Sequence[str] = ()
) -> str:
    """As users-groups.nix writes it, and userborn.nix with other things beside these."""
    return json.dumps(
        {
            "mutableUsers": True,
            "users": [
                {"name": n, "uid": i, "group": "users", "isSystemUser": n in system}
                for n, i in users.items()
            ],
            "groups": [{"name": n, "gid": i, "members": []} for n, i in groups.items()],
        }
    )


@pytest.mark.parametrize(("name", "bob"), [("users-groups.json", 1001), ("userborn.json", None)])
def test_users_of_the_configuration(store: StoreRoot, name: str, bob: int | None) -> None:
    near = put(store, path_of(name, "5"), document({"alice": 1000, "bob": None}, {"app": 990}))
    found = accounts(store, near)
    assert (found.users["alice"], found.users["bob"], found.groups["app"]) == (1000, bob, 990)
    assert (found.users["root"], found.groups["nixbld"]) == (0, 30000)
    assert "eve" not in found.users


def test_free_ids_are_given_as_at_the_first_boot(store: StoreRoot) -> None:
    users = {"alice": None, "app": None, "bob": 1001, "carol": None, "db": 999, "eve": None}
    groups = {"app": None, "web": None, "x": 998}
    text = document(users, groups, system=["app", "eve"])
    found = accounts(store, put(store, path_of("users-groups.json", "5"), text))
    expected = {"alice": 1000, "app": 998, "bob": 1001, "carol": 1002, "db": 999, "eve": 997}
    assert {name: found.users[name] for name in users} == expected
    assert {name: found.groups[name] for name in groups} == {"app": 999, "web": 997, "x": 998}


def test_users_that_systemd_makes(store: StoreRoot) -> None:
    put(
        store,
        f"{ETC}/etc/sysusers.d/00-nixos.conf",
        '# Type Name ID GECOS\n\nu alice 400:users "Alice, of \\"us\\"" /home/alice /bin/sh\n'
        "u  bob   401\nu! eve /var/lib/nixos/uid/eve:users\ng app 990\ng odd -\nm alice app\nu\n"
        'u "broken\n',
    )
    put(store, f"{ETC}/etc/sysusers.d/10-more.conf", "u alice 5\ng more 6\n")
    put(store, f"{ETC}/etc/sysusers.d/README", "u none 7\n")
    found = accounts(store)
    assert {name: found.users.get(name, -1) for name in ("alice", "bob", "eve", "none")} == {
        "alice": 400,
        "bob": 401,
        "eve": None,
        "none": -1,
    }
    names = ("app", "odd", "more", "bob", "eve")
    assert [found.groups.get(name, -1) for name in names] == [990, None, 6, 401, -1]


def test_a_passwd_of_the_system_comes_before_all(store: StoreRoot) -> None:
    put(store, f"{ETC}/etc/passwd", "alice:x:7:8::/:/bin/sh\nalice:x:9:8\nodd\n")
    put(store, f"{ETC}/etc/group", "app:x:70:\n")
    near = put(store, path_of("users-groups.json", "5"), document({"alice": 1000}, {"app": 9}))
    found = accounts(store, near)
    assert (found.users["alice"], found.groups["app"]) == (7, 70)


def test_a_system_without_any_has_nixoss_own(store: StoreRoot) -> None:
    assert read_accounts(store, [info(SYSTEM, ETC), info(ETC)], SYSTEM) == Accounts()


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"users": [1], "groups": []}', '{"users": {}, "groups": 1}']
)
def test_a_list_that_is_none_is_told(store: StoreRoot, content: str) -> None:
    near = put(store, path_of("users-groups.json", "5"), content)
    with pytest.raises(RequestError, match=f"{near} does not list users and groups as NixOS does"):
        accounts(store, near)


def test_a_list_that_leads_out_of_the_store_is_not_read(store: StoreRoot) -> None:
    link(store, f"{ETC}/etc/passwd", "/etc/passwd")
    with pytest.raises(RequestError, match="etc/passwd leads to /etc/passwd, which is outside"):
        accounts(store)


@pytest.mark.parametrize(
    ("graph", "found"),
    [
        ({"a": "bc", "b": "dx", "c": "y", "d": ""}, ["x", "y"]),
        ({"a": "ab", "b": "a"}, []),
        ({"a": "bx", "b": "y"}, ["x"]),
        ({}, []),
    ],
)
def test_the_nearest_store_paths(graph: dict[str, Any], found: list[str]) -> None:
    names = dict.fromkeys("xy", "-wanted")
    infos = [
        info(one, *(other + names.get(other, "") for other in others))
        for one, others in graph.items()
    ]
    assert [path[0] for path in nearest(infos, "a", "-wanted")] == found
