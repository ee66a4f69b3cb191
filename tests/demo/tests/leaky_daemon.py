"""A daemon by the book, so that only a cgroup (or something like it) still holds it.

usage: leaky_daemon.py [PIDFILE]

It leaves its parent, its session and the terminal, and ignores SIGTERM. The program
that was started prints the daemon's pid and exits once the daemon is up.
"""

import os
import signal
import sys
import time
from pathlib import Path

ONE_HOUR = 3600


def main() -> None:
    ready_read, ready_write = os.pipe()

    starter_child = os.fork()
    if starter_child:
        os.close(ready_write)
        os.waitpid(starter_child, 0)
        with os.fdopen(ready_read) as ready:
            print(ready.read())
        return

    os.setsid()
    if os.fork():
        os._exit(0)  # the daemon is now an orphan and not a session leader

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(f"{os.getpid()}\n")
    os.close(ready_read)
    devnull = os.open(os.devnull, os.O_RDWR)
    for stdio in (0, 1, 2):
        os.dup2(devnull, stdio)
    os.write(ready_write, str(os.getpid()).encode())
    os.close(ready_write)
    time.sleep(ONE_HOUR)


main()
