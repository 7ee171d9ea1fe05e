"""The shortest way: an Envoy YAML file, served while a block runs."""

import json
import tempfile
import urllib.request
from pathlib import Path

from config import proxy_to
from upstream import start

import meshcore


def main() -> None:
    _, port = start()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "envoy.json"
        path.write_text(json.dumps(proxy_to(port)))
        with meshcore.Gateway.from_file(path, workers=1) as gateway:
            host, listening = gateway.listeners["main"]
            with urllib.request.urlopen(f"http://{host}:{listening}/hello") as response:
                print(response.status, response.read().decode().strip())


if __name__ == "__main__":
    main()
