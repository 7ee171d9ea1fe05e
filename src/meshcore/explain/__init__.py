"""The way that one request takes through a configuration, and why it takes no other.

Nothing here decides anything. The request is sent through a gateway of its own on loopback, whose
clusters all lead to a catcher: so the headers that routing sees, and those that an upstream
receives, are those of the data plane. Which virtual host and which route are asked of the compiled
route table, under names that tell where each stands; and a route's conditions are asked one by
one, each as a table with that condition alone. `meshcore explain` prints the result.
"""

from __future__ import annotations

import asyncio
import json

from meshcore.config import Config
from meshcore.discovery.rds import with_routes
from meshcore.explain.listener import address_text, choose_listener, manager_of
from meshcore.explain.request import Document, ExplainError, Request
from meshcore.explain.sandbox import sandboxed, through
from meshcore.explain.table import Table
from meshcore.explain.text import render
from meshcore.explain.upstream import NO_HOST, upstream_of
from meshcore.http import parse_url
from meshcore.tracing import runtime_values

__all__ = ["ExplainError", "Explanation", "Request", "explain", "render"]

SCOPE = "x-scope-of-the-request"

# What each step found, as JSON values; see docs/explain.md for the fields.
Explanation = Document


def explain(config: Config, request: Request, listener: str | None = None) -> Explanation:
    """Follow a request through a bootstrap; `listener` names where it arrives."""
    return asyncio.run(_explain(config, request, listener))


async def _explain(config: Config, request: Request, listener: str | None) -> Explanation:
    try:
        url = parse_url(request.url)
    except ValueError:
        raise ExplainError(f"not a URL with scheme and host: {request.url!r}") from None
    document = with_routes(config.document)
    found, why, passed = choose_listener(document, url.port, listener)
    chain, manager = manager_of(found)
    result: Explanation = {
        "request": {"method": request.method, "url": request.url, "headers": request.headers},
        "listener": {
            "name": found.get("name", ""),
            "address": address_text(found.get("address", {})),
            "reason": why,
            "passed_over": passed,
        },
        "filter_chain": {"index": 0, "name": chain.get("name", ""), "reason": "the only one"},
        "http_filters": [entry.get("name", "") for entry in manager.get("http_filters", ())],
    }
    secure = url.scheme == "https"
    seen = await through(sandboxed(document, found), request, secure, stop_at_probe=True)
    if seen.headers is None:
        result["response"] = seen.response
        return result
    headers = seen.headers
    result["routed_as"] = headers
    scope, table = await _routes_of(document, found, request)
    result |= {"scope": scope} if scope is not None else {}
    result["route_config"] = table.get("name", "")
    context = {"downstream_remote_address": (seen.remote_address, 0)}
    routes = Table(
        table,
        headers,
        request.random_value,
        context,
        runtime_values(document),
    )
    result |= routes.explanation()
    if routes.route is None:
        last = await through(sandboxed(document, found), request, secure, stop_at_probe=False)
        return result | {"response": last.response}
    if "tls_redirect" in result:
        result["response"] = {"status": 301, "location": routes.route.redirect(headers)}
        return result
    result |= upstream_of(document, routes, headers)
    nowhere = () if result.get("host", {}).get("reason") != NO_HOST else (routes.route.cluster,)
    narrowed = sandboxed(document, found, None if routes.is_tree else routes, nowhere)
    last = await through(
        narrowed,
        request,
        secure,
        stop_at_probe=False,
        request_id=dict(headers).get("x-request-id"),
    )
    result["sent"], result["response"] = last.sent, None if last.sent else last.response
    return result


async def _routes_of(
    document: Document, listener: Document, request: Request
) -> tuple[str | None, Document]:
    """The scope, None when there are none, and the route configuration.

    Each scope answers with its name: which one does?
    """
    chain, manager = manager_of(listener)
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
    passage = await through(sandboxed(document, plain), request, secure=False, stop_at_probe=False)
    headers = dict((passage.response or {}).get("headers", ()))
    name = headers.get(SCOPE, "")
    return name, found.get(name, {})
