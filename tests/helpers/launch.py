"""launch.py HOW [ARG]...: runs cgrun in a special environment and passes on its exit code."""

import ctypes
import errno
import os
import platform
import shutil
import socket
import struct
import subprocess
import sys

CGRUN = os.environ["CGRUN"]
NOBODY = 65534


def full_stderr(*arguments):
    """stderr is a full pipe that is held open and never read."""
    _reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    return subprocess.run([CGRUN, *arguments], stderr=writer).returncode


def no_stderr_reader(*arguments):
    """stderr is a pipe whose reader is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    return subprocess.run([CGRUN, *arguments], stderr=writer).returncode


def no_stderr(*arguments):
    """There is no stderr."""
    os.close(2)
    os.execv(CGRUN, [CGRUN, *arguments])


def with_socket(*arguments):
    """A listening socket is passed on, as systemd does (sd_listen_fds(3))."""
    listener = socket.create_server(("127.0.0.1", 8001))
    os.dup2(listener.fileno(), 3)
    os.set_inheritable(3, True)
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="web", LISTEN_PIDFDID="1")
    os.execv(CGRUN, [CGRUN, *arguments])


# On every architecture.
PIDFD_OPEN, FSOPEN, CLONE3 = 434, 430, 435
LOAD, EQUAL, ANY_OF, REPLY = 0x20, 0x15, 0x45, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000


def without_clone3(answer, *arguments):
    """A seccomp filter rejects clone3, as in containers."""
    number = getattr(errno, answer)
    # struct sock_filter: code, jump if true, jump if false, value. The system call number comes first.
    seccomp([(LOAD, 0, 0, 0), (EQUAL, 0, 1, CLONE3), (REPLY, 0, 0, REFUSE | number), (REPLY, 0, 0, ALLOW)])
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.syscall(CLONE3, None, 0) == -1 and ctypes.get_errno() == number
    os.execv(CGRUN, [CGRUN, *arguments])


def without_pidfds(*arguments):
    """pidfd_open(2) is missing, as before Linux 5.3, and in WSL 1."""
    seccomp([(LOAD, 0, 0, 0), (EQUAL, 0, 1, PIDFD_OPEN), (REPLY, 0, 0, REFUSE | errno.ENOSYS), (REPLY, 0, 0, ALLOW)])
    os.execv(CGRUN, [CGRUN, *arguments])


def read_only_cgroups():
    """The cgroup2 mounts of this process and its children are read-only, as in a container."""
    libc = ctypes.CDLL(None, use_errno=True)
    new_mounts = 0x00020000
    if libc.unshare(new_mounts) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    with open("/proc/self/mounts") as mounts:
        points = [line.split()[1] for line in mounts if line.split()[2] == "cgroup2"]
    for point in points:
        subprocess.run(["mount", "-o", "remount,bind,ro", point], check=True)


def with_read_only_cgroups(*arguments):
    """As in a container with a read-only cgroupfs, in which cgroup2 can be mounted."""
    read_only_cgroups()
    os.execvp(arguments[0], arguments)


def without_cgroups(*arguments):
    """As in a container with a read-only cgroupfs that can create namespaces, but not mount cgroup2."""
    read_only_cgroups()
    without_own_mount(*arguments)


def without_own_mount(*arguments):
    """fsopen(2) is missing, as before Linux 5.2."""
    refuse_fsopen()
    os.execvp(arguments[0], arguments)


def refuse_fsopen():
    seccomp([(LOAD, 0, 0, 0), (EQUAL, 0, 1, FSOPEN), (REPLY, 0, 0, REFUSE | errno.ENOSYS), (REPLY, 0, 0, ALLOW)])


def without_namespaces(*arguments):
    """As in a container with Docker's defaults."""
    no_namespaces()
    os.execvp(arguments[0], arguments)


def without_any_namespace(*arguments):
    """As above; not even cgrun itself can enter one."""
    unshare = {"x86_64": 272, "aarch64": 97}[platform.machine()]
    no_namespaces()
    seccomp([(LOAD, 0, 0, 0), (EQUAL, 0, 1, unshare), (REPLY, 0, 0, REFUSE | errno.EPERM), (REPLY, 0, 0, ALLOW)])
    os.execvp(arguments[0], arguments)


def no_namespaces():
    """This process and its children also cannot create namespaces, as under Docker's seccomp profile."""
    read_only_cgroups()
    refuse_fsopen()
    clone = {"x86_64": 56, "aarch64": 220}[platform.machine()]
    new_user_or_pid = 0x30000000
    # The first argument's low half follows the number, the architecture and the instruction pointer.
    seccomp([
        (LOAD, 0, 0, 0),
        (EQUAL, 3, 0, CLONE3),
        (EQUAL, 0, 4, clone),
        (LOAD, 0, 0, 16),
        (ANY_OF, 1, 2, new_user_or_pid),
        (REPLY, 0, 0, REFUSE | errno.ENOSYS),
        (REPLY, 0, 0, REFUSE | errno.EPERM),
        (REPLY, 0, 0, ALLOW),
    ])


def seccomp(lines):
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(lines), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, seccomp, by_filter = 38, 22, 2
    for call in ((no_new_privileges, 1, 0, 0, 0), (seccomp, by_filter, program, 0, 0)):
        if libc.prctl(*call) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


def in_killed_cgroup(*arguments):
    """Runs in a cgroup that was killed once, when it was empty."""
    sys.dont_write_bytecode = True
    from leak import own_cgroup, set_cgroup

    own = own_cgroup()
    killed = os.path.join(own, "killed-once")
    os.mkdir(killed)
    set_cgroup(killed, "kill", "1")
    set_cgroup(killed, "procs", "0")
    code = subprocess.run([CGRUN, *arguments]).returncode
    set_cgroup(own, "procs", "0")
    os.rmdir(killed)
    return code


def unprivileged(*arguments):
    """Runs as a user that owns the cgroup and the directory, where `./as-root COMMAND` runs as root."""
    sys.dont_write_bytecode = True
    from leak import own_cgroup

    own = own_cgroup()
    for path in (own, os.path.join(own, "cgroup.procs")):
        os.chown(path, NOBODY, NOBODY)
    unprivileged_without_cgroups(*arguments)


def unprivileged_without_cgroups(*arguments):
    """Runs as a user that owns only the directory, where `./as-root COMMAND` runs as root."""
    os.chown(".", NOBODY, NOBODY)
    os.chmod(".", 0o755)
    for program, name, mode in ((CGRUN, "cgrun", 0o755), (shutil.which("setpriv"), "setpriv", 0o4755)):
        shutil.copyfile(program, name)
        os.chmod(name, mode)
    with open("as-root", "w") as script:
        script.write('#!/bin/sh\nexec ./setpriv --reuid=0 --regid=0 --clear-groups "$@"\n')
    os.chmod("as-root", 0o755)
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    os.execvp("setpriv", [*user, "./cgrun", *arguments])


if __name__ == "__main__":
    how = sys.argv[1].replace("-", "_")
    sys.exit(globals()[how](*sys.argv[2:]))
