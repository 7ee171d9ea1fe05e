"""A gateway on worker threads beside a threaded program."""

import urllib.request

from config import proxy_to
from upstream import start

import meshcore


def main() -> None:
    _, port = start()
    gateway = meshcore.Gateway(proxy_to(port), workers=2)
    gateway.start()
    try:
        host, listening = gateway.listeners["main"]
        for path in ("/a", "/b"):
            with urllib.request.urlopen(f"http://{host}:{listening}{path}") as response:
                print(response.status, response.read().decode().strip())
        print("requests:", gateway.stats.counter("http.example.downstream_rq_total").value)
    finally:
        gateway.drain(5)
        gateway.stop()


if __name__ == "__main__":
    main()
