"""Where the commands start, before anything that may fail is imported.

It is no part of the package `assembler`, since importing a part imports the whole public API first.
"""

import os
import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Until there is something to clean up, Ctrl-C ends the process without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

for _number in range(3):
    # If a standard stream is closed, the next file that is opened takes its number. It could be
    # the image, and everything that a program or a library prints would be written into it.
    try:
        os.fstat(_number)
    except OSError:
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # for the programs we start

try:
    from assembler.cli.commands import assemble_main, check_image_main, prepare_root_main
except ImportError as _error:
    sys.exit(
        f"{os.path.basename(sys.argv[0])}: a Python package cannot be loaded ({_error}): "
        "install assemble with what it depends on, in a virtual environment of this Python"
    )

__all__ = ["assemble_main", "check_image_main", "prepare_root_main"]
