"""The way that one request takes through a configuration, and why it takes no other.

Nothing here decides anything. The request is sent through a gateway of its own on loopback, whose
clusters all lead to a catcher: so the headers that routing sees, and those that an upstream
receives, are those of the data plane. Which virtual host and which route are asked of the compiled
route table, under names that tell where each stands; and a route's conditions are asked one by
one, each as a table with that condition alone. `meshcore explain` prints the result.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from meshcore._core import route as _route
from meshcore.balancing import LoadBalancer
from meshcore.config import Config, load
from meshcore.discovery.rds import with_routes
from meshcore.errors import ConfigError, MeshcoreError
from meshcore.filters import Response, http_filter
from meshcore.http import parse_url
from meshcore.routing import Route
from meshcore.tracing import runtime_values

__all__ = ["Explanation", "Request", "explain", "render"]

Document = dict[str, Any]
HeaderList = list[tuple[str, str]]

PROBE = "meshcore.explain"
SCOPE = "x-scope-of-the-request"
PROBE_TYPE = "type.googleapis.com/meshcore.PythonFilter"
HCM = "HttpConnectionManager"
NO_HOST = "no host of the cluster can be chosen"
ANSWER_WITHIN_S = 10
SPECIFIERS = (
    "prefix",
    "path",
    "path_separated_prefix",
    "safe_regex",
    "path_match_policy",
    "connect_matcher",
)


# What of a cluster says which hosts are asked at all.
TAKING_TURNS = (
    "name",
    "type",
    "load_assignment",
    "lb_subset_config",
)
MOST_TURNS = 40_000


class ExplainError(MeshcoreError):
    """A request or configuration of which nothing can be said."""


@dataclass(frozen=True)
class Request:
    """A request as it is asked about: a method, an absolute URL, and headers."""

    method: str
    url: str
    headers: HeaderList = field(default_factory=list)
    random_value: int = 0

    @classmethod
    def parse(cls, text: str, headers: HeaderList, random_value: int = 0) -> Request:
        """From ``GET https://host/path``; a URL alone is a GET."""
        method, _, url = text.strip().rpartition(" ")
        if not method.isascii() or "://" not in url:
            raise ExplainError(f"--request must be 'METHOD scheme://host/path', not {text!r}")
        return cls(method.strip() or "GET", url, headers, random_value)


# What each step found, as JSON values; see docs/explain.md for the fields.
Explanation = dict[str, Any]


def explain(config: Config, request: Request, listener: str | None = None) -> Explanation:
    """Follow a request through a bootstrap; `listener` names where it arrives."""
    return asyncio.run(_explain(config, request, listener))


async def _explain(config: Config, request: Request, listener: str | None) -> Explanation:
    try:
        url = parse_url(request.url)
    except ValueError:
        raise ExplainError(f"not a URL with scheme and host: {request.url!r}") from None
    document = with_routes(config.document)
    found, why, passed = _choose_listener(document, url.port, listener)
    chain, manager = _manager_of(found)
    result: Explanation = {
        "request": {"method": request.method, "url": request.url, "headers": request.headers},
        "listener": {
            "name": found.get("name", ""),
            "address": _address(found.get("address", {})),
            "reason": why,
            "passed_over": passed,
        },
        "filter_chain": {"index": 0, "name": chain.get("name", ""), "reason": "the only one"},
        "http_filters": [entry.get("name", "") for entry in manager.get("http_filters", ())],
    }
    secure = url.scheme == "https"
    seen = await _through(_sandbox(document, found), request, secure, stop_at_probe=True)
    if seen.headers is None:
        result["response"] = seen.response
        return result
    headers = seen.headers
    result["routed_as"] = headers
    scope, table = await _routes_of(document, found, request)
    result |= {"scope": scope} if scope is not None else {}
    result["route_config"] = table.get("name", "")
    context = {"downstream_remote_address": (seen.remote_address, 0)}
    routes = _Table(
        table,
        headers,
        request.random_value,
        context,
        runtime_values(document),
    )
    result |= routes.explanation()
    if routes.route is None:
        last = await _through(_sandbox(document, found), request, secure, stop_at_probe=False)
        return result | {"response": last.response}
    if "tls_redirect" in result:
        result["response"] = {"status": 301, "location": routes.route.redirect(headers)}
        return result
    result |= _upstream_of(document, routes, headers)
    nowhere = () if result.get("host", {}).get("reason") != NO_HOST else (routes.route.cluster,)
    narrowed = _sandbox(document, found, None if routes.is_tree else routes, nowhere)
    last = await _through(narrowed, request, secure, stop_at_probe=False)
    result["sent"], result["response"] = last.sent, None if last.sent else last.response
    return result


# --- where it arrives -----------------------------------------------------------------------------


def _choose_listener(
    document: Document, port: int, name: str | None
) -> tuple[Document, str, list[Document]]:
    """The listener, why, and the others with why not."""
    listeners = document.get("static_resources", {}).get("listeners", [])
    if not listeners:
        raise ExplainError("the configuration has no listener")

    def others(chosen: Document, reason: str) -> list[Document]:
        rest = (one for one in listeners if one is not chosen)
        return [{"name": one.get("name", ""), "reason": reason} for one in rest]

    if name is not None:
        for one in listeners:
            if one.get("name", "") == name:
                return one, "named by --listener", others(one, "another is named by --listener")
        raise ExplainError(f"the configuration has no listener {name!r}")
    if len(listeners) == 1:
        return listeners[0], "the only one", []
    for one in listeners:
        if one.get("address", {}).get("socket_address", {}).get("port_value") == port:
            return one, f"its port is {port}", others(one, f"its port is not {port}")
    return (
        listeners[0],
        "the first; none has the port of the URL",
        others(listeners[0], "not first"),
    )


def _address(address: Document) -> str:
    socket = address.get("socket_address", {})
    return f"{socket.get('address', '')}:{socket.get('port_value', 0)}" if socket else "(pipe)"


def _manager_of(listener: Document) -> tuple[Document, Document]:
    for chain in listener.get("filter_chains", ()):
        for network in chain.get("filters", ()):
            typed = network.get("typed_config", {})
            if typed.get("@type", "").endswith(HCM):
                return chain, typed
    raise ExplainError(f"the listener {listener.get('name', '')!r} serves no HTTP")


# --- the route table, asked -----------------------------------------------------------------------


class _Table:
    """What the compiled table says of the headers, and which entry of the configuration it is."""

    def __init__(
        self,
        config: Document,
        headers: HeaderList,
        random_value: int,
        context: Document,
        runtime: Document,
    ) -> None:
        self.config = config
        self.context = context
        self.runtime = runtime
        self.headers = headers
        self.random_value = random_value
        self.hosts: list[Document] = config.get("virtual_hosts", [])
        self.route = self._match(self.hosts)
        self.host, self.domain = self._host()
        self.index = self._index()

    def _match(self, hosts: list[Document]) -> Route | None:
        encoded = json.dumps({**self.config, "virtual_hosts": hosts}).encode()
        table = _route.RouteTable(encoded)
        return table.match(self.headers, self.random_value, self.context, self.runtime)

    def _host(self) -> tuple[int | None, str]:
        """Each domain as a virtual host of its own that takes everything: which one answers?"""
        everything = [
            {"match": {"prefix": ""}, "direct_response": {"status": 200}},
            {"match": {"connect_matcher": {}}, "direct_response": {"status": 200}},
        ]
        trial = [
            {"name": f"{index} {domain}", "domains": [domain], "routes": everything}
            for index, host in enumerate(self.hosts)
            for domain in host.get("domains", ())
        ]
        found = self._match(trial)
        if found is None:
            return None, ""
        index, _, domain = found.virtual_host.name.partition(" ")
        return int(index), domain

    def _index(self) -> int | None:
        """The same table with each route named by its place: which name answers?"""
        if self.host is None or self.is_tree:
            return None
        host = self.hosts[self.host]
        routes = [{**route, "name": str(n)} for n, route in enumerate(host.get("routes", ()))]
        hosts = [*self.hosts]
        hosts[self.host] = {**host, "routes": routes}
        found = self._match(hosts)
        return int(found.name) if found is not None and found.name else None

    @property
    def is_tree(self) -> bool:
        """Whether a tree of matchers stands in the place of routes: then no route has a place."""
        return self.host is not None and "matcher" in self.hosts[self.host]

    @property
    def entry(self) -> Document:
        """The route's configuration; of one in a tree only the kind of its action."""
        assert self.host is not None
        assert self.route is not None
        if self.index is None:
            kinds = {"direct_response": self.route.direct_response, "route": self.route.cluster}
            return {next((kind for kind, has in kinds.items() if has), "redirect"): {}}
        entry: Document = self.hosts[self.host]["routes"][self.index]
        return entry

    def _holds(self, match: Document) -> bool:
        routes = [{"match": match, "direct_response": {"status": 200}}]
        return self._match([{"name": "one", "domains": ["*"], "routes": routes}]) is not None

    def _failing(self, match: Document) -> Iterator[Document]:
        """The conditions of a match that do not hold by themselves."""
        for condition, alone in _conditions(match):
            if not self._holds(alone):
                wants = alone[condition.partition("[")[0]]
                wants = wants[0] if isinstance(wants, list) else wants
                yield {"condition": condition, "wants": wants, "has": self._has(condition, wants)}

    def _has(self, condition: str, wants: Any) -> Any:
        """What the request has where a condition looks; None: nothing."""
        kind = condition.partition("[")[0]
        headers = dict(reversed(self.headers))
        path, _, query = headers.get(":path", "").partition("?")
        if kind in SPECIFIERS:
            return path if kind != "connect_matcher" else headers.get(":method")
        if kind == "headers":
            name = wants.get("name", "").lower()
            name = ":authority" if name == "host" else name
            values = [value for key, value in self.headers if key == name]
            return ",".join(values) if values else None
        if kind == "query_parameters":
            from meshcore.http import query_parameter

            return query_parameter("?" + query, wants.get("name", ""))
        if kind == "cookies":
            from meshcore.http import get_cookie

            return get_cookie(self.headers, wants.get("name", ""))
        if kind == "grpc":
            return headers.get("content-type")
        return self.random_value if kind == "runtime_fraction" else None

    def explanation(self) -> Document:
        if self.host is None:
            domains = [domain for host in self.hosts for domain in host.get("domains", ())]
            return {"virtual_host": None, "domains": domains}
        host = self.hosts[self.host]
        out: Document = {
            "virtual_host": {"name": host.get("name", ""), "domain": self.domain},
            "require_tls": host.get("require_tls", "NONE"),
        }
        if self.is_tree:
            found = [] if self.route is None else [self.route.name]
            return out | {
                "routes": [
                    {"index": None, "name": name, "matched": True, "match": {}, "why_not": []}
                    for name in found
                ]
            }
        if self.route is not None and self.index is None:
            return out | {"routes": [], "tls_redirect": True}
        configured = host.get("routes", [])
        last = len(configured) if self.index is None else self.index
        out["routes"] = [
            {
                "index": n,
                "name": route.get("name", ""),
                "matched": n == self.index,
                "match": route.get("match", {}),
                "why_not": list(self._failing(route.get("match", {}))) if n != self.index else [],
            }
            for n, route in enumerate(configured[: last + 1])
        ]
        return out


def _conditions(match: Document) -> Iterator[tuple[str, Document]]:
    """Each condition of a RouteMatch by its name, as a RouteMatch with nothing else."""
    flags = {k: match[k] for k in ("case_sensitive",) if k in match}
    everything: Document = {"connect_matcher": {}} if "connect_matcher" in match else {"prefix": ""}
    for name, value in match.items():
        if name in SPECIFIERS:
            yield name, {name: value, **flags}
        elif name in flags:
            continue
        elif isinstance(value, list):
            for n, item in enumerate(value):
                yield f"{name}[{n}]", {**everything, name: [item]}
        else:
            yield name, {**everything, name: value}


# --- where it goes --------------------------------------------------------------------------------


def _upstream_of(document: Document, table: _Table, headers: HeaderList) -> Document:
    route, entry = table.route, table.entry
    assert route is not None
    action = next((k for k in ("route", "redirect", "direct_response") if k in entry), "")
    out: Document = {"action": action, "route": route.name}
    if action != "route":
        return out
    clusters = document.get("static_resources", {}).get("clusters", ())
    cluster = next((c for c in clusters if c.get("name") == route.cluster), None)
    out["cluster"] = {"name": route.cluster, "known": cluster is not None}
    weighted = entry["route"].get("weighted_clusters", {}).get("clusters", ())
    if weighted:
        out["cluster"]["weights"] = {
            one.get("name", one.get("cluster_header", "")): one.get("weight", 0) for one in weighted
        }
        out["cluster"]["random_value"] = table.random_value
    if cluster is None:
        return out
    out["cluster"] |= {
        "type": cluster.get("type", "STATIC"),
        "lb_policy": cluster.get("lb_policy", "ROUND_ROBIN"),
    }
    out["host"] = _host_of(cluster, route, headers)
    return out


def _hosts(cluster: Document) -> list[tuple[str, int]]:
    """Address and weight of every endpoint, in order; one at weight 0 gets nothing."""
    found = []
    for locality in cluster.get("load_assignment", {}).get("endpoints", ()):
        if locality.get("priority", 0) == 0:
            for one in locality.get("lb_endpoints", ()):
                address = _address(one.get("endpoint", {}).get("address", {}))
                found.append((address, one.get("load_balancing_weight", 1)))
    return found


def _host_of(cluster: Document, route: Route, headers: HeaderList) -> Document:
    """Which host, if the request alone decides it, else which may be chosen, and why."""
    made: list[str] = []
    policy = route.hash_policy
    value = policy.generate_hash(headers, set_cookies=made) if policy else None
    value = None if made else value  # of a cookie that holds the client's port
    criteria = route.metadata_match_criteria
    asked = None if criteria is None else {"envoy.lb": criteria}
    name, hashes = _policy_of(cluster)
    hosts = [address for address, _ in _hosts(cluster)]
    try:
        reached = _reached(cluster, asked, len(hosts))
        by_hash = LoadBalancer(cluster, random=1).choose(value, asked) if hashes else None
    except ConfigError:  # hosts that are names yet, or come from elsewhere
        reached, by_hash = hosts, None
    out: Document = {"hash": value, "candidates": reached, "address": None}
    if not reached and hosts == reached:
        return out | {"reason": NO_HOST if _is_static(cluster) else "found when it runs"}
    if not reached:
        return out | {"reason": NO_HOST}
    if len(reached) == 1:
        return out | {"address": reached[0], "reason": "the only one"}
    if not hashes:
        return out | {"reason": f"{name} takes turns, whatever the request"}
    if value is None:
        why = "a cookie is made, and decides" if made else "no hash policy found anything"
        return out | {"reason": f"{why}: a random one"}
    return out | {"address": None if by_hash is None else by_hash.address, "reason": "by the hash"}


def _is_static(cluster: Document) -> bool:
    return cluster.get("type", "STATIC") == "STATIC" and "cluster_type" not in cluster


def _policy_of(cluster: Document) -> tuple[str, bool]:
    """The name of what balances, and whether it goes by the hash."""
    policies = cluster.get("load_balancing_policy", {}).get("policies", ())
    if not policies:
        name = cluster.get("lb_policy", "ROUND_ROBIN")
        return name, name in ("RING_HASH", "MAGLEV")
    text = json.dumps(policies[0])
    hashes = "ring_hash.v3." in text or "maglev.v3." in text
    return policies[0].get("typed_extension_config", {}).get("name", ""), hashes


def _reached(cluster: Document, asked: Document | None, hosts: int) -> list[str]:
    """The hosts among which one is chosen, in order: taking turns comes by all of them."""
    turns = {k: v for k, v in cluster.items() if k in TAKING_TURNS}
    if "subset.v3." in json.dumps(policy := cluster.get("load_balancing_policy", {})):
        turns["load_balancing_policy"] = policy
    balancer = LoadBalancer(turns, random=1)
    chosen = (balancer.choose(None, asked) for _ in range(min(4 * hosts + 4, MOST_TURNS)))
    reached = {host.address for host in chosen if host is not None}
    return [address for address, _ in _hosts(cluster) if address in reached]


# --- through the data plane -----------------------------------------------------------------------


@dataclass
class _Passage:
    """What one request left behind in the sandbox."""

    headers: HeaderList | None = None  # as the first filter saw them
    remote_address: str = ""
    sent: Document | None = None  # as the upstream received it
    response: Document | None = None


# Which manager options would reach outside, or need what a sandbox has not.
_DROPPED = ("access_log", "access_log_options", "tracing")


async def _routes_of(
    document: Document, listener: Document, request: Request
) -> tuple[str | None, Document]:
    """The scope, None when there are none, and the route configuration.

    Each scope answers with its name: which one does?
    """
    chain, manager = _manager_of(listener)
    if "scoped_routes" not in manager:
        return None, manager.get("route_config", {})
    scoped = json.loads(json.dumps(manager["scoped_routes"]))
    scopes = scoped["scoped_route_configurations_list"]["scoped_route_configurations"]
    found = {scope["name"]: scope["route_configuration"] for scope in scopes}
    for scope in scopes:
        header = {"header": {"key": SCOPE, "value": scope["name"].replace("%", "%%")}}
        everything = {"match": {"prefix": ""}, "direct_response": {"status": 200}}
        host = {"name": "scope", "domains": ["*"], "routes": [everything]}
        scope["route_configuration"] = {
            "virtual_hosts": [host],
            "response_headers_to_add": [header],
        }
    router = manager.get("http_filters", [])[-1:]
    trial = {**manager, "scoped_routes": scoped, "http_filters": router}
    plain = {"filter_chains": [{**chain, "filters": [{"name": "hcm", "typed_config": trial}]}]}
    passage = await _through(_sandbox(document, plain), request, secure=False, stop_at_probe=False)
    headers = dict((passage.response or {}).get("headers", ()))
    name = headers.get(SCOPE, "")
    return name, found.get(name, {})


def _sandbox(
    document: Document,
    listener: Document,
    table: _Table | None = None,
    nowhere: tuple[str, ...] = (),
) -> Document:
    """The bootstrap with one plain listener, a probe as its first filter, and nothing outside.

    With `table`, its route alone is left, so that chance does not choose another. Clusters of
    `nowhere` have no host.
    """
    chain, manager = _manager_of(listener)
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
    hosts = _hosts(cluster)
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


def _narrowed(table: _Table) -> Document:
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


async def _through(
    document: Document, request: Request, secure: bool, *, stop_at_probe: bool
) -> _Passage:
    """Send the request through a gateway with this bootstrap."""
    from meshcore.gateway import Gateway

    passage = _Passage()

    def probe(seen: Any) -> Response | None:
        if secure:  # the sandbox speaks no TLS, the listener would
            seen.headers[":scheme"] = "https"
            if seen.headers.get("x-forwarded-proto") == "http":
                seen.headers["x-forwarded-proto"] = "https"
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
async def _catcher(passage: _Passage) -> Any:
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


# --- as text --------------------------------------------------------------------------------------


def render(found: Explanation) -> str:
    """An explanation for people: one line a step."""
    return "\n".join(_lines(found))


def _lines(found: Explanation) -> Iterator[str]:
    listener = found["listener"]
    yield _row("listener", f"{listener['name']} at {listener['address']}: {listener['reason']}")
    for other in listener["passed_over"]:
        yield _row("", f"not {other['name']}: {other['reason']}")
    chain = found["filter_chain"]
    yield _row("filter chain", f"{chain['index']} {chain['name']}".strip() + f": {chain['reason']}")
    if "routed_as" not in found:
        yield from _answer(found.get("response"))
        return
    yield from _fields("routed as", found["routed_as"])
    if "scope" in found:
        yield _row("scope", found["scope"] or "none")
    yield _row("route config", found["route_config"] or "(no name)")
    host = found["virtual_host"]
    if host is None:
        domains = ", ".join(found["domains"])
        why = f"no domain matches, of {domains}" if domains else "the configuration has none"
        why = "without a scope there are no routes" if found.get("scope") == "" else why
        yield _row("virtual host", f"none: {why}")
        yield from _answer(found["response"], "no route")
        return
    yield _row("virtual host", f"{host['name']}, by its domain {host['domain']}")
    if found.get("tls_redirect"):
        yield _row("require_tls", f"{found['require_tls']}: this request did not come over TLS")
    matched = False
    for route in found["routes"]:
        title = "route" if route["index"] is None else f"route {route['index']}"
        name = f"{route['name']}: " if route["name"] else ""
        matched |= route["matched"]
        if route["matched"]:
            how = "by the tree of matchers" if route["index"] is None else _short(route["match"])
            yield _row(title, f"{name}matches, {how}")
        for n, failing in enumerate(route["why_not"]):
            has = "nothing" if failing["has"] is None else json.dumps(failing["has"])
            reason = f"{failing['condition']} is {_short(failing['wants'])}, the request has {has}"
            yield _row(title if n == 0 else "", f"{name if n == 0 else ''}no, {reason}")
    if not matched and not found.get("tls_redirect"):
        yield from _answer(found["response"], "no route")
        return
    yield from _destination(found)
    yield from _answer(found.get("response"))


def _destination(found: Explanation) -> Iterator[str]:
    cluster = found.get("cluster")
    if cluster is not None:
        text = cluster["name"] or "(none: its header is missing)"
        if "weights" in cluster:
            weights = ", ".join(f"{name} {weight}" for name, weight in cluster["weights"].items())
            text += f", of {weights} by the random value {cluster['random_value']}"
        yield _row("cluster", text if cluster["known"] else f"{text}: there is none of this name")
    host = found.get("host")
    if host is not None:
        by = "" if host["hash"] is None else f" (hash {host['hash']})"
        some = f"one of {', '.join(host['candidates'])}" if host["candidates"] else "none"
        yield _row("host", f"{host['address'] or some}: {host['reason']}{by}")
    sent = found.get("sent")
    if sent is not None:
        pairs = [(f"{sent['method']} {sent['target']}", "")]
        yield from _fields("sent as", [*pairs, *sent["headers"]])


def _answer(response: Document | None, why: str = "") -> Iterator[str]:
    if response is None:
        return
    why = f", {why}" if why else ""
    if "location" in response:
        yield _row("answer", f"{response['status']} to {response['location']}")
        return
    yield from _fields("answer", [(f"{response['status']}{why}", ""), *response["headers"]])


def _fields(title: str, pairs: HeaderList) -> Iterator[str]:
    for n, (name, value) in enumerate(pairs):
        yield _row(title if n == 0 else "", f"{name}: {value}" if value else name)


def _short(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _row(title: str, text: str) -> str:
    return f"{title:14}{text}"
