"""Become a nix-daemon whose socket exists before it runs, so that no client has to wait for it.

Run as a program with the path of the socket. It prints a line when clients can
connect; from then on this process is the daemon. It gets the socket as systemd passes one:
sd_listen_fds(3), and daemonLoop in Nix's src/nix-daemon/nix-daemon.cc.
"""

import os
import socket
import sys

_PASSED = 3  # SD_LISTEN_FDS_START

if __name__ == "__main__":
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    os.chmod(sys.argv[1], 0o666)  # any user may connect, whatever the umask
    listener.listen()
    print("listening", flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(listener.fileno(), _PASSED)
    os.set_inheritable(_PASSED, True)  # also where it has this number already
    os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
    os.execvp("nix-daemon", ["nix-daemon"])
