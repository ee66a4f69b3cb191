"""Processes, read from /proc and ended through pidfds.

Tests replace the file system, the clock and the functions of `os`, so this keeps those that it needs from the beginning.
"""

import errno
import math
import os
import select
import signal
import sys
import time
from dataclasses import dataclass

# How often a process is looked at, in milliseconds, if the kernel cannot tell when it exits (before Python 3.9).
LOOK = 5
# How often a list is read that changes each time.
READS = 5
GONE = (errno.ENOENT, errno.ESRCH)
TICKS = os.sysconf("SC_CLK_TCK")
# Since Python 3.9.
PIDFD_OPEN = getattr(os, "pidfd_open", None)
PIDFD_SEND_SIGNAL = getattr(signal, "pidfd_send_signal", None)


def read(path, open=os.open, read=os.read, close=os.close, flags=os.O_RDONLY | os.O_CLOEXEC):
    """The file's content; empty if the process is gone. Any other error is raised, since it must not look like that."""
    try:
        handle = open(path, flags)
    except OSError as error:
        if error.errno in GONE:
            return b""
        raise
    try:
        parts = iter(lambda: read(handle, 1 << 16), b"")
        return b"".join(parts)
    except OSError as error:
        if error.errno in GONE:
            return b""
        raise
    finally:
        close(handle)


def threads_of(pid, list=os.listdir):
    try:
        return list(f"/proc/{pid}/task")
    except OSError as error:
        if error.errno in GONE:
            return []
        raise


@dataclass(frozen=True)
class Process:
    """One process. Its pid may be used again, but not with the same start time."""

    pid: int
    started: int

    def is_alive(self):
        return alive(self.pid) == self

    def open(self, open=PIDFD_OPEN, close=os.close):
        """A pidfd of it. None if it is gone, or if Python or the kernel has none."""
        try:
            handle = open(self.pid) if open else None
        except OSError:
            return None
        if handle is not None and not self.is_alive():
            close(handle)
            return None
        return handle

    def send(self, number, kill=os.kill, close=os.close, send=PIDFD_SEND_SIGNAL):
        handle = self.open()
        try:
            if handle is not None:
                send(handle, number)
            elif self.is_alive():
                kill(self.pid, number)
        except OSError as error:
            # It has gained privileges. cgrun ends it with the session.
            if error.errno not in (errno.ESRCH, errno.EPERM):
                raise
        finally:
            if handle is not None:
                close(handle)

    def command(self):
        return command_of(self.pid)

    def described(self, stat=os.stat, link=os.readlink):
        """What cgrun's report says of it. None if it is gone."""
        text = read(f"/proc/{self.pid}/stat").decode("utf-8", "replace")
        words = read(f"/proc/{self.pid}/cmdline").decode("utf-8", "replace").rstrip("\0").split("\0")
        try:
            user, executable = stat(f"/proc/{self.pid}").st_uid, link(f"/proc/{self.pid}/exe")
        except OSError:
            user, executable = None, None
        if not self.is_alive():
            return None
        name = text.partition("(")[2].rpartition(")")[0]
        return {
            "stat": text,
            "command_line": words if any(words) else [f"[{name}]"],
            "executable": executable and plain(executable),
            "uid": user,
            "age_seconds": max(tick() - self.started, 0) / TICKS,
        }

    def names(self, link=os.readlink):
        """The names of its program: as the kernel keeps it, and those of the file and of the first word of the command line."""
        try:
            file = link(f"/proc/{self.pid}/exe")
        except OSError:
            file = ""
        first = os.fsdecode(read(f"/proc/{self.pid}/cmdline").partition(b"\0")[0])
        name = os.fsdecode(read(f"/proc/{self.pid}/comm")).rstrip("\n")
        return {name, *(os.path.basename(it.partition(" (deleted)")[0]) for it in (file, first))}

    def variable(self, name):
        """A variable of the environment that it was executed with. None if it has none of that name, or hides it."""
        try:
            entries = read(f"/proc/{self.pid}/environ").split(b"\0")
        except OSError:
            return None
        for entry in entries:
            key, _, value = entry.partition(b"=")
            if key == name.encode():
                return os.fsdecode(value)
        return None


def plain(text):
    """The text without what UTF-8 cannot represent."""
    return text.encode("utf-8", "replace").decode()


def command_of(pid):
    """The command line, or `[name]`, as printable text."""
    words = read(f"/proc/{pid}/cmdline").rstrip(b"\0").split(b"\0")
    text = " ".join(word.decode("utf-8", "backslashreplace") for word in words)
    name = read(f"/proc/{pid}/comm").decode("utf-8", "backslashreplace").rstrip("\n")
    shown = text or f"[{name}]"
    return "".join(it if it.isprintable() else it.encode("unicode_escape").decode() for it in shown)


def cgroup_of(pid):
    """The path of its cgroup; empty if it has none."""
    lines = read(f"/proc/{pid}/cgroup").decode("utf-8", "surrogateescape").splitlines()
    return next((line[len("0::") :] for line in lines if line.startswith("0::")), "")


def stat_of(pid):
    """The fields of proc_pid_stat(5) from the state on; none if it is gone."""
    # The name, in parentheses, can contain anything.
    return read(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def alive(pid):
    """The living process that has this pid now. None if there is none."""
    fields = stat_of(pid)
    # The first thread of a process can exit before the others (state, num_threads, starttime).
    if len(fields) < 20 or (fields[0] in (b"Z", b"X") and int(fields[17]) < 2):
        return None
    return Process(pid, int(fields[19]))


def parent_of(pid):
    """0 if it is gone."""
    fields = stat_of(pid)
    return int(fields[1]) if fields else 0


def child_pids(pid):
    """The pids of its children, with those that have exited and were not waited for."""
    # The kernel can skip one if another exits while it lists them (proc_tid_children(5)).
    found, last = set(), None
    for _ in range(READS):
        listed = {int(it) for thread in threads_of(pid) for it in read(f"/proc/{pid}/task/{thread}/children").split()}
        found |= listed
        if listed == last:
            break
        last = listed
    return found


def with_descendants(roots):
    found = set()
    unseen = list(roots)
    while unseen:
        process = unseen.pop()
        if process not in found:
            found.add(process)
            unseen.extend(filter(None, map(alive, child_pids(process.pid))))
    return found


def now(clock=time.clock_gettime, which=time.CLOCK_MONOTONIC):
    return clock(which)


def tick(clock=time.clock_gettime, which=time.CLOCK_BOOTTIME):
    """The present in the unit of start times (proc_pid_stat(5))."""
    return int(clock(which) * TICKS)


def wait_for(processes, seconds):
    """Waits until all have exited, but not longer than this. Returns those that have not."""
    deadline = now() + seconds
    for process in processes:
        # A wait that lasts its full time is the last one, whatever the clock says.
        if not has_exited_within(process, deadline - now()):
            break
    return {process for process in processes if process.is_alive()}


def has_exited_within(process, seconds, poll=select.poll, close=os.close):
    milliseconds = max(math.ceil(seconds * 1000), 0)
    handle = process.open()
    if handle is None:
        for _ in range(milliseconds // LOOK + 1):
            if not process.is_alive():
                return True
            poll().poll(LOOK)
        return False
    try:
        waiting = poll()
        waiting.register(handle, select.POLLIN)
        return bool(waiting.poll(milliseconds))
    finally:
        close(handle)


def end(processes, grace):
    """Asks them to exit, and kills those that have not after `grace` seconds. Returns those that had to be killed."""
    for process in processes:
        process.send(signal.SIGTERM)
        process.send(signal.SIGCONT)
    stubborn = wait_for(processes, grace)
    for process in stubborn:
        process.send(signal.SIGKILL)
    wait_for(stubborn, grace)
    return stubborn


def reap(processes, wait=os.waitpid):
    """Removes children of ours that have exited. Nothing else waits for a leak, and os.wait() in a later test would find it."""
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing:
        # It waits for its own, and would not understand that another has.
        multiprocessing.active_children()
    for process in processes:
        try:
            wait(process.pid, os.WNOHANG)
        except OSError:
            pass  # It is another process's child, or was waited for.
