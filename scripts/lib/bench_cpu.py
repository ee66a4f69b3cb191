"""CPU time of a run. A cgroup counts it: wait4(2) does not see processes that nothing waits for, and with bwrap these use
most of the time."""

import os
import socket

from bench_cgroup import Cgroup, wait_until_empty
from bench_run import contenders, in_turns, run
from bench_table import Row, show

RUNS = 5
MICRO_IN_MILLI = 1e3


def used(cgroup):
    """Milliseconds of everything that was ever in the cgroup."""
    with open(cgroup / "cpu.stat") as stat:
        return int(stat.readline().split()[1]) / MICRO_IN_MILLI


def cpu_time(argv):
    """Milliseconds of one run, with the share of the process that starts it."""
    with Cgroup() as home:
        ours, theirs = socket.socketpair()
        if os.fork() == 0:
            # The socket lets this process wait until it is measured, and go on if that fails.
            try:
                home.join()
                theirs.send(b"joined")
                ours.close()
                theirs.recv(1)
                for _ in range(RUNS):
                    run(argv)
                theirs.send(b"done")
            finally:
                os._exit(0)
        theirs.close()
        with ours:
            ours.recv(8)
            begin = used(home.path)
            ours.send(b".")
            if not ours.recv(8):
                raise OSError(f"{' '.join(argv)} failed")
        os.wait()
        wait_until_empty(home.path)
        return (used(home.path) - begin) / RUNS


def cpu(builds, effort):
    pairs, missing = contenders(builds)
    in_turns(pairs, effort.rounds(60), cpu_time)
    yield show(Row("CPU time of `true`", [column for column, _ in pairs], adds=True, missing=missing))
