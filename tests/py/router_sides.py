"""For comparing the router with real Envoy's: the same configuration, the same requests, and
upstreams that fail by a script the request carries. Compared are the answers, what each upstream
received, try by try, what was counted, and the access log."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Any

import peers
from clients import TIMEOUT_S, Connection, Reply
from upstreams import Behaviour, Exchange, Upstream
from waiting import wait_until

HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "envoy.extensions.filters.http.router.v3.Router"

VOLATILE = {
    "date": "a date",
    "x-envoy-upstream-service-time": "some ms",
    "x-request-id": "an id",
}
# Counters that both have, moved by the request itself.
COUNTED = re.compile(
    r"cluster\.\w+\.(upstream_rq_|retry|internal\.|external\.|canary\.|zone\.|other\.|a\.b\."
    r"|upstream_internal_redirect|upstream_cx_none_healthy|rbac\.|cluster\.\w+admission)|admission|vhost\.|rbac\.|http\.in\.(rq_|no_|passthrough|downstream_rq_\dxx)"
)
# Moved by the connections of before, or by what is still on its way.
UNSTEADY = re.compile(
    r"pending|_active|cancelled|upstream_rq_(rx|tx)_reset|_time|_total$|_open|budget"
)
FLUSH = ("--file-flush-interval-msec", "50")
# How long nothing may move until it is taken for settled, try by try.
PATIENCE_S = (0.03, 0.2, 1.0)


# --- upstreams ------------------------------------------------------------------------------------


def script_of(target: str) -> list[str]:
    """`/route/a,b,c?q`: what the first, second and every later try meets."""
    return target.split("?")[0].rsplit("/", 1)[-1].split(",")


def target_of(value: str) -> str:
    """A header's value out of a script, which has meanings for `/`, `,` and `+` of its own."""
    for coded, meant in (("|", "/"), ("^", "|"), ("~", "+"), ("%2C", ",")):
        value = value.replace(coded, meant)
    return value


async def scripted(exchange: Exchange) -> None:
    upstream = exchange.upstream
    steps = script_of(exchange.request.target)
    step = steps[min(len(upstream.requests), len(steps)) - 1]
    kind, *extras = step.split("+")
    pairs = (extra.partition("=") for extra in extras)
    headers = [(name, target_of(value)) for name, _, value in pairs]
    if kind == "early":
        await exchange.head(200, [("content-length", "2"), *headers])
        await exchange.write(b"ok")
        exchange.writer.close()
        return
    await exchange.read_body()
    if kind == "reset":
        exchange.reset()
    elif kind == "drop":
        exchange.writer.close()
    elif kind == "hang":
        await exchange.reader.read(1)
        exchange.writer.close()
    elif kind == "garbage":
        await exchange.write(b"nonsense\r\n\r\n")
        exchange.writer.close()
    elif kind == "half":
        await exchange.write(b"HTTP/1.1 200 OK\r\ncontent-le")
        exchange.writer.close()
    elif kind == "part":
        await exchange.head(200, [("content-length", "10"), *headers])
        await exchange.write(b"abc")
        await asyncio.sleep(0.05)
        exchange.reset()
    elif kind == "stuck":
        await exchange.head(200, [("content-length", "10"), *headers])
        await exchange.write(b"abc")
        await exchange.reader.read(1)
        exchange.writer.close()
    elif kind == "hints":
        await exchange.write(b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n")
        await asyncio.sleep(0.02)
        await answer(exchange, 503, headers)
    elif kind.startswith("slow"):
        await asyncio.sleep(0.25)
        await answer(exchange, int(kind[4:] or 200), headers)
    else:
        await answer(exchange, int(kind), headers)


async def answer(exchange: Exchange, status: int, headers: list[tuple[str, str]]) -> None:
    body = b"" if status in (204, 304) else b"%d" % status
    length = [] if status in (204, 304) else [("content-length", str(len(body)))]
    await exchange.head(status, [*length, *headers])
    if exchange.request.method != "HEAD":
        await exchange.write(body)


# --- configurations -------------------------------------------------------------------------------


LOGGED = (
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %UPSTREAM_REQUEST_ATTEMPT_COUNT%"
    " %UPSTREAM_CLUSTER% %ROUTE_NAME% %VIRTUAL_CLUSTER_NAME% %REQ(:METHOD)% %REQ(:PATH)%"
)
ACCESS_LOG = f"""\
          access_log:
          - name: file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: $directory/access
              log_format: {{text_format_source: {{inline_string: "{LOGGED}\\n"}}}}
"""


def address(port: str | int) -> str:
    return f"{{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}"


def cluster(name: str, *ports: str, more: str = "") -> str:
    endpoints = ", ".join(f"{{endpoint: {{address: {address(port)}}}}}" for port in ports)
    return (
        f"  - {{name: {name}, type: STATIC, connect_timeout: 0.5s, {more} load_assignment:"
        f" {{cluster_name: {name}, endpoints: [{{lb_endpoints: [{endpoints}]}}]}},"
        # difference: idle-close-race
        f" common_http_protocol_options: {{max_requests_per_connection: 1}}}}\n"
    )


def config(
    routes: list[str],
    *,
    manager: str = "",
    router: str = "",
    host: str = "",
    clusters: str = "",
    top: str = "",
) -> str:
    return (
        f"{top}admin: {{address: {address('$admin_port')}}}\n"
        f"static_resources:\n  listeners:\n  - name: main\n    address: {address('$port')}\n"
        "    filter_chains:\n    - filters:\n      - name: hcm\n        typed_config:\n"
        f'          "@type": type.googleapis.com/{HCM}\n          stat_prefix: in\n'
        f"          delayed_close_timeout: 0.05s\n{manager}{ACCESS_LOG}"
        "          route_config:\n            virtual_hosts:\n            - name: all\n"
        f'              domains: ["*"]\n{host}              routes:\n'
        + "".join(f"              - {route}\n" for route in routes)
        + "          http_filters:\n          - name: router\n            typed_config:\n"
        f'              "@type": type.googleapis.com/{ROUTER}\n{router}  clusters:\n'
        + cluster("web", "$web")
        + cluster("mirror", "$mirror")
        + cluster("refused", "1")
        + cluster("nohost")
        + clusters
    )


INTERNAL = "          use_remote_address: true\n          internal_address_config: {}\n"
BACKOFF = "retry_back_off: {base_interval: 0.001s, max_interval: 0.002s}"


def route(name: str, action: str, *, more: str = "") -> str:
    to = "" if re.search(r"^cluster: ", action) else "cluster: web, "
    return f"{{name: {name}, match: {{prefix: /{name}/}}, route: {{{to}{action}}}{more}}}"


# --- asking ---------------------------------------------------------------------------------------


class Side:
    """One server, with upstreams of its own."""

    def __init__(self, server: peers.Server, upstreams: dict[str, Upstream]) -> None:
        self.server = server
        self.upstreams = upstreams

    def stats(self) -> dict[str, int]:
        url = f"http://127.0.0.1:{self.server.admin_port}/stats?usedonly"
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
            lines = response.read().decode().splitlines()
        found = {}
        for line in lines:
            name, _, value = line.rpartition(": ")
            if COUNTED.match(name) and not UNSTEADY.search(name) and value.isdigit():
                found[name] = int(value)
        return found

    def hosts(self) -> dict[str, int]:
        """What the hosts of each cluster count together of the requests to them."""
        url = f"http://127.0.0.1:{self.server.admin_port}/clusters?format=json"
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
            clusters = json.load(response)["cluster_statuses"]
        found: dict[str, int] = {}
        for cluster in clusters:
            for host in cluster.get("host_statuses", []):
                for stat in host["stats"]:
                    if stat["name"] in ("rq_error", "rq_success", "rq_timeout", "rq_total"):
                        name = f"{cluster['name']}.{stat['name']}"
                        found[name] = found.get(name, 0) + int(stat.get("value", 0))
        return found

    def ask(self, data: bytes, settle_s: float = PATIENCE_S[0]) -> dict[str, Any]:
        """The answer to one request, what the upstreams got, and what was counted."""
        for upstream in self.upstreams.values():
            upstream.requests.clear()
        before, hosts = self.stats(), self.hosts()
        method = data.split(b" ", 1)[0].decode()
        out: dict[str, Any] = {}
        with Connection(self.server.port, timeout=1.5) as connection:
            connection.send(data.replace(b"PORT", str(self.server.port).encode()))
            try:
                reply = connection.reply(method, out.setdefault("interim", []))
                out["reply"] = self.comparable(reply)
            except (EOFError, OSError) as error:
                out["reply"] = type(error).__name__
        out["counted"], out["received"] = self.settled(before, settle_s)
        after = self.hosts()
        out["hosts"] = {name: after[name] - value for name, value in hosts.items()}
        return out

    def log(self) -> list[str]:
        """The access log; ends the server, which then writes all of it."""
        self.server.terminate()
        lines = (self.server.directory / "access").read_text(errors="replace").splitlines()
        return [self.hide(line) for line in lines]

    def settled(
        self, before: dict[str, int], settle_s: float
    ) -> tuple[dict[str, int], dict[str, Any]]:
        """When nothing has moved for a time."""
        last: Any = None

        def lasting() -> Any:
            nonlocal last
            counted = {
                name: value - before.get(name, 0)
                for name, value in self.stats().items()
                if value != before.get(name, 0)
            }
            state = (counted, {name: len(u.requests) for name, u in self.upstreams.items()})
            before_that, last = last, state
            return state if state == before_that else None

        counted, _ = wait_until(lasting, every_s=settle_s)
        received = {
            name: [self.request(request, index) for index, request in enumerate(upstream.requests)]
            for name, upstream in self.upstreams.items()
        }
        return counted, received

    def hide(self, value: str) -> str:
        ports = {"PORT": self.server.port} | {n: u.port for n, u in self.upstreams.items()}
        for name, port in ports.items():
            value = value.replace(str(port), name)
        return value

    def comparable(self, reply: Reply) -> dict[str, Any]:
        return {
            "status": reply.status,
            "headers": sorted((n, VOLATILE.get(n, self.hide(v))) for n, v in reply.headers),
            "body": reply.body.decode("latin-1"),
        }

    def request(self, request: Any, index: int) -> dict[str, Any]:
        def value(name: str, text: str) -> str:
            if name in ("x-envoy-expected-rq-timeout-ms", "grpc-timeout") and index > 0:
                return "less"  # what is left depends on the time that passed
            return VOLATILE.get(name, self.hide(text))

        return {
            "line": f"{request.method} {request.target}",
            "headers": sorted((n, value(n, v)) for n, v in request.headers),
            "body": bytes(request.body).decode("latin-1"),
            "trailers": request.trailers,
        }


Pair = Callable[..., tuple[Side, Side]]


def pair_of(
    meshcore_server: Callable[..., peers.Server],
    envoy: Callable[..., peers.Server],
    upstream: Callable[[Behaviour], Upstream],
) -> Pair:
    """`ours, theirs = pair(routes, **options)`, the options being those of `config`; `behaviour`
    takes the place of the script. With `same_ports` both sides have the same upstreams, and are
    asked one after the other."""

    def start(
        routes: list[str],
        *,
        behaviour: Behaviour = scripted,
        same_ports: bool = False,
        **options: str,
    ) -> tuple[Side, Side]:
        text = config(routes, **options)

        def upstreams() -> dict[str, Upstream]:
            return {name: upstream(behaviour) for name in ("web", "mirror")}

        mine = upstreams()
        theirs = mine if same_ports else upstreams()
        return (
            Side(meshcore_server(text, **ports_of(mine)), mine),
            Side(envoy(text, args=FLUSH, **ports_of(theirs)), theirs),
        )

    return start


def ports_of(upstreams: dict[str, Upstream]) -> dict[str, int]:
    return {name: upstream.port for name, upstream in upstreams.items()}


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"{line} HTTP/1.1", "Host: a.com", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "".join(f"{item}\r\n" for item in lines).encode("latin-1") + b"\r\n" + body


def differences(pair: tuple[Side, Side], cases: list[bytes]) -> tuple[list[str], bool]:
    """What differs, and whether everything agreed when first asked.

    A busy machine can make a limit of time expire early or late, and what is counted late come
    later still: what differs is asked again, with more patience.
    """
    found, steady = [], True
    at_once = 1 if pair[0].upstreams is pair[1].upstreams else 2
    with ThreadPoolExecutor(at_once) as threads:
        for data in cases:
            for settle_s in PATIENCE_S:
                mine, envoys = threads.map(Side.ask, pair, repeat(data), repeat(settle_s))
                if mine == envoys:
                    break
                steady = False
            else:
                parts = [
                    f"    {part}:\n      ours  {mine.get(part)}\n      Envoy {envoys.get(part)}"
                    for part in sorted({*mine, *envoys})
                    if mine.get(part) != envoys.get(part)
                ]
                found.append(f"{data[:200]!r}\n" + "\n".join(parts) + "\n")
    return found, steady


def check(pair: tuple[Side, Side], cases: list[bytes]) -> None:
    found, steady = differences(pair, cases)
    if steady:
        ours, theirs = (side.log() for side in pair)
        found += [f"ours  {a}\nEnvoy {b}\n" for a, b in zip(ours, theirs, strict=False) if a != b]
        found += [f"ours  {len(ours)} lines\nEnvoy {len(theirs)}\n"] * (len(ours) != len(theirs))
    assert not found, f"{len(found)} of {len(cases)} differ\n" + "\n".join(found[:12])
