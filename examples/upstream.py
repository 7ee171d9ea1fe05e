"""An upstream for the examples and the demo: answers every request with its name and the path."""

from __future__ import annotations

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    name = "upstream"

    def do_GET(self) -> None:
        body = f"{self.name} {self.path}\n".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def start(name: str = "upstream", port: int = 0) -> tuple[ThreadingHTTPServer, int]:
    """Serves on a thread of its own; the server and its port."""
    handler = type("Named", (Handler,), {"name": name})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, server.server_address[1]


if __name__ == "__main__":
    ThreadingHTTPServer(
        ("127.0.0.1", int(sys.argv[2])), type("Named", (Handler,), {"name": sys.argv[1]})
    ).serve_forever()
