"""leave.py MODE [ARG]...: leaves something behind that is not a process.

A daemon of it is at work before the command exits: the command waits on a pipe that the daemon closes.
"""

import ctypes
import os
import signal
import sys
from multiprocessing import resource_tracker, shared_memory

IPC_CREAT = 0o1000
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.shmat.restype = ctypes.c_void_p


def segment(size=4096):
    """Creates and attaches a segment of shared memory of System V, and says its id."""
    identifier = LIBC.shmget(0, ctypes.c_size_t(size), IPC_CREAT | 0o600)
    assert identifier >= 0 and LIBC.shmat(identifier, None, 0) not in (None, ctypes.c_void_p(-1).value)
    with open("segment", "w") as file:
        file.write(str(identifier))


def in_child(body):
    """Runs body in a child until it has closed the pipe that it is given."""
    reader, ready = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        body(ready)
        os._exit(1)
    os.close(ready)
    os.read(reader, 1)
    return child


def rest():
    signal.alarm(900)
    while True:
        signal.pause()


def daemon():
    def body(ready):
        os.setsid()
        segment()
        os.close(ready)
        rest()

    in_child(body)


def dead():
    """Its creator is killed before the command exits."""

    def body(_ready):
        segment()
        os.kill(os.getpid(), signal.SIGKILL)

    os.waitpid(in_child(body), 0)


def killed():
    segment()
    os.kill(os.getpid(), signal.SIGKILL)


def beside():
    """A stranger, which says when it has one."""
    segment()
    print("ready", flush=True)
    rest()


def file(name):
    """A segment of POSIX, as multiprocessing makes it, whose tracker is killed too."""
    memory = shared_memory.SharedMemory(name, create=True, size=1 << 20)
    memory.buf[0] = 1
    os.kill(resource_tracker._resource_tracker._pid, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def holder(path):
    """A daemon that holds a file."""

    def body(ready):
        os.setsid()
        with open(path, "w") as held:
            held.write("x" * 2048)
            held.flush()
            os.close(ready)
            rest()

    in_child(body)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
