"""bench_sleepers.py COUNT: starts as many sleeping processes, and says so; exits when its input ends."""

import os
import shutil
import sys

null = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
sleep = shutil.which("sleep")
for _ in range(int(sys.argv[1])):
    # They end by themselves, should the benchmark be killed.
    os.posix_spawn(sleep, ["sleep", "300"], {}, file_actions=null)
# A shell exits faster than Python.
os.execv("/bin/sh", ["sh", "-c", "echo started; read _ || :"])
