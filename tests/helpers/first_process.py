"""first_process.py RUNS COMMAND...: as the first process of a PID namespace that does not reap, runs the command
this many times, and prints the processes that are left."""

import os
import subprocess
import sys

for _ in range(int(sys.argv[1])):
    code = subprocess.run(sys.argv[2:]).returncode
    if code:
        sys.exit(f"exit code {code}")
for pid in filter(str.isdigit, os.listdir("/proc")):
    if int(pid) != os.getpid():
        with open(f"/proc/{pid}/stat") as stat:
            print(stat.read().split(")")[0] + ")")
