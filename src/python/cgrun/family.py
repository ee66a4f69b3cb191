"""The processes that this pytest has started, even if their parent has exited."""

import os
import re
import subprocess
import sys

from . import processes
from .allowed import allows, keeps_namespaces, patterns

# What starts the processes that multiprocessing and its relatives start once, when they are first needed, and keep.
HELPERS = re.compile(r" -c from [\w.]+\.(resource_tracker|semaphore_tracker|forkserver) import main\b")
# The workers of loky are kept for the next test that wants some.
REUSED = re.compile(r" -m [\w.]*\bloky\.backend\.popen_loky_posix\b")
FORK_SERVERS = ("multiprocessing.forkserver", "multiprocess.forkserver")
WORKER = "PYTEST_XDIST_WORKER"


class Family:
    def __init__(self):
        self.reaper = find_reaper()
        # Other workers of xdist, services, and other runners have the same reaper. What this pytest starts stays in its cgroup,
        # even without an environment.
        self.has_own_cgroup = enter_own_cgroup()
        self.worker = os.environ.get(WORKER)
        self.allowed = patterns()
        # By pid, what was there at the last look, and whether it is ours. A pid comes back only after all others were used.
        self.known = {}

    def roots(self, own_pid=os.getpid):
        """Our processes that have no parent but pytest, a fork server, or the reaper. Some may just have exited, so look again
        for what they left."""
        me = own_pid()
        known = {}

        def add(pids, are_orphans):
            for pid in pids:
                entry = self.known.get(pid) or self.look_at(pid, are_orphans, me)
                if entry[0]:
                    known[pid] = entry

        add(processes.child_pids(me), False)
        for name in FORK_SERVERS:
            server = getattr(getattr(sys.modules.get(name), "_forkserver", None), "_forkserver_pid", None)
            add(processes.child_pids(server) if server else (), False)
        if self.reaper not in (None, me):
            # Only now: what a child leaves that has exited meanwhile is there.
            add(processes.child_pids(self.reaper), True)
        self.known = known
        return {process for process, is_ours in known.values() if is_ours}

    def look_at(self, pid, is_orphan, me):
        process = processes.alive(pid)
        return process, bool(process) and (not is_orphan or self.is_ours(process, me))

    def is_ours(self, orphan, me):
        own, cgroup = processes.cgroup_of(me), processes.cgroup_of(orphan.pid)
        if cgroup != own and not cgroup.startswith(own.rstrip("/") + "/"):
            return False
        return not self.worker or self.has_own_cgroup or orphan.variable(WORKER) == self.worker

    def is_orphan(self, process, own_pid=os.getpid):
        return self.reaper != own_pid() and processes.parent_of(process.pid) == self.reaper

    def is_kept(self, process):
        """Whether the session allows it, or Python keeps it for later. What a fork server has forked looks the same, and is not kept."""
        command = process.command()
        if REUSED.search(command) or keeps_namespaces(process) or any(allows(it, process) for it in self.allowed):
            return True
        parent = processes.alive(processes.parent_of(process.pid))
        return bool(HELPERS.search(command)) and not (parent and HELPERS.search(parent.command()))


def find_reaper():
    """The process that becomes the parent of our orphans: the nearest subreaper above us, which no file tells
    (PR_SET_CHILD_SUBREAPER, prctl(2)). None if it is hidden from us."""
    script = "sleep 60 >/dev/null 2>&1 & echo $!"
    said = subprocess.run(["/bin/sh", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True).stdout
    orphan = processes.alive(int(said))
    if orphan is None:
        return None
    parent = processes.parent_of(orphan.pid)
    orphan.send(9)
    return parent if processes.threads_of(parent) else None


def enter_own_cgroup():
    """Moves this process into a cgroup below that of the session's command. Returns whether it could."""
    here = processes.cgroup_of(os.getpid())
    session = f"cgrun-{os.environ['CGRUN_SESSION']}"
    if session not in here.split("/"):
        return False
    try:
        directory = os.path.join(mount_point_of(here), f"pytest-{os.getpid()}")
        os.mkdir(directory)
        with open(os.path.join(directory, "cgroup.procs"), "w") as file:
            file.write("0")
    except OSError:
        return False
    return True


def mount_point_of(cgroup):
    """The directory of this cgroup. Raises OSError if it is not mounted here."""
    with open("/proc/self/mountinfo") as file:
        for line in file:
            fields, _, kind = line.partition(" - ")
            root, point = fields.split()[3:5]
            inside = os.path.relpath(cgroup, root)
            if kind.startswith("cgroup2 ") and not inside.startswith(".."):
                return os.path.normpath(os.path.join(point, inside))
    raise OSError("the cgroup is not mounted here")
