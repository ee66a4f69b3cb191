"""Tests that leave nothing behind but look as if they did, tests that hide what they leave, and tests that get in the way."""

import concurrent.futures
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from multiprocessing import shared_memory

import pytest


def start(*command, **options):
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)


def daemon(number, environment=None):
    subprocess.run(["setsid", "-f", "/bin/sleep", number], env=environment, check=True)


def share_memory():
    memory = shared_memory.SharedMemory(create=True, size=8)
    memory.close()
    memory.unlink()


def worker(method, seconds):
    process = multiprocessing.get_context(method).Process(target=time.sleep, args=(seconds,))
    process.start()
    return process



# --- what Python keeps


@pytest.fixture(scope="class")
def memory():
    share_memory()
    process = worker("forkserver", 0)
    process.join()


class TestHelpers:
    def test_of_a_fixture(self, memory):
        pass

    def test_of_a_test(self):
        worker("spawn", 0).join()
        share_memory()


def test_worker_of_fork_server_leaks():
    worker("forkserver", 950)


def test_fork_server_still_works():
    process = worker("forkserver", 0)
    process.join()
    assert process.exitcode == 0
    share_memory()


# --- pools


# A pool forks in a thread, and then what the main thread starts at this moment can hang, so no other test has one.
@pytest.fixture(scope="class")
def pool():
    with multiprocessing.Pool(2, maxtasksperchild=1) as pool:
        yield pool
        pool.close()
        pool.join()


@pytest.fixture(scope="class")
def executor():
    with concurrent.futures.ProcessPoolExecutor(2) as executor:
        yield executor


class TestPools:
    kept = []

    def test_pool(self, pool, executor):
        assert pool.map(abs, [-1, -2, -3]) == executor.submit(list, [1, 2, 3]).result() == [1, 2, 3]

    def test_pool_again(self, pool, executor):
        assert pool.map(abs, [-1, -2, -3]) == executor.submit(list, [1, 2, 3]).result() == [1, 2, 3]

    def test_pool_leaks(self, pool):
        self.kept.append(multiprocessing.Pool(2))

    def test_executor_leaks(self, pool):
        self.kept.append(concurrent.futures.ProcessPoolExecutor(2))
        self.kept[-1].submit(abs, 1).result()

    def test_after_leaked_pools(self, pool):
        assert pool.map(abs, [-1]) == [1]


# --- clocks


@pytest.fixture(scope="class")
def frozen():
    names = "time", "monotonic", "perf_counter", "clock_gettime"
    patch = pytest.MonkeyPatch()
    for name in names:
        patch.setattr(time, name, lambda *_: 0)
    yield
    patch.undo()


class TestFrozen:
    def test_time_stands_still(self, frozen):
        start("sleep", "951")

    def test_nothing(self, frozen):
        pass


# --- daemons


def test_stops_its_daemon():
    read, write = os.pipe()
    subprocess.run(["setsid", "-f", "sh", "-c", "echo $$; exec sleep 900"], stdout=write, check=True)
    pid = int(os.read(read, 100))
    handle = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    for _ in range(1000):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.01)
    else:
        raise AssertionError("the daemon is still there")
    for it in (read, write, handle):
        os.close(it)


def test_leaked_processes_leave_no_zombies():
    daemon("0")
    assert os.waitpid(-1, os.WNOHANG) == (0, 0)


@pytest.fixture(scope="module")
def slow_daemon():
    """Starts a daemon when it is told to."""
    with start("sh", "-c", "read go; setsid -f sleep 960; setsid -f env -i /bin/sleep 960", stdin=subprocess.PIPE) as shell:
        yield shell


def test_tells_the_fixture_to_start_a_daemon(slow_daemon):
    slow_daemon.stdin.write(b"\n")
    slow_daemon.stdin.flush()
    slow_daemon.wait()


def test_daemon_without_environment_after_that():
    daemon("952", environment={})


# --- errors


@pytest.fixture
def slow_teardown():
    yield
    subprocess.run(["sleep", "900"], timeout=0.01)


def test_teardown_times_out(slow_teardown):
    start("sleep", "953")


@pytest.fixture
def teardown_fails_in_groups():
    yield
    raise BaseExceptionGroup("two things broke", [ValueError("one"), KeyError("two")])  # noqa: F821


@pytest.mark.skipif(sys.version_info < (3, 11), reason="there are no exception groups")
def test_teardown_raises_a_group(teardown_fails_in_groups):
    start("sleep", "954")


def test_first_thread_exits():
    code = "import ctypes, threading, time\nthreading.Thread(target=time.sleep, args=(955,)).start()\nprint(flush=True)\n"
    code += "ctypes.CDLL(None).pthread_exit(None)\n"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        while open(f"/proc/{process.pid}/stat").read().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)
        process.returncode = 0  # Do not wait for it.


@pytest.fixture(scope="class")
def few_descriptors():
    """Leaves no descriptor free after the first test."""
    old = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(len(os.listdir("/proc/self/fd")) + 20, old[0]), old[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, old)


class TestDescriptors:
    taken = []

    def test_takes_all(self, few_descriptors):
        with pytest.raises(OSError):
            while True:
                self.taken.append(os.open("/dev/null", os.O_RDONLY))

    def test_gives_them_back(self, few_descriptors):
        for handle in self.taken:
            os.close(handle)


# --- fixtures


@pytest.fixture(scope="module", params=["956", "957"])
def leaky_with_parameters(request):
    start("sleep", request.param)


def test_parameters(leaky_with_parameters):
    pass


@pytest.fixture(scope="class")
def leaky_of_class():
    start("sleep", "958")


class TestMark:
    @pytest.mark.leaks("an agent stays")
    def test_allowed(self, leaky_of_class):
        start("sleep", "900")
