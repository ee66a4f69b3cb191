"""ignore.py NAME...: survives these signals, and creates a file got-SIGNAME for each that arrives."""

import pathlib
import signal
import sys


def note(number, _frame):
    pathlib.Path("got-" + signal.Signals(number).name).touch()


for name in sys.argv[1:]:
    signal.signal(getattr(signal, "SIG" + name), note)
pathlib.Path("ignoring").touch()
while True:
    signal.pause()
