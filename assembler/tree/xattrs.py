"""Extended attributes in a row of contents."""

import base64

from assembler.tree.linux import XATTR_NAME_MAX, XATTR_SIZE_MAX
from assembler.tree.tree import Xattrs

_SPACES = ("user", "security", "trusted")


def read_xattrs(raw: object) -> tuple[Xattrs, list[str]]:
    """Parse name → value: text, `0x…` hexadecimal or `0s…` base64, as getfattr(1) prints them.

    Returns the attributes, and a line for each problem that any file system would have with them.
    """
    if not isinstance(raw, dict):
        return (), ["xattrs is not an object"]
    found, problems = [], []
    for name, value in sorted(raw.items()):
        try:
            found.append((name, _value(name, value)))
        except ValueError as error:
            problems.append(f"the extended attribute {name}: {error}")
    return tuple(found), problems


def _value(name: str, value: object) -> bytes:
    """The bytes of an attribute; raises ValueError for a bad name or value."""
    _check_name(name)
    if not isinstance(value, str):
        raise ValueError("its value is not a string")
    found = _parse(value)
    if len(found) > XATTR_SIZE_MAX:
        raise ValueError(f"its value has more than the {XATTR_SIZE_MAX} bytes that Linux allows")
    return found


def _check_name(name: str) -> None:
    space, _, rest = name.partition(".")
    if space not in _SPACES:
        raise ValueError("its name starts with none of user., security., trusted.")
    if not rest or "\0" in name or len(name.encode()) > XATTR_NAME_MAX:
        raise ValueError(f"its name is not 1 to {XATTR_NAME_MAX} bytes without NUL")


def _parse(value: str) -> bytes:
    if value.startswith("0x"):
        return bytes.fromhex(value[2:])
    if value.startswith("0s"):
        return base64.b64decode(value[2:], validate=True)
    return value.encode()
