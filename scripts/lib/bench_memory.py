"""Memory: the proportional set size (Pss in proc(5)) of what watches over a sleeping command."""

import shutil
import subprocess
import tempfile
import time

from bench_cgroup import Cgroup
from bench_run import bwrap, in_turns
from bench_table import OTHER, PEER, Column, Row, show


def pss(pid):
    """In MB."""
    for line in open(f"/proc/{pid}/smaps_rollup"):
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1e3 * 1.024
    raise OSError(f"no Pss of process {pid}")


def all_but_sleep(prefix):
    """The memory of each process in the cgroup that is not the sleeping command itself."""
    with Cgroup() as home:
        argv = [*prefix, shutil.which("sleep"), "60"]
        child = subprocess.Popen(argv, stderr=subprocess.DEVNULL, preexec_fn=home.join)
        time.sleep(0.2)
        names = {pid: open(f"/proc/{pid}/comm").read().strip() for pid in home.members()}
        sizes = {pid: pss(pid) for pid, name in names.items() if name != "sleep"}
        home.kill()
        child.kill()
        child.wait()
    if child.pid not in sizes:
        raise OSError(f"{' '.join(argv)}: did not start")
    return sizes[child.pid], sum(sizes.values())


def memory(builds, effort):
    with tempfile.TemporaryDirectory() as directory:
        yield show(measured(builds, effort, directory))


def measured(builds, effort, directory):
    missing = []
    pairs = []
    if tini := shutil.which("tini"):
        pairs.append((Column("tini -s", PEER), [tini, "-s", "--"]))
    else:
        missing.append("tini is not installed")
    prefix, why = bwrap()
    if prefix:
        pairs.append((Column("bwrap --unshare-pid", OTHER), prefix))
    else:
        missing.append(why)
    columns = []
    for column, program in builds.columns("(supervisor and guardian)"):
        # A copy shares no page with the sessions that run on this host.
        pairs.append((column, [shutil.copy(program, f"{directory}/{column.role}")]))
        columns.append((column, Column(f"  the supervisor of {column.name.split(' (')[0]}", OTHER)))
    supervisors = {id(column): alone for column, alone in columns}

    def measure(item):
        column, argv = item
        first, total = all_but_sleep(argv)
        if id(column) in supervisors:
            supervisors[id(column)].samples.append(first)
        return total

    in_turns([(column, (column, argv)) for column, argv in pairs], effort.rounds(5), measure)
    shown = [column for column, _ in pairs] + list(supervisors.values())
    return Row("memory (PSS)", shown, unit="MB", missing=", ".join(missing))
