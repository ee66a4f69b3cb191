"""A mail server that a careless fixture starts. It accepts connections and says nothing."""

import socket
import time

listener = socket.create_server(("127.0.0.1", 1025))
print("listening", flush=True)
time.sleep(3600)
