"""Where a file has data and where it has holes (lseek(2))."""

import errno
import os
from collections.abc import Iterator


def data_ranges(handle: int, start: int, end: int) -> Iterator[range]:
    """The bytes from `start` to `end` of an open file that are in no hole, in order.

    Where the file ends before `end`, nothing is there. Raises OSError.
    """
    place = start
    while place < end:
        try:
            data = os.lseek(handle, place, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        if data >= end:
            return
        place = os.lseek(handle, data, os.SEEK_HOLE)
        yield range(data, min(place, end))
