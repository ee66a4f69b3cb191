"""edit_until.py PORT TEXT FILE LINE: appends the line to the file until the server answers with the text.

Once is not enough: a reloader sees no edit that was made before its first look at the file.
"""

import http.client
import pathlib
import sys
import time

port, wanted, file, line = int(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3]), sys.argv[4]
begin = edited = time.monotonic()
answer = None
while answer != wanted:
    now = time.monotonic()
    if now > begin + 60:
        sys.exit(f"it still answers {answer!r}")
    if answer is None or now > edited + 2:
        edited = now
        with file.open("a") as source:
            source.write(line + "\n")
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/")
        answer = connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException):
        pass  # between the old worker and the new one
    time.sleep(0.01)
