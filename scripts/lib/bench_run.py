"""Starts commands in turns and measures them. Machines are noisy: only figures of one run can be compared."""

import os
import shutil
import time
from dataclasses import dataclass

from bench_table import BEFORE, CGRUN, FLOOR, PEER, Column

MILLI = 1e3
NULL = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
# The whole file system, and a /proc for the PID namespace, as in a sandbox of its users.
VIEW = ["--bind", "/", "/", "--dev-bind", "/dev", "/dev", "--proc", "/proc"]


@dataclass
class Builds:
    """The cgrun to measure, and optionally another build of it to compare with."""

    cgrun: str
    before: str | None = None

    def columns(self, what):
        """A new column and the program for it, for each build."""
        yield Column(f"cgrun {what}".strip(), CGRUN), self.cgrun
        if self.before:
            yield Column(f"cgrun before {what}".strip(), BEFORE), self.before


def start(argv):
    return os.posix_spawn(argv[0], argv, os.environ, file_actions=NULL)


def run(argv, may_fail=False):
    """Runs a command, and returns how many milliseconds that took."""
    begin = time.perf_counter()
    _, status = os.waitpid(start(argv), 0)
    wall = (time.perf_counter() - begin) * MILLI
    if status and not may_fail:
        raise OSError(f"{' '.join(argv)}: wait status {status}")
    return wall


def bwrap(*options):
    """The command line of bwrap up to the command, or None and why it cannot be measured."""
    program = shutil.which("bwrap")
    if program is None:
        return None, "bwrap is not installed"
    argv = [program, "--unshare-pid", *options, *VIEW]
    try:
        run([*argv, shutil.which("true")])
    except OSError as error:
        return None, f"bwrap does not work here ({error})"
    return argv, ""


def contenders(builds):
    """`true` alone, in bwrap and in cgrun: pairs of a column and a command line, and what is missing."""
    true = shutil.which("true")
    prefix, missing = bwrap()
    pairs = [(Column("true", FLOOR), [true])]
    if prefix:
        pairs.append((Column("bwrap --unshare-pid true", PEER), [*prefix, true]))
    pairs += [(column, [program, true]) for column, program in builds.columns("true")]
    return pairs, missing


def in_turns(pairs, rounds, measure):
    """Each round measures each command once, in an order that rotates."""
    for number in range(rounds):
        for index in range(len(pairs)):
            column, what = pairs[(index + number) % len(pairs)]
            column.samples.append(measure(what))
