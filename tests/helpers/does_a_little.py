"""Does a little of one KIND every PERIOD seconds, for SECONDS in all, and prints nothing."""

import socket
import subprocess
import sys
import time

KIND, PERIOD, SECONDS = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])

NOBODY_LISTENS = ("127.0.0.1", 1)
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
peer, _ = server.accept()
other_host = socket.create_connection(("10.9.8.7", 8000)) if KIND == "remote" else None


def connect():
    with socket.socket() as attempt:
        attempt.connect_ex(NOBODY_LISTENS)


def talk():
    client.send(b"?")
    peer.recv(1)


def remote():
    other_host.send(b"?")
    other_host.recv(1)


def read():
    with open(__file__, "rb") as file:
        file.read()


def write():
    with open("written", "a") as file:
        print(".", file=file)


def spawn():
    subprocess.run(["true"], check=True)


def compute():
    end = time.process_time() + PERIOD / 5
    while time.process_time() < end:
        pass


deadline = time.monotonic() + SECONDS
while time.monotonic() < deadline:
    globals()[KIND]()
    time.sleep(PERIOD)
