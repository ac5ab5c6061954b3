"""The users and groups of a NixOS system, by name: the owners that contents may have.

Source: in nixpkgs' nixos/modules, config/users-groups.nix makes users-groups.json for the
activation script, services/system/userborn.nix makes userborn.json, and
system/boot/systemd/sysusers.nix makes etc/sysusers.d (sysusers.d(5)).
"""

import json
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from assembler.errors import HostError, RequestError, reason
from assembler.store.paths import AbsentError, Store
from assembler.store.registration import PathInfo, nearest

MAX_ID = 0xFFFFFFFE
# Fixed ids of NixOS: nixos/modules/misc/ids.nix in nixpkgs.
_USERS = {"root": 0, "messagebus": 4, "nobody": 65534}
_GROUPS = {
    "root": 0, "wheel": 1, "kmem": 2, "tty": 3, "messagebus": 4, "disk": 6, "floppy": 18,
    "uucp": 19, "lp": 20, "cdrom": 24, "tape": 25, "audio": 17, "video": 26, "dialout": 27,
    "utmp": 29, "adm": 55, "keys": 96, "users": 100, "input": 174, "kvm": 302, "render": 303,
    "sgx": 304, "shadow": 318, "nixbld": 30000, "nogroup": 65534,
}  # fmt: skip
_MAX_READ = 1 << 24  # bytes: far more than a list of users has
_SYSUSERS = "etc/sysusers.d"
_ALLOCATED = "-users-groups.json"
_DOCUMENTS = (_ALLOCATED, "-userborn.json")
# Where NixOS's update-users-groups.pl looks for free ids, in this order.
_NORMAL, _SYSTEM = range(1000, 30000), range(999, 399, -1)

Ids = Mapping[str, int | None]  # by name; None: the machine chooses one at its first boot


@dataclass(frozen=True, slots=True)
class Accounts:
    """The ids of users and groups by their names.

    `whole` is false if the accounts of the system are not known.
    """

    users: Ids = field(default_factory=lambda: _USERS)
    groups: Ids = field(default_factory=lambda: _GROUPS)
    whole: bool = True

    def over(self, other: "Accounts") -> "Accounts":
        """These accounts, and those of `other` whose names are missing here."""
        return Accounts(
            {**other.users, **self.users},
            {**other.groups, **self.groups},
            self.whole and other.whole,
        )


def read_accounts(store: Store, infos: Iterable[PathInfo], system: str) -> Accounts:
    """The accounts of the toplevel `system`: those in files of its closure, and NixOS's fixed ones.

    Raises RequestError for a file that has another form than NixOS gives it, HostError for one that
    cannot be read.
    """
    found = Accounts()
    for path in nearest(infos, system, _DOCUMENTS)[:1]:
        found = _document(path, _read(store, path)).over(found)
    for name in reversed(_names(store, f"{system}/{_SYSUSERS}")):
        found = _sysusers(_read(store, f"{system}/{_SYSUSERS}/{name}")).over(found)
    users, groups = (parse_database(_read(store, f"{system}/etc/{n}")) for n in ("passwd", "group"))
    return Accounts(users, groups).over(found)


def parse_database(text: str) -> dict[str, int]:
    """Name → id in a passwd or group file: passwd(5), group(5). Ignores lines of other forms."""
    ids: dict[str, int] = {}
    for line in text.split("\n"):
        fields = line.split(":")
        if len(fields) > 2 and (number := parse_id(fields[2])) is not None:
            ids.setdefault(fields[0], number)
    return ids


def parse_id(text: str) -> int | None:
    """A uid or gid in decimal digits, or None."""
    number = int(text) if re.fullmatch("[0-9]{1,10}", text) else MAX_ID + 1
    return number if number <= MAX_ID else None


def _document(path: str, text: str) -> Accounts:
    """The accounts in users-groups.json or userborn.json."""
    try:
        document = json.loads(text)
        users = dict(_entries(document["users"], "uid"))
        groups = dict(_entries(document["groups"], "gid"))
        if path.endswith(_ALLOCATED):
            system = {one["name"] for one in document["users"] if one.get("isSystemUser")}
            users = _allocate(
                users, {name: _SYSTEM if name in system else _NORMAL for name in users}
            )
            groups = _allocate(groups, dict.fromkeys(groups, _SYSTEM))
        return Accounts(users, groups)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise RequestError(f"{path} does not list users and groups as NixOS does") from None


def _entries(entries: list[dict[str, Any]], key: str) -> Iterator[tuple[str, int | None]]:
    """Name and id of each entry; raises KeyError or TypeError for an entry of another form."""
    for entry in entries:
        name, number = entry["name"], entry.get(key)
        if not isinstance(name, str) or not (number is None or 0 <= number <= MAX_ID):
            raise TypeError(name)
        yield name, number


def _allocate(ids: Ids, ranges: Mapping[str, range]) -> dict[str, int | None]:
    """The ids, with one for each name that has none: what a machine without users would choose.

    Source: allocId in nixpkgs' nixos/modules/config/update-users-groups.pl.
    """
    allocated, taken = dict(ids), set(ids.values())
    for name in [name for name, number in ids.items() if number is None]:
        allocated[name] = next((one for one in ranges[name] if one not in taken), None)
        taken.add(allocated[name])
    return allocated


def _sysusers(text: str) -> Accounts:
    """The accounts in a file for systemd-sysusers; see sysusers.d(5)."""
    users: dict[str, int | None] = {}
    groups: dict[str, int | None] = {}
    for line in text.split("\n"):
        try:
            fields = shlex.split(line, comments=line.lstrip().startswith("#"))
        except ValueError:
            continue
        if len(fields) < 2 or fields[0].rstrip("!?") not in ("u", "g"):
            continue
        number, _, group = (fields[2] if len(fields) > 2 else "-").partition(":")
        if fields[0] == "g":
            groups.setdefault(fields[1], parse_id(number))
            continue
        users.setdefault(fields[1], parse_id(number))
        if not group:  # a group of the same name and number comes with the user
            groups.setdefault(fields[1], parse_id(number))
    return Accounts(users, groups)


def _read(store: Store, path: str) -> str:
    """The text of a small file of the closure; empty if there is none."""
    try:
        with store.find(path).open("rb") as file:
            return file.read(_MAX_READ).decode(errors="surrogateescape")
    except AbsentError:
        return ""
    except OSError as error:
        raise HostError(f"cannot read {reason(error)}") from None


def _names(store: Store, directory: str) -> list[str]:
    """The files for systemd-sysusers, in its order."""
    try:
        names = os.listdir(store.find(directory))
    except (AbsentError, NotADirectoryError):
        return []
    except OSError as error:
        raise HostError(f"cannot read {reason(error)}") from None
    return sorted(name for name in names if name.endswith(".conf"))
