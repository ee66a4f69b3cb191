"""passes_on.py COMMAND...: asks its child to exit when it is asked itself, and exits without waiting for it."""

import os
import signal
import subprocess
import sys

child = None


def pass_on(number, _frame):
    child.send_signal(number)
    os._exit(0)


signal.signal(signal.SIGTERM, pass_on)
child = subprocess.Popen(sys.argv[1:])
child.wait()
