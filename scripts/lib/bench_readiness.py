"""From the moment at which a server listens to the start of the command that depends on it."""

import pathlib
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from bench_run import in_turns
from bench_table import FLOOR, Column, Row, show

SERVER = pathlib.Path(__file__).with_name("bench_server.py")
NANO_IN_MILLI = 1e6
CONFIG = """
[services.server]
command = ["{python}", "{server}", "{port}", "{seconds:.4f}", "listened"]
port = {port}
ready = {{ {probe} }}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def started(argv, **options):
    """Runs a command that ends with `date`, and returns what that printed: when it had started."""
    done = subprocess.run([*argv, shutil.which("date"), "+%s%N"], capture_output=True, **options)
    if done.returncode:
        raise OSError(f"{' '.join(argv)}: {done.stderr.decode()}")
    return int(done.stdout)


def date_alone(_):
    begin = time.time_ns()
    return (started([]) - begin) / NANO_IN_MILLI


def dependent(cgrun, probe):
    port = free_port()
    # The server listens at any moment between two looks of cgrun.
    values = {"python": sys.executable, "server": SERVER, "port": port, "seconds": random.uniform(0.05, 0.1)}
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        (directory / "cgrun.toml").write_text(CONFIG.format(probe=probe.format(port=port), **values))
        now = started([cgrun, "--logs", "logs"], cwd=directory)
        return (now - int((directory / "listened").read_text())) / NANO_IN_MILLI


def readiness(builds, effort):
    probes = {"that listens": "tcp = {port}", "that answers HTTP": 'http = "http://127.0.0.1:{port}/"'}
    for name, probe in probes.items():
        pairs = [(Column("start of `date` alone", FLOOR), date_alone)]
        for column, program in builds.columns(""):
            pairs.append((column, lambda _, program=program, probe=probe: dependent(program, probe)))
        in_turns(pairs, effort.rounds(40), lambda measure: measure(None))
        yield show(Row(f"a server {name}, to the start of `date`", [it for it, _ in pairs], adds=True))
