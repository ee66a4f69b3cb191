"""How long killing takes: leaked processes at the end of a command, and everything after the supervisor's death."""

import os
import pathlib
import signal
import subprocess
import sys
import time

from bench_cgroup import Cgroup, wait_until_empty
from bench_run import MILLI, bwrap, in_turns
from bench_table import FLOOR, PEER, Column, Row, show

SLEEPERS = [sys.executable, str(pathlib.Path(__file__).with_name("bench_sleepers.py"))]
OPTIONS = ["--require", "cgroup", "--grace", "0s", "--settle", "0s"]


class Leader:
    """A process with sleeping children, in a cgroup, started through `prefix`."""

    def __init__(self, home, prefix, count):
        argv = [*prefix, *SLEEPERS, str(count)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.child = subprocess.Popen(argv, **pipes, preexec_fn=home.join)
        if not self.child.stdout.readline():
            raise OSError(f"{' '.join(argv)}: {self.child.stderr.read().decode()}")
        # The last ones are perhaps still being started.
        time.sleep(0.1 + count / 10_000)

    def exit(self):
        """Lets the leader exit, and returns when it was told to."""
        begin = time.monotonic()
        self.child.stdin.close()
        return begin

    def discard(self):
        self.child.wait()
        for pipe in (self.child.stdin, self.child.stdout, self.child.stderr):
            pipe.close()


def bare_kill(count, everything=False):
    """Writes to cgroup.kill, and waits until the cgroup is empty. Either the leader is killed too, if `everything`, or it
    is told to exit first, and its exit is part of the time, as it is in `end_of_leaks`."""
    with Cgroup() as home:
        leader = Leader(home, [], count)
        if everything:
            begin = time.monotonic()
        else:
            begin = leader.exit()
            leader.child.wait()
        home.kill()
        wait_until_empty(home.path)
        took = time.monotonic() - begin
        leader.discard()
    return took * MILLI


def end_of_leaks(cgrun, count):
    """From when the command is told to exit to the exit of cgrun, including snapshot, verification and report."""
    with Cgroup() as home:
        leader = Leader(home, [cgrun, *OPTIONS], count)
        # A full pipe of messages must not delay cgrun.
        drain = subprocess.Popen(["cat"], stdin=leader.child.stderr, stdout=subprocess.DEVNULL)
        begin = leader.exit()
        leader.child.wait()
        took = time.monotonic() - begin
        leader.discard()
        drain.wait()
        if leader.child.returncode:
            raise OSError(f"cgrun exited with {leader.child.returncode}")
    return took * MILLI


def death(prefix, count, in_session):
    """From the SIGKILL of `prefix` to the exit of the last process of its session."""
    with Cgroup() as home:
        leader = Leader(home, prefix, count)
        watched = home.session() if in_session else home.path
        begin = time.monotonic()
        os.kill(leader.child.pid, signal.SIGKILL)
        wait_until_empty(watched)
        took = time.monotonic() - begin
        leader.discard()
    return took * MILLI


def teardown(builds, effort):
    counts = ((10, 21), (1000, 7), (5000, 5)) if effort.full else ((10, 21), (500, 7))
    for count, rounds in counts:
        pairs = [(Column("cgroup.kill alone", FLOOR), lambda count=count: bare_kill(count))]
        for column, program in builds.columns(""):
            pairs.append((column, lambda program=program, count=count: end_of_leaks(program, count)))
        in_turns(pairs, effort.rounds(rounds), lambda it: it())
        yield show(Row(f"end of {count:,} leaked sleepers", [column for column, _ in pairs], against=FLOOR))


def guardian(builds, effort):
    prefix, missing = bwrap("--die-with-parent")
    for count, rounds in ((15, 40), (1000, 10)) if effort.full else ((15, 40), (500, 10)):
        # The leader is one of them.
        pairs = [(Column("cgroup.kill alone", FLOOR), lambda count=count: bare_kill(count - 1, True))]
        if prefix:
            pairs.append((Column("bwrap --die-with-parent", PEER), lambda count=count: death(prefix, count - 1, False)))
        for column, program in builds.columns(""):
            options = [program, "--require", "cgroup"]
            pairs.append((column, lambda options=options, count=count: death(options, count - 1, True)))
        in_turns(pairs, effort.rounds(rounds), lambda it: it())
        columns = [column for column, _ in pairs]
        work = f"SIGKILL of cgrun to the last of {count:,} dead"
        yield show(Row(work, columns, against=FLOOR, missing=missing))
