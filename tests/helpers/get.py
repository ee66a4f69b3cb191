"""get.py PORT [PATH]: prints the response of a server on the loopback interface; fails unless it is a 200."""

import http.client
import sys

port, path = int(sys.argv[1]), (sys.argv[2:] or ["/"])[0]
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
connection.request("GET", path)
response = connection.getresponse()
sys.stdout.write(response.read().decode())
sys.exit(response.status != 200)
