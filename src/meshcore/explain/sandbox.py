"""A gateway on loopback that a request is sent through; all its clusters lead to a catcher."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import Any

from meshcore.config import load
from meshcore.explain.listener import manager_of
from meshcore.explain.request import SPECIFIERS, Document, ExplainError, HeaderList, Request
from meshcore.explain.table import Table
from meshcore.explain.upstream import hosts_of
from meshcore.filters import Response, http_filter
from meshcore.http import parse_url

__all__ = ["Passage", "sandboxed", "through"]

PROBE = "meshcore.explain"
PROBE_TYPE = "type.googleapis.com/meshcore.PythonFilter"
ANSWER_WITHIN_S = 10
# Which manager options would reach outside, or need what a sandbox has not.
_DROPPED = ("access_log", "access_log_options", "tracing")


@dataclass
class Passage:
    """What one request left behind in the sandbox."""

    headers: HeaderList | None = None  # as the first filter saw them
    remote_address: str = ""
    sent: Document | None = None  # as the upstream received it
    response: Document | None = None


def sandboxed(
    document: Document,
    listener: Document,
    table: Table | None = None,
    nowhere: tuple[str, ...] = (),
) -> Document:
    """The bootstrap with one plain listener, a probe as its first filter, and nothing outside.

    With `table`, its route alone is left, so that chance does not choose another. Clusters of
    `nowhere` have no host.
    """
    chain, manager = manager_of(listener)
    probe = {"name": PROBE, "typed_config": {"@type": PROBE_TYPE, "name": PROBE}}
    places = ("route_config", "scoped_routes")
    routes = {k: manager[k] for k in places if k in manager}
    routes = routes if table is None else {"route_config": _narrowed(table)}
    dropped = (*_DROPPED, *places)
    plain = {k: v for k, v in manager.items() if k not in dropped} | {
        "codec_type": "HTTP1",
        **_without_mirrors(routes),
        "http_filters": [probe, *manager.get("http_filters", ())],
    }
    network = {"name": "hcm", "typed_config": plain}
    resources = document.get("static_resources", {})
    kept = ("node", "layered_runtime")
    return {
        **{k: document[k] for k in kept if k in document},
        "static_resources": {
            "listeners": [
                {
                    "name": "explain",
                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
                    "filter_chains": [{"name": chain.get("name", ""), "filters": [network]}],
                }
            ],
            "clusters": [
                _caught(cluster) | ({"load_assignment": None} if name in nowhere else {})
                for cluster in resources.get("clusters", ())
                for name in (cluster.get("name", ""),)
            ],
        },
    }


def _caught(cluster: Document) -> Document:
    """A cluster of the same name whose one host is the catcher; its port is put in later."""
    hosts = hosts_of(cluster)
    return {
        "name": cluster.get("name", ""),
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": cluster.get("name", ""),
            "endpoints": [
                {
                    "lb_endpoints": [
                        {
                            "endpoint": {
                                "address": {
                                    "socket_address": {"address": "127.0.0.1", "port_value": 1}
                                },
                                "hostname": _hostname(cluster, hosts),
                            }
                        }
                    ]
                }
            ],
        },
    }


def _hostname(cluster: Document, hosts: list[tuple[str, int]]) -> str:
    """What auto_host_rewrite would write: the first endpoint's name."""
    for locality in cluster.get("load_assignment", {}).get("endpoints", ()):
        for one in locality.get("lb_endpoints", ()):
            if name := one.get("endpoint", {}).get("hostname", ""):
                return str(name)
    dns = cluster.get("type") in ("STRICT_DNS", "LOGICAL_DNS")
    return hosts[0][0].rpartition(":")[0] if dns and hosts else ""


def _without_mirrors(value: Any) -> Any:
    """A copy of the request would reach the catcher too."""
    if isinstance(value, dict):
        return {k: _without_mirrors(v) for k, v in value.items() if k != "request_mirror_policies"}
    return [_without_mirrors(item) for item in value] if isinstance(value, list) else value


def _narrowed(table: Table) -> Document:
    """The route configuration with the matched route alone, of its conditions only the path's."""
    assert table.host is not None
    entry = json.loads(json.dumps(table.entry))
    kept = (*SPECIFIERS, "case_sensitive")
    entry["match"] = {k: v for k, v in entry["match"].items() if k in kept}
    weighted = entry.get("route", {}).get("weighted_clusters")
    if weighted and table.route is not None:
        same = [c for c in weighted["clusters"] if c.get("name") == table.route.cluster]
        weighted["clusters"] = same or weighted["clusters"]
        weighted.pop("header_name", None)
    host = {**table.hosts[table.host], "domains": ["*"], "routes": [entry]}
    host.pop("require_tls", None)
    return {**table.config, "virtual_hosts": [host]}


async def through(
    document: Document,
    request: Request,
    secure: bool,
    *,
    stop_at_probe: bool,
    request_id: str | None = None,
) -> Passage:
    """Send the request through a gateway with this bootstrap, under an id that it has already."""
    from meshcore.gateway import Gateway

    passage = Passage()

    def probe(seen: Any) -> Response | None:
        if secure:  # the sandbox speaks no TLS, the listener would
            seen.headers[":scheme"] = "https"
            if seen.headers.get("x-forwarded-proto") == "http":
                seen.headers["x-forwarded-proto"] = "https"
        if request_id is not None:
            seen.headers["x-request-id"] = request_id
        if passage.headers is None:
            passage.headers = seen.headers.entries()
            passage.remote_address = seen.remote_address
        return Response(200) if stop_at_probe else None

    async with _catcher(passage) as port:
        for cluster in document["static_resources"]["clusters"]:
            if (assignment := cluster["load_assignment"]) is not None:
                endpoint = assignment["endpoints"][0]["lb_endpoints"][0]["endpoint"]
                endpoint["address"]["socket_address"]["port_value"] = port
        http_filter(PROBE)(probe)
        gateway = Gateway(load(document, check_support=False), workers=0)
        serving = asyncio.ensure_future(gateway.serve())
        try:
            while not gateway.running and not serving.done():
                await asyncio.sleep(0)
            if serving.done():
                await serving
            async with asyncio.timeout(ANSWER_WITHIN_S):
                passage.response = await _ask(*gateway.listeners["explain"], request)
        except TimeoutError:
            raise ExplainError(f"no answer within {ANSWER_WITHIN_S} s") from None
        finally:
            gateway.stop()
            await serving
    return passage


@contextlib.asynccontextmanager
async def _catcher(passage: Passage) -> Any:
    """A server that keeps the head of the first request and answers 200."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            start, headers = _head(await reader.readuntil(b"\r\n\r\n"))
            method, target, _ = start.split(" ", 2)
            if passage.sent is None:
                passage.sent = {"method": method, "target": target, "headers": headers}
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def _head(octets: bytes) -> tuple[str, HeaderList]:
    lines = octets.decode("latin-1").split("\r\n")
    fields = [line.partition(":") for line in lines[1:] if line]
    return lines[0], [(name.lower(), value.strip()) for name, _, value in fields]


async def _ask(host: str, port: int, request: Request) -> Document:
    url = parse_url(request.url)
    target = url.host_and_port if request.method == "CONNECT" else url.path_and_query
    names = {name.lower() for name, _ in request.headers}
    lines = [f"{request.method} {target} HTTP/1.1"]
    if "host" not in names:
        lines.append(f"host: {url.host_and_port}")
    lines += [f"{name}: {value}" for name, value in request.headers if not name.startswith(":")]
    if request.method in ("POST", "PUT", "PATCH") and not names & {
        "content-length",
        "transfer-encoding",
    }:
        lines.append("content-length: 0")
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        start, headers = _head(await reader.readuntil(b"\r\n\r\n"))
    except asyncio.IncompleteReadError:
        return {"status": 0, "headers": []}
    finally:
        writer.close()
    return {"status": int(start.split(" ")[1]), "headers": headers}
