"""A service or the command of a chaos session, with all the processes that it leaves behind.

cgrun runs chaos_actor.py NAME SPEC in the directory of the run. Each process registers with a file of
its own in `registered`, which it keeps locked for as long as it lives.
"""

import fcntl
import json
import os
import signal
import socket
import sys
import time
import tty

POLITE = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
HANDLED = 42  # Exit code of a leader that handles one of them.
LONG = 300  # Seconds after which every process exits, whatever goes wrong.
lock = None


def register(name):
    """Locks a file for this process. An inherited lock belongs to its parent."""
    global lock
    if lock is not None:
        os.close(lock)
    lock = os.open(f"registered/{name}-{os.getpid()}-{time.monotonic_ns()}", os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.set_inheritable(lock, True)
    signal.alarm(LONG)


def rest():
    while True:
        signal.pause()


def child(spec):
    """A process below a service or the command, with `depth` others in between."""
    for _ in range(spec["depth"]):
        register("parent")
        if os.fork():
            rest()
    if spec["daemon"]:
        os.setsid()
        if os.fork():
            os._exit(0)
    register(spec["kind"])
    if spec["deaf"]:
        for number in POLITE:
            signal.signal(number, signal.SIG_IGN)
    if spec["elsewhere"]:
        with open(os.path.join(spec["elsewhere"], "cgroup.procs"), "w") as procs:
            procs.write("0")
    if spec["port"]:
        listener = socket.create_server(("127.0.0.1", spec["port"]))
        listener.set_inheritable(True)
    if spec["kind"] == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    if spec["kind"] == "forker":
        for _ in range(spec["links"]):
            if os.fork():
                os._exit(0)
            register("forker")
    if spec["kind"] == "namespace":
        os.execvp("unshare", ["unshare", "--pid", "--fork", "sleep", str(LONG)])
    if spec["kind"] == "blank":
        os.execve("/bin/sleep", ["sleep", str(LONG)], {})
    rest()


def actor(name, spec):
    """A service or the command, which leads its children."""
    spec = json.loads(spec)
    register(name)
    if name == "command" and os.isatty(0):
        tty.setraw(0)
    if spec["on_signal"] == "handles":
        for number in POLITE:
            signal.signal(number, lambda *_: os._exit(HANDLED))
    if spec["on_signal"] == "ignores":
        for number in POLITE:
            signal.signal(number, signal.SIG_IGN)
    for it in spec["children"]:
        if os.fork() == 0:
            child(it)
    if words := spec.get("container"):
        podman = os.posix_spawnp(words[0], words, os.environ)
        if "--detach" in words:
            os.waitpid(podman, 0)  # Until the container runs.
    if spec["port"]:
        _listener = socket.create_server(("127.0.0.1", spec["port"]))
    with open(name + ".part", "w") as file:
        file.write(str(os.getpid()))
    os.rename(name + ".part", name)
    if name != "command":
        print("ready", flush=True)
        rest()
    while not os.path.exists("go"):
        time.sleep(0.003)
    os._exit(spec["code"])


if __name__ == "__main__":
    actor(*sys.argv[1:])
