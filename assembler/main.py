"""Where the commands start: a Ctrl-C during the imports ends them as it ends any program."""

import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until there is something to clean up

from assembler.cli import assemble_main, check_image_main, prepare_root_main

__all__ = ["assemble_main", "check_image_main", "prepare_root_main"]
