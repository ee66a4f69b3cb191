"""hungry.py MODE [ARG]...: a program that exceeds limits, but stays within its own safe bounds."""

import os
import signal
import sys
import time

MOST_PROCESSES = 500
MOST_MEMORY = 256
MIB = 1 << 20


def memory(mebibytes):
    """Touches this much memory and keeps it."""
    held = []
    for _ in range(min(int(mebibytes), MOST_MEMORY)):
        held.append(b"x" * MIB)
    print(f"got {len(held)} MiB", flush=True)


def forks(most):
    """A fork bomb: each process forks as often as it can, and so do its children. Each fork takes a
    token out of a pipe, so that their number is bounded."""
    signal.alarm(120)
    tokens, fill = os.pipe()
    os.write(fill, b"t" * min(int(most), MOST_PROCESSES))
    os.close(fill)
    said, say = os.pipe()
    first = os.getpid()
    while os.read(tokens, 1):
        try:
            pid = os.fork()
        except BlockingIOError:
            os.write(say, b"refused\n")
            break
        if pid == 0:
            signal.alarm(120)
    else:
        os.write(say, b"all made\n")
    if os.getpid() == first:
        print(os.read(said, 100).decode().splitlines()[0], flush=True)
        return
    rest()


def burn(seconds, workers="1"):
    """Keeps CPUs busy, and prints how much CPU time it got."""
    begin, before = time.monotonic(), sum(os.times()[:4])
    for _ in range(int(workers) - 1):
        if os.fork() == 0:
            while time.monotonic() - begin < float(seconds):
                pass
            os._exit(0)
    while time.monotonic() - begin < float(seconds):
        pass
    for _ in range(int(workers) - 1):
        os.wait()
    wall, used = time.monotonic() - begin, sum(os.times()[:4]) - before
    print(f"{used:.3f} of {wall:.3f}", flush=True)


def then(mode, *arguments):
    """Waits a moment, to become ready as a service, then runs a mode."""
    time.sleep(0.2)
    globals()[mode](*arguments)


def stay(mode, *arguments):
    """Runs a mode and does not exit."""
    globals()[mode](*arguments)
    rest()


def rest():
    signal.alarm(120)
    while True:
        signal.pause()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
