"""The shop of the examples: a price list over HTTP."""

import http.server
import json
import sys

PRICES = {"tea": 450, "coffee": 620}


class Shop(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"status": "ok"} if self.path == "/health" else PRICES).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)


port = int(sys.argv[1])
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Shop)
print(f"listening on 127.0.0.1:{port}", flush=True)
server.serve_forever()
