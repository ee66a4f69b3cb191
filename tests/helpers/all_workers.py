"""all_workers.py PORT N: asks until N different workers have answered with their pid."""

import concurrent.futures
import http.client
import sys
import time

port, wanted = map(int, sys.argv[1:])
deadline = time.monotonic() + 60


def ask(_):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/")
    return connection.getresponse().read()


workers = set()
with concurrent.futures.ThreadPoolExecutor(16) as pool:
    while len(workers) < wanted:
        if time.monotonic() > deadline:
            sys.exit(f"only {workers} have answered")
        workers.update(pool.map(ask, range(16)))
