"""An explanation as text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from meshcore.explain.request import Document, HeaderList

__all__ = ["render"]


def render(found: Document) -> str:
    """An explanation for people: one line a step."""
    return "\n".join(_lines(found))


def _lines(found: Document) -> Iterator[str]:
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


def _destination(found: Document) -> Iterator[str]:
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
