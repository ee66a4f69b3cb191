"""Pools of worker processes. Their workers are started when they are first needed, which can be in any test."""

import concurrent.futures.process
import contextlib
import functools
import multiprocessing.pool
import threading
import weakref

from . import processes

# Who made each pool: a test, a fixture, or None if it was made outside of both.
OWNERS = weakref.WeakKeyDictionary()
_makers = [None]


def watch():
    """Notes each pool that is made from now on."""
    for kind in (multiprocessing.pool.Pool, concurrent.futures.process.ProcessPoolExecutor):
        kind.__init__ = noting(kind.__init__)


def noting(make):
    @functools.wraps(make)
    def noted(self, *arguments, **options):
        OWNERS[self] = _makers[-1]
        return make(self, *arguments, **options)

    return noted


@contextlib.contextmanager
def made_by(owner):
    _makers.append(owner)
    try:
        yield
    finally:
        _makers.pop()


def workers_of(owner):
    return workers(it for it, maker in list(OWNERS.items()) if maker is owner)


def workers_of_others(owner):
    return workers(it for it, maker in list(OWNERS.items()) if maker is not owner)


def workers(pools):
    known = [getattr(it, "_pool", None) or (getattr(it, "_processes", None) or {}).values() for it in pools]
    pids = [getattr(worker, "pid", None) for workers in known for worker in list(workers)]
    # The workers of a ThreadPool are threads.
    found = (processes.alive(pid) for pid in pids if isinstance(pid, int))
    return {worker for worker in found if worker}


def close_those_of(found, seconds):
    """Lets the pools of these workers start no others. This is the pool's own code, so it is waited for only so long."""
    for pool in list(OWNERS):
        if workers([pool]) & found:
            close = getattr(pool, "terminate", None) or functools.partial(pool.shutdown, wait=False)
            thread = threading.Thread(target=close, name="cgrun-leaks", daemon=True)
            thread.start()
            thread.join(seconds)
