"""monitor.py MODE [CGROUP]: as conmon does, starts the first process of a PID namespace, passes SIGTERM on to it, and
cleans up when it has exited. If asked to exit while it cleans up, it does so at once. MODE is what the first process
is: deaf (no handler), saves (takes its time) or stubborn (a handler that does not exit)."""

import ctypes
import os
import signal
import sys
import time

mode, cgroup = sys.argv[1], sys.argv[2:]
if mode == "first":
    # The name of the process is still `python3`, and it has executed a program.
    def asked(*_):
        with open("journal", "a") as journal:
            journal.write("asked\n")
        if sys.argv[2] == "saves":
            time.sleep(0.3)
            with open("journal", "a") as journal:
                journal.write("saved\n")
            os._exit(0)

    signal.signal(signal.SIGTERM, asked)
    open("ready", "w").close()
    while True:
        signal.pause()

if os.fork():
    while not os.path.exists("ready"):
        time.sleep(0.005)
    os._exit(0)
os.setsid()
if cgroup:
    with open(f"{cgroup[0]}/cgroup.procs", "w") as procs:
        procs.write("0")
assert ctypes.CDLL(None).unshare(0x20000000) == 0  # CLONE_NEWPID
child = os.fork()
if child == 0:
    if mode == "deaf":
        os.execv("/bin/sh", ["sh", "-c", "touch ready; exec sleep 900"])
    os.execv(sys.executable, [sys.executable, __file__, "first", mode])


def pass_on(*_):
    try:
        os.kill(child, signal.SIGTERM)
    except ProcessLookupError:
        os._exit(1)


signal.signal(signal.SIGTERM, pass_on)
os.waitpid(child, 0)
child = 1 << 22
time.sleep(0.3)
open("cleaned", "w").close()
