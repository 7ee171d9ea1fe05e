"""The compiled route table, asked which of its entries a request takes, and why not the others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from meshcore._core import route as _route
from meshcore.explain.request import SPECIFIERS, Document, HeaderList
from meshcore.http import get_cookie, query_parameter
from meshcore.routing import Route

__all__ = ["Table"]


class Table:
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
            return query_parameter("?" + query, wants.get("name", ""))
        if kind == "cookies":
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
