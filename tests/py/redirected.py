"""What is asked of both programs in a network of its own, where the kernel redirects connections.

Run by test_original_dst.py under ``unshare -n``; writes one JSON object: each program's answers."""

from __future__ import annotations

import http.client
import http.server
import json
import subprocess
import sys
import threading
from typing import Any

import bootstraps
import peers

import meshcore

TYPES = "type.googleapis.com/envoy.extensions."
FRONT, ORIGIN = 15001, 9000
RULE = "iptables -t nat -A OUTPUT -p tcp -d {} --dport 8000:8099 -j REDIRECT --to-ports 15001"
LOCALS = {
    "x-local": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "x-direct": "%DOWNSTREAM_DIRECT_LOCAL_ADDRESS%",
    "x-scheme": "%REQ(:SCHEME)% %REQ(X-FORWARDED-PROTO)%",
}


def listener(name: str, address: str, port: int, route: dict[str, Any], **more: Any) -> Any:
    routes = bootstraps.routing(
        [{"match": {"prefix": "/"}, **route}],
        response_headers_to_add=[
            {"header": {"key": key, "value": value}} for key, value in LOCALS.items()
        ],
    )
    ports = {"https_destination_ports": [8001, 15001]}
    manager = bootstraps.manager(routes, stat_prefix=name, forward_proto_config=ports)
    return bootstraps.listener(manager, port, host=address, name=name, **more)


def said(text: str) -> dict[str, Any]:
    return {"direct_response": {"status": 200, "body": {"inline_string": text}}}


def config(hands_over: bool) -> dict[str, Any]:
    there = {"route": {"cluster": "there"}}
    dst = {"@type": TYPES + "filters.listener.original_dst.v3.OriginalDst"}
    filters = [{"name": "envoy.filters.listener.original_dst", "typed_config": dst}]
    own = {"use_original_dst": True} if hands_over else {"listener_filters": filters}
    return {
        "static_resources": {
            "listeners": [
                listener("front", "0.0.0.0", FRONT, there, **own),
                listener("exact", "127.0.0.2", 8001, said("exact"), bind_to_port=False),
                listener("any", "0.0.0.0", 8001, said("any"), bind_to_port=False),
            ],
            "clusters": [
                {
                    "name": "there",
                    "type": "ORIGINAL_DST",
                    "lb_policy": "CLUSTER_PROVIDED",
                    "original_dst_lb_config": {"upstream_port_override": ORIGIN},
                }
            ],
        },
    }


def ask(address: str, port: int) -> list[str]:
    connection = http.client.HTTPConnection(address, port, timeout=30)
    try:
        connection.request("GET", "/")
        reply = connection.getresponse()
        body = reply.read().decode()
        return [str(reply.status), body, *(reply.headers.get(name, "") for name in LOCALS)]
    finally:
        connection.close()


def answers() -> list[list[str]]:
    places = [("127.0.0.2", 8000), ("127.0.0.2", 8001), ("127.0.0.3", 8001), ("127.0.0.2", FRONT)]
    return [ask(*place) for place in places]


class Origin(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "6")
        self.end_headers()
        self.wfile.write(b"origin")

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in ("127.0.0.2", "127.0.0.3"):
        subprocess.run(RULE.format(address).split(), check=True)
    seen: dict[str, Any] = {"ours": [], "envoys": []}
    origin = http.server.ThreadingHTTPServer(("127.0.0.2", ORIGIN), Origin)
    threading.Thread(target=origin.serve_forever, daemon=True).start()
    for hands_over in (False, True):
        with meshcore.Gateway(config(hands_over), workers=1):
            seen["ours"].append(answers())
        with peers.envoy(config(hands_over), port=FRONT):
            seen["envoys"].append(answers())
    json.dump(seen, sys.stdout)


if __name__ == "__main__":
    main()
