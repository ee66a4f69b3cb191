"""cookie_killer.py NAME=VALUE: kills each process whose environment has this variable, as CI runners do."""

import os
import signal
import sys

cookie = sys.argv[1].encode()
for pid in sorted(int(it) for it in os.listdir("/proc") if it.isdigit()):
    try:
        with open(f"/proc/{pid}/environ", "rb") as environ:
            if cookie in environ.read().split(b"\0"):
                os.kill(pid, signal.SIGKILL)
    except OSError:
        pass  # It has exited.
