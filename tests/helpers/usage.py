"""usage.py ROUNDS COMMAND [ARG]...: runs a command several times, and prints the medians of its minor page faults and
of its voluntary context switches. Those of children that it has waited for count."""

import os
import shutil
import statistics
import sys

rounds, command = int(sys.argv[1]), sys.argv[2:]
usages = []
for _ in range(rounds):
    # posix_spawn shares memory until the exec, so hardly a page fault is Python's.
    _, status, usage = os.wait4(os.posix_spawn(shutil.which(command[0]), command, os.environ), 0)
    if status:
        sys.exit(f"usage.py: {command}: wait status {status}")
    usages.append((usage.ru_minflt, usage.ru_nvcsw))
print(*(int(statistics.median(values)) for values in zip(*usages, strict=True)))
