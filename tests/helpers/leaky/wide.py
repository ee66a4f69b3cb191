"""Fixtures with a wider scope than a test, and what they start early, late, and in their teardown."""

import multiprocessing
import os
import subprocess
import threading
import time

import pytest


def start(*command, **options):
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)


@pytest.fixture(scope="session", autouse=True)
def encoder():
    """Runs short commands all the time. None of them may be killed."""
    stop, codes = threading.Event(), set()

    def work():
        while not stop.is_set():
            codes.add(subprocess.run(["sleep", "0.01"]).returncode)

    thread = threading.Thread(target=work)
    thread.start()
    yield
    stop.set()
    thread.join()
    assert codes == {0}


@pytest.mark.parametrize("number", range(10))
def test_short_commands(number):
    time.sleep(0.03)


# --- a child that is older than the test becomes an orphan in it

LAUNCHER = start("sh", "-c", "sleep 900 & wait")


def test_ends_the_launcher():
    pid = LAUNCHER.pid
    while not (children := open(f"/proc/{pid}/task/{pid}/children").read().split()):
        assert LAUNCHER.poll() is None
    globals()["worker"] = int(children[0])
    LAUNCHER.kill()
    LAUNCHER.wait()


def test_the_worker_is_there():
    os.kill(globals()["worker"], 0)


# --- what is started on demand, and in a teardown


@pytest.fixture(scope="module")
def servers():
    started = []
    yield lambda: started.append(start("sleep", "970"))
    for it in started:
        it.kill()
        it.wait()


def test_on_demand(servers):
    servers()


class TestTeardown:
    @pytest.fixture(scope="class")
    def backup(self):
        yield
        start("sleep", "971")

    def test_backup(self, backup):
        pass


@pytest.fixture(scope="module", params=["972", "973"])
def dump(request):
    yield
    start("sleep", request.param)


def test_dump(dump):
    pass


# --- a server that becomes a daemon after its fixture is set up in a test


@pytest.fixture(scope="module")
def slow_server():
    with start("sh", "-c", "read go; setsid -f sleep 900", stdin=subprocess.PIPE) as shell:
        yield shell


def test_in_its_body(request):
    shell = request.getfixturevalue("slow_server")
    shell.stdin.write(b"\n")
    shell.stdin.close()
    shell.wait()


# --- others wait for what was leaked

KEPT = []


def test_of_multiprocessing():
    KEPT.append(multiprocessing.get_context("fork").Process(target=time.sleep, args=(974,)))
    KEPT[-1].start()


def test_no_child_is_active():
    assert multiprocessing.active_children() == []
