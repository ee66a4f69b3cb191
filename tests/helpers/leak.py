"""leak.py MODE [ARG]...: a program that leaves processes behind, or a service that behaves badly.

A leak is at work before its command exits: the command waits on a pipe that the leak closes when it
is. Its pid is then in the file `leak`. Nothing here outlives a quarter of an hour, nothing forks
without bound.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time

HERE = os.getcwd()
LONG = "900"
SLEEP = ["sleep", LONG]
POLITE = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def write(name, text=""):
    """Writes a file atomically."""
    path = os.path.join(HERE, name)
    with open(path + ".part", "w") as file:
        file.write(str(text))
    os.rename(path + ".part", path)


def leave(body):
    """Runs body in a child, and waits until body has closed the pipe that it is given."""
    reader, ready = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            body(ready)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        os._exit(1)
    os.close(ready)
    os.read(reader, 1)
    return child


def at_work(ready):
    write("leak", os.getpid())
    os.close(ready)


def rest():
    signal.alarm(int(LONG))
    while True:
        signal.pause()


def deafen():
    for it in POLITE:
        signal.signal(it, signal.SIG_IGN)


def daemonize():
    """Forks twice: parent, process group and session are unrelated to the command's."""
    if os.fork() > 0:
        os._exit(0)
    os.setsid()
    if os.fork() > 0:
        os._exit(0)


def vanish(ready):
    """Becomes another program, in `/`, without descriptors and environment."""
    write("leak", os.getpid())
    os.chdir("/")
    os.closerange(0, ready)
    os.closerange(ready + 1, 1024)
    os.execve("/bin/sleep", SLEEP, {})


def own_cgroup():
    with open("/proc/self/mounts") as mounts:
        mount = next(line.split()[1] for line in mounts if line.split()[2] == "cgroup2")
    with open("/proc/self/cgroup") as cgroups:
        return mount + next(line[3:].strip() for line in cgroups if line.startswith("0::"))


def set_cgroup(directory, key, value):
    with open(os.path.join(directory, "cgroup." + key), "w") as file:
        file.write(value)


def await_frozen(directory):
    while "frozen 1" not in open(os.path.join(directory, "cgroup.events")).read():
        time.sleep(0.001)


def background():
    def body(ready):
        at_work(ready)
        rest()

    leave(body)


def deaf():
    def body(ready):
        deafen()
        at_work(ready)
        rest()

    leave(body)


def daemon():
    def body(ready):
        daemonize()
        at_work(ready)
        rest()

    leave(body)


def blank_daemon():
    def body(ready):
        daemonize()
        vanish(ready)

    leave(body)


def late_listener():
    """Binds only after its command is dead, which closes a pipe that the command held."""
    life, held = os.pipe()

    def body(ready):
        os.close(held)
        # It must not exit before it has bound, because the test is about the port.
        signal.pthread_sigmask(signal.SIG_BLOCK, POLITE)
        at_work(ready)
        os.read(life, 1)
        listener = socket.create_server(("127.0.0.1", 8000))
        write("bound", listener.fileno())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, POLITE)
        rest()

    leave(body)


def escaped_listener(elsewhere):
    """Leaves the cgroup, then binds."""

    def body(ready):
        deafen()
        set_cgroup(elsewhere, "procs", "0")
        socket.create_server(("127.0.0.1", 8000)).set_inheritable(True)
        write("leak", os.getpid())
        os.execve("/bin/sleep", SLEEP, {})

    leave(body)


def fork_storm(links, deafness):
    """20 chains in which each process forks the next and exits: about 40 live at any time."""

    def body(ready):
        if deafness == "deaf":
            deafen()
        write("leak", os.getpid())
        for _ in range(20):
            if os.fork() == 0:
                for link in range(int(links)):
                    if os.fork() > 0:
                        os._exit(0)
                    if link == 1:
                        os.close(ready)
                rest()
        os._exit(0)

    leave(body)
    write("storm")


def stopped():
    child = os.fork()
    if child == 0:
        write("leak", os.getpid())
        os.kill(os.getpid(), signal.SIGSTOP)
        rest()
    os.waitpid(child, os.WUNTRACED)


def namespaces():
    """Starts a PID namespace, whose first process ignores SIGTERM by default."""
    script = f"echo >{HERE}/inside; exec sleep {LONG}"
    subprocess.Popen(["unshare", "--pid", "--mount", "--fork", "sh", "-c", script])
    while not os.path.exists("inside"):
        time.sleep(0.001)


def elsewhere(cgroup, deafness):
    def body(ready):
        if deafness == "deaf":
            deafen()
        set_cgroup(cgroup, "procs", "0")
        if deafness == "deaf":
            vanish(ready)
        at_work(ready)
        rest()

    leave(body)


def cgroups():
    """Creates two nested cgroups with a process in each; the inner one is frozen."""
    outer = os.path.join(own_cgroup(), "outer")
    inner = os.path.join(outer, "inner")
    for directory in (outer, inner):
        os.mkdir(directory)

        def body(ready):
            set_cgroup(directory, "procs", "0")
            at_work(ready)
            rest()

        leave(body)
    set_cgroup(inner, "freeze", "1")
    await_frozen(inner)


def threaded():
    """Creates a threaded cgroup, which cannot be read or killed by itself, with a process of two threads."""
    directory = os.path.join(own_cgroup(), "threaded")
    os.mkdir(directory)
    set_cgroup(directory, "type", "threaded")

    def body(ready):
        threading.Thread(target=time.sleep, args=[int(LONG)], daemon=True).start()
        set_cgroup(directory, "procs", "0")
        at_work(ready)
        rest()

    leave(body)


def beside(name):
    """Moves to a cgroup of the session that is not one of its leaves: a sibling or the parent."""
    directory = os.path.join(os.path.dirname(own_cgroup()), name)
    os.makedirs(directory, exist_ok=True)

    def body(ready):
        set_cgroup(directory, "procs", "0")
        at_work(ready)
        rest()

    leave(body)


def sleepers(count):
    for _ in range(int(count)):
        if os.fork() == 0:
            signal.alarm(int(LONG))
            signal.pause()
            os._exit(0)
    write("all")


def frozen(who):
    """A process freezes its own leaf, after the command has exited or while it runs."""
    leaf = own_cgroup()
    life, held = os.pipe()

    def body(ready):
        os.close(held)
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        at_work(ready)
        if who == "leak":
            os.read(life, 1)
        write("freezing", leaf)
        set_cgroup(leaf, "freeze", "1")
        rest()

    leave(body)
    if who == "command":
        rest()


def zombies():
    def body(ready):
        for _ in range(100):
            if os.fork() == 0:
                os._exit(0)
        children = f"/proc/self/task/{os.getpid()}/children"
        for child in open(children).read().split():
            while open(f"/proc/{child}/stat").read().rsplit(")")[-1].split()[0] != "Z":
                time.sleep(0.001)
        at_work(ready)
        rest()

    leave(body)


def names(program, *argv):
    """Runs a program that blocks forever, with a name and arguments given in hex."""
    name = bytes.fromhex(program)
    words = [bytes.fromhex(word) for word in argv]
    path = os.path.join(os.fsencode(HERE), name)
    with open("/bin/cat", "rb") as source, open(path, "wb") as copy:
        copy.write(source.read())
    os.chmod(path, 0o755)
    libc = ctypes.CDLL(None)

    def body(ready):
        write("leak", os.getpid())
        # It holds both ends of the pipe, so the read never returns.
        reader, writer = os.pipe()
        os.set_inheritable(writer, True)
        os.dup2(reader, 0)
        # os.execv refuses an empty first word.
        vector = (ctypes.c_char_p * (len(words) + 1))(*words, None)
        libc.execv(path, vector)

    leave(body)


def service(mode, *rest_of_it):
    """A service that prints `ready` to its log."""
    if mode == "deaf":
        for it in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(it, signal.SIG_IGN)
    if mode == "forks":
        deafen()
        for _ in range(40):
            if os.fork() == 0:
                for _link in range(int(rest_of_it[0])):
                    if os.fork() > 0:
                        os._exit(0)
                rest()
    if mode == "chatter":
        # Faster than any reader, but not forever.
        block = b"y\n" * (1 << 15)
        for _ in range(1500):
            os.write(1, block)
    if mode != "freezes-session":
        print("ready", flush=True)
    if mode == "flood":
        for _ in range(int(rest_of_it[0])):
            os.write(1, b"0123456\n" * (1 << 17))
        write("flooded")
    if mode == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    if mode == "frozen":
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        directory = os.path.join(own_cgroup(), "own")
        os.mkdir(directory)
        set_cgroup(directory, "procs", "0")
        set_cgroup(directory, "freeze", "1")
    if mode == "freezes-session":
        session = os.path.dirname(own_cgroup())
        write("freezing", session)
        set_cgroup(session, "freeze", "1")
    rest()


if __name__ == "__main__":
    mode = sys.argv[1].replace("-", "_")
    globals()[mode](*sys.argv[2:])
