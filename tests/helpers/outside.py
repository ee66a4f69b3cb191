"""The world outside of a host: one address each for IPv4 and IPv6, a web server, and a server for names.

Start it in a network namespace of its own. It waits for a line on its input before it configures the interface
"outside", and says so when it is ready.
"""

import http.server
import socket
import struct
import subprocess
import sys
import threading

V4, V6 = "10.9.0.2", "fd09::2"


def main():
    print("waiting", flush=True)
    sys.stdin.readline()
    for words in (
        "link set lo up",
        f"address add {V4}/24 dev outside",
        f"-6 address add {V6}/64 dev outside nodad",
        "link set outside up",
    ):
        subprocess.run(["ip", *words.split()], check=True)
    web = Web(("::", 8000), Answer)
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind((V4, 53))
    threading.Thread(target=answer_names, args=[names], daemon=True).start()
    print("ready", flush=True)
    web.serve_forever()


class Web(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"outside\n")

    def log_message(self, *_):
        pass


def answer_names(names):
    """Every name is this server's."""
    while True:
        question, asker = names.recvfrom(512)
        end = 12
        while question[end]:
            end += question[end] + 1
        (kind,) = struct.unpack(">H", question[end + 1 : end + 3])
        address = {1: (socket.AF_INET, V4), 28: (socket.AF_INET6, V6)}.get(kind)
        answers = b""
        if address:
            data = socket.inet_pton(*address)
            answers = b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(data)) + data
        counts = struct.pack(">HHHH", 1, 1 if answers else 0, 0, 0)
        names.sendto(question[:2] + b"\x81\x80" + counts + question[12 : end + 5] + answers, asker)


main()
