"""A cgroup of the benchmark's own. What is in it is killed at the end, whatever happens."""

import os
import pathlib
import time


def own_cgroup():
    mounts = (line.split() for line in open("/proc/self/mounts"))
    mount = next((it[1] for it in mounts if it[2] == "cgroup2"), None)
    path = next((it[4:].strip() for it in open("/proc/self/cgroup") if it.startswith("0::/")), None)
    if mount is None or path is None:
        raise OSError("there is no cgroup2 mount")
    return pathlib.Path(mount) / path


class Cgroup:
    count = 0

    def __enter__(self):
        Cgroup.count += 1
        self.path = own_cgroup() / f"cgbench-{os.getpid()}-{Cgroup.count}"
        self.path.mkdir()
        return self

    def __exit__(self, *_):
        self.kill()
        wait_until_empty(self.path)
        deadline = time.monotonic() + 5
        while self.path.exists() and time.monotonic() < deadline:
            for directory in sorted(self.path.rglob("*/"), reverse=True):
                remove(directory)
            remove(self.path)

    def join(self):
        """Moves the process that calls this into it."""
        (self.path / "cgroup.procs").write_text("0")

    def kill(self):
        (self.path / "cgroup.kill").write_text("1")

    def members(self):
        """The processes directly in it."""
        return [int(it) for it in (self.path / "cgroup.procs").read_text().split()]

    def session(self):
        """The cgroup of the only session in it."""
        (session,) = self.path.glob("cgrun-*")
        return session


def remove(directory):
    try:
        directory.rmdir()
    except OSError:
        pass  # A process in it is still exiting, or it is gone.


def wait_until_empty(cgroup):
    """Looks every 0.1 ms. The kernel's own notification may come 10 ms late (kernel/cgroup/cgroup.c,
    CGROUP_FILE_NOTIFY_MIN_INTV)."""
    try:
        with open(cgroup / "cgroup.events") as events:
            while "populated 1" in events.read():
                time.sleep(0.0001)
                events.seek(0)
    except OSError:
        pass  # It was removed, so it was empty.
