"""reaper.py PROGRAM [ARG]...: runs a program, and inherits the orphans below it, as a service manager does."""

import ctypes
import os
import signal
import sys

PR_SET_CHILD_SUBREAPER = 36

ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
child = os.fork()
if child == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
# It ends when its child does.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    ended, status = os.wait()
    if ended == child:
        os._exit(os.waitstatus_to_exitcode(status) % 256)
