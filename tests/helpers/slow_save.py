"""slow_save.py SECONDS: a service that takes this long to save its state when it is asked to exit."""

import pathlib
import signal
import sys
import time

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
print("ready", flush=True)
signal.sigwait([signal.SIGTERM])
time.sleep(float(sys.argv[1]))
pathlib.Path("saved").touch()
