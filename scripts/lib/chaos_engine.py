"""Containers of podman that a chaos session starts, below a cgroup of their own."""

import os
import shutil
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
# The tests' runtime, which can run where a capability or a controller is missing.
RUNTIME = os.path.join(os.path.dirname(os.path.dirname(HERE)), "tests/helpers/runc_here.py")
LONG = 300  # Seconds.


def make_root(directory):
    """A file system for containers."""
    root = os.path.join(directory, "root")
    for name in ("bin", "etc", "proc", "sys", "dev", "tmp", "run"):
        os.makedirs(os.path.join(root, name))
    shutil.copy(shutil.which("busybox"), os.path.join(root, "bin"))
    for name in ("sh", "sleep"):
        os.symlink("busybox", os.path.join(root, "bin", name))
    return root


def run(root, directory, cgroup, attached):
    """The command that starts a container in `cgroup`, and keeps all that podman knows of it in `directory`.

    The first process of the container ignores SIGTERM, like any without a handler. The directory is in its arguments,
    so that it can be found.
    """
    places = [f"--{name}={directory}/podman-{name}" for name in ("root", "runroot", "tmpdir")]
    options = [f"--runtime={RUNTIME}", "--cgroup-manager=cgroupfs", "--events-backend=none", "--log-level=error"]
    container = ["--rm", "--network=none", f"--cgroup-parent={cgroup}", *([] if attached else ["--detach"])]
    return ["env", "-u", "NEXTEST", "podman", *places, *options, "run", *container,
            "--rootfs", root, "sh", "-c", f"sleep {LONG}; true", directory]  # fmt: skip


def unmount(directory):
    """Detaches what a podman that was killed has left mounted."""
    with open("/proc/self/mounts") as mounts:
        left = [line.split()[1] for line in mounts if line.split()[1].startswith(directory + "/")]
    for place in reversed(left):
        subprocess.check_call(["umount", "--lazy", place])
