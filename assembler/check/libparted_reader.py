"""Prints the partition table of an image as libparted reads it, in JSON.

Run as a script, in a process of its own: a damaged table may kill libparted. It imports nothing of
ours. Its arguments are the directory of the module `_ped` and the image, which is only read. It
prints an empty line when libparted is loaded, and then
{"label": "gpt", "parts": [[number, start, length], ...]} in sectors, or {"error": "..."}.
"""

import json
import os
import sys


def main() -> None:
    """Read the image and print the result."""
    binding, image = sys.argv[1:]
    sys.path.insert(0, binding)
    import _ped  # noqa: PLC0415  # its place is known only now

    print(flush=True)
    # The binding takes names in UTF-8 only.
    name = f"/proc/self/fd/{os.open(image, os.O_RDONLY)}"
    try:
        disk = _ped.Disk(_ped.device_get(name))
        parts, part = [], disk.next_partition()
        while part is not None:
            if part.num > 0:  # others are free space and the table itself
                parts.append([part.num, part.geom.start, part.geom.length])
            part = disk.next_partition(part)
        print(json.dumps({"label": disk.type.name, "parts": parts}))
    except Exception as error:  # the binding has a dozen kinds, without a common one
        print(json.dumps({"error": str(error)}))


if __name__ == "__main__":
    main()
