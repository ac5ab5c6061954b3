"""Extended attributes in a row of contents."""

import base64

from assembler.tree.tree import Xattrs

# All are in one block, with a header and an entry for each; names and values are padded to 4 bytes
# (Linux Documentation/filesystems/ext4/attributes.rst).
_ROOM, _ENTRY = 4096 - 32 - 4, 16 + 3 + 3
_XATTR_NAME_MAX = 255  # bytes: linux/limits.h
_SPACES = ("user", "security", "trusted")


def read_xattrs(raw: object) -> tuple[Xattrs, list[str]]:
    """Parse name → value: text, `0x…` hexadecimal or `0s…` base64, as getfattr(1) prints them.

    Returns the attributes, and a line for each problem.
    """
    if not isinstance(raw, dict):
        return (), ["xattrs is not an object"]
    found, problems = [], []
    for name, value in sorted(raw.items()):
        try:
            found.append((name, _value(name, value)))
        except ValueError as error:
            problems.append(f"the extended attribute {name}: {error}")
    room = _ROOM - sum(_ENTRY + len(name) + len(value) for name, value in found)
    if room < 0:
        problems.append(f"xattrs are {-room} bytes more than ext4 can hold")
    return tuple(found), problems


def _value(name: str, value: object) -> bytes:
    """The bytes of an attribute; raises ValueError for a bad name or value."""
    space, _, rest = name.partition(".")
    if space not in _SPACES:
        raise ValueError("its name starts with none of user., security., trusted.")
    if not rest or "\0" in name or len(name.encode()) > _XATTR_NAME_MAX:
        raise ValueError(f"its name is not 1 to {_XATTR_NAME_MAX} bytes without NUL")
    if not isinstance(value, str):
        raise ValueError("its value is not a string")
    if value.startswith("0x"):
        return bytes.fromhex(value[2:])
    if value.startswith("0s"):
        return base64.b64decode(value[2:], validate=True)
    return value.encode()
