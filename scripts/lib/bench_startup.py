"""How long a run of a command takes: alone, in each containment, and many at once."""

import os
import pathlib
import shutil
import socket
import sys
import time

from bench_run import MILLI, contenders, in_turns, run, start
from bench_table import CGRUN, FLOOR, OTHER, Column, Row, show

HELPERS = pathlib.Path(__file__).resolve().parents[2] / "tests/helpers"


def startup(builds, effort):
    """`true` back to back, and after idle time."""
    pairs, missing = contenders(builds)
    in_turns(pairs, effort.rounds(300), run)
    columns = [column for column, _ in pairs]
    yield show(Row("`true`, back to back", columns, adds=True, missing=missing))

    def after_idle(argv):
        time.sleep(0.1)
        return run(argv)

    pairs, missing = contenders(builds)
    in_turns(pairs, effort.rounds(60), after_idle)
    columns = [column for column, _ in pairs]
    yield show(Row("`true`, after 100 ms of idle time", columns, adds=True, missing=missing))


def crowd(builds, effort):
    """From the start of the first of 50 to the end of the last."""
    pairs, missing = contenders(builds)

    def all_of(argv):
        begin = time.perf_counter()
        children = [start(argv) for _ in range(50)]
        failed = [pid for pid in children if os.waitpid(pid, 0)[1]]
        if failed:
            raise OSError(f"{' '.join(argv)}: {len(failed)} of 50 failed")
        return (time.perf_counter() - begin) * MILLI

    in_turns(pairs, effort.rounds(20), all_of)
    yield show(Row("50 at once, `true` in each", [column for column, _ in pairs], missing=missing))


def containments(builds, effort):
    """Each host is simulated by a process, and these take turns."""
    os.environ["CGRUN"] = builds.cgrun
    sys.path.insert(0, str(HELPERS))
    import launch

    true = shutil.which("true")
    nothing = lambda: None
    hosts = [
        (Column("true", FLOOR), [true], nothing),
        (Column("cgroup", CGRUN), [builds.cgrun, true], nothing),
        (Column("cgroup and PID namespace", OTHER), [builds.cgrun, "--require", "cgroup+pidns", true], nothing),
        (Column("PID namespace", OTHER), [builds.cgrun, true], launch.read_only_cgroups),
        (Column("process tree", OTHER), [builds.cgrun, true], launch.no_namespaces),
    ]
    workers = [(column, worker(argv, enter)) for column, argv, enter in hosts]

    def ask(end):
        end.send(b".")
        answer = end.recv(64)
        if not answer:
            raise OSError("this host has not all containments, or cannot simulate a weaker host")
        return float(answer)

    in_turns(workers, effort.rounds(200), ask)
    yield show(Row("`cgrun true` by containment, back to back", [column for column, _ in workers], adds=True, against=CGRUN))
    for _, end in workers:
        end.close()
    for _ in workers:
        os.wait()


def worker(argv, enter):
    """Starts a process that enters a host and then runs the command once for each byte that it receives."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        try:
            ours.close()
            enter()
            while theirs.recv(1):
                theirs.send(b"%.6f" % run(argv))
        finally:
            os._exit(0)
    theirs.close()
    return ours
