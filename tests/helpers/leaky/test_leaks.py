"""Leaks in eight ways, and tells the truth about each: the file `truth/PID` names the test.

LEAKS says how many of each way there are. Nothing here outlives a quarter of an hour.
"""

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

SLEEP = ["sleep", "900"]
MANY = range(int(os.environ.get("LEAKS", "1")))
TRUTH = Path(os.environ["TRUTH"])
QUIET = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
SERVER = "import socket, sys, time; s = socket.create_server(('127.0.0.1', 0)); print(flush=True); time.sleep(900)"

many = pytest.mark.parametrize("number", MANY)


@pytest.fixture
def tell(request):
    return lambda pid: (TRUTH / str(pid)).write_text(request.node.nodeid)


def rest():
    """Sleeps without any stream or pipe of pytest, because an open one keeps xdist waiting."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.closerange(3, 1024)
    time.sleep(900)


def sh(script):
    """Runs a script that prints a pid, and may leave processes behind."""
    shell = subprocess.Popen(["sh", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    return int(shell.stdout.readline())


@many
def test_background(number, tell):
    tell(subprocess.Popen(SLEEP, **QUIET).pid)


@many
def test_shell(number, tell):
    tell(sh("sleep 900 >&2 & echo $!"))


@many
def test_setsid(number, tell):
    tell(subprocess.Popen(SLEEP, start_new_session=True, **QUIET).pid)


@many
def test_daemon(number, tell):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(writer, b"%d\n" % os.getpid())
            rest()
        os._exit(0)
    os.waitpid(child, 0)
    tell(int(os.read(reader, 100)))


@many
def test_multiprocessing(number, tell):
    how = multiprocessing.get_context("fork" if number % 2 else "spawn")
    process = how.Process(target=rest, daemon=True)
    process.start()
    # A process that is no longer known as a child is not terminated at exit.
    multiprocessing.process._children.discard(process)
    tell(process.pid)


@many
def test_cleared(number, tell):
    # For one in five, no evidence is left.
    if number % 5 == 4:
        tell(subprocess.Popen(["/bin/sleep", "900"], env={}, **QUIET).pid)
    else:
        tell(sh("env -i /bin/sleep 900 >&2 & echo $!; exec >&2; wait"))


@many
def test_server(number, tell):
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE)
    server.stdout.readline()
    tell(server.pid)


@pytest.fixture(scope="session")
def running(request):
    return subprocess.Popen(SLEEP, **QUIET).pid


@pytest.mark.parametrize("running", MANY, indirect=True)
def test_fixture(running, tell):
    tell(running)
