"""`cgrun check` starts and checks the ports; `cgrun --version` only starts."""

import shutil
import socket
import subprocess
import sys

from bench_cgroup import Cgroup
from bench_run import in_turns, run
from bench_table import CGRUN, FLOOR, PEER, Column, Row, show

CROWD = """
import os, signal, sys
for _ in range(int(sys.argv[1])):
    if os.fork() == 0:
        signal.pause()
print(flush=True)
signal.pause()
"""


def ports(builds, effort):
    def measure(host):
        pairs = [(Column("cgrun --version", FLOOR), [builds.cgrun, "--version"])]
        pairs.append((Column("cgrun check", CGRUN), [builds.cgrun, "check"]))
        if ss := shutil.which("ss"):
            pairs.append((Column("ss -ltnp", PEER), [ss, "-ltnp"]))
        # A stale session on this host is no reason not to measure.
        in_turns(pairs, effort.rounds(100), lambda argv: run(argv, may_fail=True))
        missing = "" if ss else "ss is not installed"
        return show(Row(f"check of the ports, {host}", [it for it, _ in pairs], adds=True, missing=missing))

    yield measure("idle host")
    pairs_of_sockets, processes = (2500, 2000) if effort.full else (1000, 300)
    with Cgroup() as home, socket.create_server(("127.0.0.1", 0), backlog=4096) as server:
        address = server.getsockname()
        sockets = [(socket.create_connection(address), server.accept()[0]) for _ in range(pairs_of_sockets)]
        argv = [sys.executable, "-c", CROWD, str(processes)]
        crowd = subprocess.Popen(argv, stdout=subprocess.PIPE, preexec_fn=home.join)
        crowd.stdout.readline()
        yield measure(f"{2 * pairs_of_sockets:,} sockets and {processes:,} processes")
        home.kill()
        crowd.wait()
        for pair in sockets:
            for end in pair:
                end.close()
