"""Print what a directory tree shows to lstat(2), as JSON: run as root on a mounted image.

Stands alone, so that it can run as another user than the tests. Names and targets are hex.
"""

import hashlib
import json
import os
import stat
import sys


def describe(path: bytes) -> dict[str, object]:
    """Everything about one inode that a Tree decides."""
    status = os.lstat(path)
    facts: dict[str, object] = {
        "mode": status.st_mode,
        "uid": status.st_uid,
        "gid": status.st_gid,
        "mtime": status.st_mtime_ns,
        "xattrs": {
            name: os.getxattr(path, name, follow_symlinks=False).hex()
            for name in os.listxattr(path, follow_symlinks=False)
        },
    }
    if stat.S_ISLNK(status.st_mode):
        facts["target"] = os.readlink(path).hex()
    elif stat.S_ISREG(status.st_mode):
        facts["size"] = status.st_size
        facts["sha256"] = digest(path)
        facts["links"] = status.st_nlink
        facts["inode"] = status.st_ino
    return facts


def digest(path: bytes) -> str:
    """SHA-256 over the data of a file and where it lies; holes are skipped, not read."""
    state = hashlib.sha256()
    with open(path, "rb") as file:
        end = 0
        size = os.fstat(file.fileno()).st_size
        while end < size:
            try:
                start = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            file.seek(start)
            while start < end:
                piece = file.read(min(1 << 20, end - start))
                if piece.strip(b"\0"):
                    state.update(b"%d:" % start + piece.rstrip(b"\0"))
                start += len(piece)
    return state.hexdigest()


def walk(top: bytes) -> dict[str, dict[str, object]]:
    """Relative path in hex → facts, the top itself included, lost+found left out."""
    found = {"": describe(top)}
    for directory, subdirectories, files in os.walk(top):
        if directory == top and b"lost+found" in subdirectories:
            subdirectories.remove(b"lost+found")
        for name in (*subdirectories, *files):
            path = os.path.join(directory, name)
            found[os.path.relpath(path, top).hex()] = describe(path)
    return found


if __name__ == "__main__":
    json.dump(walk(os.fsencode(sys.argv[1])), sys.stdout)
