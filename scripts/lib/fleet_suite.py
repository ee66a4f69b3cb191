"""A test suite for an engine to kill: it leaves behind whatever the processes of scripts/chaos do.

fleet_suite.py DIRECTORY SEED SECONDS [plain] runs for SECONDS in DIRECTORY, and exits with a code that the seed gives
(0 or 3). It says where it is by the files `started-SEED` and `ended-SEED`. Each process keeps a file in `registered`
locked for as long as it lives. With `plain`, none clears its environment: where nothing but the marker in it holds a
session together, such a process is beyond reach.
"""

import os
import random
import sys
import time

import chaos_actor
from chaos_plan import plan_child


def main(directory, seed, seconds, *plain):
    os.chdir(directory)
    os.makedirs("registered", exist_ok=True)
    it = random.Random(int(seed))
    chaos_actor.register(f"suite{seed}")
    for _ in range(it.randrange(2, 6)):
        spec = plan_child(it, lambda _: False, []) | {"elsewhere": None}
        if plain and spec["kind"] == "blank":
            spec["kind"] = "rest"
        if os.fork() == 0:
            chaos_actor.child(spec)
    code = it.choice([0, 0, 3])
    open(f"started-{seed}", "w").close()
    print("suite", seed, "runs", flush=True)
    time.sleep(float(seconds))
    open(f"ended-{seed}", "w").close()
    os._exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
