"""client.py PORT FILE: connects, creates the file, and stays connected until it is killed."""

import signal
import socket
import sys

port, connected = sys.argv[1:]
connection = socket.create_connection(("127.0.0.1", int(port)))
open(connected, "w").close()
connection.recv(4096)
signal.pause()
