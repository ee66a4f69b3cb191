"""bench_server.py PORT SECONDS FILE: listens after this time, notes in a file when, and answers each request."""

import socket
import sys
import time

port, seconds, stamp = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("127.0.0.1", port))
with open(stamp, "w") as file:
    time.sleep(seconds)
    now = time.time_ns()
    server.listen()
    file.write(str(now))
while True:
    client, _ = server.accept()
    client.recv(4096)
    client.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
    client.close()
