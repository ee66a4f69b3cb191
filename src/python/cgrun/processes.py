"""The processes that descend from this one, read from /proc."""

import ctypes
import errno
import os
import select
import signal
import time
from dataclasses import dataclass

PR_SET_CHILD_SUBREAPER = 36
PR_GET_CHILD_SUBREAPER = 37
# A process that waits is looked at this often if the kernel cannot tell when it exits (before Python 3.9).
LOOK = 0.005


@dataclass(frozen=True)
class Process:
    """One process. Its pid may be used again, but not with the same start time."""

    pid: int
    started: int

    def is_alive(self):
        return stat_of(self.pid)[:2] == (self, True)

    def send(self, number):
        if self.is_alive():
            try:
                os.kill(self.pid, number)
            except OSError as error:
                if error.errno not in (errno.ESRCH, errno.EPERM):
                    raise

    def command(self):
        """The command line, or `[name]`. None if it is gone."""
        words = read(f"/proc/{self.pid}/cmdline").rstrip(b"\0").split(b"\0")
        text = " ".join(word.decode("utf-8", "backslashreplace") for word in words)
        name = read(f"/proc/{self.pid}/comm").decode("utf-8", "backslashreplace").rstrip("\n")
        shown = text or f"[{name}]"
        return "".join(it if it.isprintable() else it.encode("unicode_escape").decode() for it in shown)

    def variable(self, name):
        """A variable of the environment that it was executed with. None if it has none of that name."""
        for entry in read(f"/proc/{self.pid}/environ").split(b"\0"):
            key, _, value = entry.partition(b"=")
            if key == name.encode():
                return os.fsdecode(value)
        return None


def read(path):
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return b""


def stat_of(pid):
    """The process that has this pid now, and whether it is alive; (None, False) if there is none."""
    # The name, in parentheses, can contain anything.
    fields = read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    if len(fields) < 20:
        return None, False
    return Process(pid, int(fields[19])), fields[0] not in (b"Z", b"X")


def children_of(pid):
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    return [int(child) for thread in threads for child in read(f"/proc/{pid}/task/{thread}/children").split()]


def descendants():
    """The living descendants of this process, each with its parent's pid."""
    found = {}
    unseen = [(child, os.getpid()) for child in children_of(os.getpid())]
    while unseen:
        pid, parent = unseen.pop()
        process, is_alive = stat_of(pid)
        if process is None or process in found:
            continue
        if is_alive:
            found[process] = parent
        unseen.extend((child, pid) for child in children_of(pid))
    return found


def can_list():
    """Whether the kernel lists the children of processes (CONFIG_PROC_CHILDREN)."""
    return os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def adopt_orphans():
    """Makes daemons that descend from this process its children, so that they stay among its descendants
    (PR_SET_CHILD_SUBREAPER, prctl(2)). Returns whether they are now."""
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def wait_for(processes, seconds):
    """Waits until all have exited, but not longer than this. Returns those that have not."""
    deadline = time.monotonic() + seconds
    left = [process for process in processes if process.is_alive()]
    while left and time.monotonic() < deadline:
        wait_for_one(left[0], deadline - time.monotonic())
        left = [process for process in left if process.is_alive()]
    return left


def wait_for_one(process, seconds):
    try:
        handle = os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        time.sleep(min(LOOK, max(seconds, 0)))
        return
    try:
        # Readable when it has exited.
        select.select([handle], [], [], max(seconds, 0))
    finally:
        os.close(handle)


def end(processes, grace):
    """Asks them to exit, and kills those that have not after `grace` seconds. Returns those that had to be killed."""
    for process in processes:
        process.send(signal.SIGTERM)
        process.send(signal.SIGCONT)
    stubborn = wait_for(processes, grace)
    for process in stubborn:
        process.send(signal.SIGKILL)
    wait_for(stubborn, grace)
    for process in processes:
        reap(process)
    return stubborn


def reap(process):
    """Removes a child of ours that has exited. Nothing else waits for a leak, and os.wait() in a later test would find it."""
    try:
        os.waitpid(process.pid, os.WNOHANG)
    except OSError:
        pass  # It is another process's child, or was waited for.
