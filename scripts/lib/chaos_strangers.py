"""Processes that do not belong to any chaos session. They come and go beside the sessions.

chaos_strangers.py CGROUP starts them in this cgroup until SIGTERM. Then it prints how many there were, and how many of
them somebody else has killed.
"""

import collections
import ctypes
import os
import signal
import subprocess
import sys

EVERY = 0.1
ALIVE = 10
# Some look like processes of a session, or show nothing of where they come from.
ENVIRONMENTS = ({}, {"CGRUN_SESSION": "aaaaaaaa"}, {"PATH": os.defpath})


def main(cgroup):
    with open(os.path.join(cgroup, "cgroup.procs"), "w") as procs:
        procs.write("0")
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG
    alive = collections.deque()
    started = killed = 0
    stopping = False
    while not stopping or alive:
        stopping = stopping or signal.sigtimedwait([signal.SIGTERM], EVERY) is not None
        if not stopping:
            env = ENVIRONMENTS[started % len(ENVIRONMENTS)]
            alive.append(subprocess.Popen(["sleep", "300"], env=env, start_new_session=started % 2 == 0))
            started += 1
        if len(alive) > ALIVE or stopping:
            oldest = alive.popleft()
            killed += oldest.poll() is not None
            oldest.kill()
            oldest.wait()
    print(started, killed)


if __name__ == "__main__":
    main(*sys.argv[1:])
