"""takes_time.py SECONDS JOURNAL: notes each signal that asks it to exit, and exits this long after the first."""

import os
import signal
import sys

seconds, journal = float(sys.argv[1]), sys.argv[2]


def note(text):
    with open(journal, "a") as file:
        file.write(text + "\n")


def asked(number, _frame):
    note(signal.Signals(number).name)
    if not signal.getitimer(signal.ITIMER_REAL)[0]:
        signal.setitimer(signal.ITIMER_REAL, seconds)


signal.signal(signal.SIGALRM, lambda *_: (note("ended"), os._exit(0)))
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) != signal.SIG_IGN:
        signal.signal(number, asked)
# A signal that comes just before pause(2) would be noted only after the next one.
reader, writer = os.pipe()
os.set_blocking(writer, False)
signal.set_wakeup_fd(writer)
note("started")
while True:
    os.read(reader, 64)
