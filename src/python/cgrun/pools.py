"""Pools of worker processes. Their workers are started when they are first needed, which can be in any test."""

import gc
import os
import sys
import threading

from . import processes

KINDS = (
    ("multiprocessing.pool", "Pool"),
    ("multiprocess.pool", "Pool"),
    ("concurrent.futures.process", "ProcessPoolExecutor"),
)


def pools():
    """All that exist. This looks at every object, unless no pool can exist."""
    kinds = tuple(getattr(sys.modules[module], kind) for module, kind in KINDS if module in sys.modules)
    # isinstance() would ask proxies what they stand for.
    return [it for it in gc.get_objects() if issubclass(type(it), kinds)] if kinds else []


def workers_of(pool):
    workers = getattr(pool, "_pool", None) or (getattr(pool, "_processes", None) or {}).values()
    pids = [getattr(worker, "pid", None) for worker in list(workers)]
    found = (processes.alive(pid) for pid in pids if isinstance(pid, int) and pid != os.getpid())
    return {worker for worker in found if worker}


def close(pool, seconds):
    """Lets it start no other workers. This is the pool's own code, so it is waited for only so long."""
    close = getattr(pool, "terminate", None) or (lambda: pool.shutdown(wait=False))
    thread = threading.Thread(target=close, name="cgrun-leaks", daemon=True)
    thread.start()
    thread.join(seconds)
