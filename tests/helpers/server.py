"""A configurable server, which records its progress in a journal."""

import argparse
import os
import signal
import socket
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("port", type=int)
parser.add_argument("--address", default="127.0.0.1")
parser.add_argument("--v6-only", action="store_true", help="at ::, take no IPv4")
parser.add_argument("--when", help="listen only once this file is there")
parser.add_argument("--say", nargs="*", default=[], help="printed, in pieces, once it listens")
parser.add_argument("--answers", default="200", help="HTTP statuses in turn; garbage, or none")
parser.add_argument("--ignore", nargs="*", default=[], help="signals to ignore")
parser.add_argument("--name", default="server")
parser.add_argument("--journal", help="a file to which NAME EVENT is appended")
parser.add_argument("--daemon", action="store_true", help="leave by a double fork")
options = parser.parse_args()


def note(event):
    if options.journal:
        with open(options.journal, "a") as journal:
            journal.write(f"{options.name} {event}\n")


def end(number, _frame):
    note(signal.Signals(number).name)
    print("ending", flush=True)
    os._exit(0)


def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.002)


if options.daemon:
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)

for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN if number.name in options.ignore else end)
note("started")
print(f"{options.name} starts", flush=True)
if options.when:
    wait_for(options.when)

family = socket.AF_INET6 if ":" in options.address else socket.AF_INET
listener = socket.socket(family)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if family == socket.AF_INET6:
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, options.v6_only)
listener.bind((options.address, options.port))
listener.listen()
note("listens")
for piece in options.say:
    sys.stdout.write(piece.replace("\\n", "\n"))
    sys.stdout.flush()
    time.sleep(0.05)  # so that each piece is a write of its own

answers = options.answers.split(",")
open_connections = []
while True:
    connection, _ = listener.accept()
    note("asked")
    answer = answers.pop(0) if len(answers) > 1 else answers[0]
    if answer == "none":
        open_connections.append(connection)
        continue
    connection.recv(4096)
    garbage = b"\x00SSH-2.0 is not HTTP\r\n\r\n"
    reply = f"HTTP/1.1 {answer} Said\r\nContent-Length: 0\r\n\r\n".encode()
    connection.sendall(garbage if answer == "garbage" else reply)
    connection.close()
