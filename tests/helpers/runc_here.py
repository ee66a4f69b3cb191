#!/usr/bin/python3
"""Runs runc with what this host can give: without the capabilities, limits and controllers that it lacks.

A continuous integration machine is often itself confined: it may lack a capability that a privileged container
gets, or have no v2 controllers. runc then refuses to start any container.
"""

import json
import os
import pathlib
import resource
import sys

# The order of include/uapi/linux/capability.h.
CAPABILITIES = """CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
    NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE
    SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE
    AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF
    CHECKPOINT_RESTORE""".split()


def value(words, *options):
    """The value of an option, in either spelling."""
    for index, word in enumerate(words):
        for option in options:
            if word == option:
                return words[index + 1]
            if word.startswith(option + "="):
                return word.split("=", 1)[1]
    return None


def fit_process(process):
    status = pathlib.Path("/proc/self/status").read_text()
    bounding = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapBnd:")), 16)
    lacking = {f"CAP_{name}" for bit, name in enumerate(CAPABILITIES) if not bounding >> bit & 1}
    for kind, names in (process.get("capabilities") or {}).items():
        process["capabilities"][kind] = [name for name in names or [] if name not in lacking]
    kept = []
    for limit in process.get("rlimits") or []:
        hard = resource.getrlimit(getattr(resource, limit["type"]))[1]
        if hard == resource.RLIM_INFINITY or limit["hard"] <= hard:
            kept.append(limit)
    process["rlimits"] = kept


def fit(spec):
    fit_process(spec["process"])
    available = pathlib.Path("/sys/fs/cgroup/cgroup.controllers").read_text().split()
    resources = spec["linux"].get("resources", {})
    for controller in ("pids", "memory", "cpu"):
        if controller not in available:
            resources.pop(controller, None)


def rewrite(path, change):
    path = pathlib.Path(path)
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


words = sys.argv[1:]
if "create" in words or "run" in words:
    rewrite(os.path.join(value(words, "--bundle", "-b") or ".", "config.json"), fit)
elif "exec" in words and value(words, "--process", "-p"):
    rewrite(value(words, "--process", "-p"), fit_process)
os.execvp("runc", ["runc", *words])
