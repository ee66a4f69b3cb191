"""answers.py PORT ADDRESS ANSWER...: sends these bytes (with Python's escapes) as they are, one answer for each connection; the
last one for all that follow. `sleep:SECONDS:BYTES` waits first."""

import ast
import socket
import sys
import time

port, address, *answers = sys.argv[1:]
listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((address, int(port)))
listener.listen()
while True:
    connection, _ = listener.accept()
    with connection:
        connection.recv(4096)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer.startswith("sleep:"):
            _, seconds, answer = answer.split(":", 2)
            time.sleep(float(seconds))
        try:
            for piece in answer.split("|"):
                connection.sendall(ast.literal_eval(f"b'{piece}'"))
                time.sleep(0.02)
        except BrokenPipeError:
            pass
