"""Where a request arrives: the listener, and its connection manager."""

from __future__ import annotations

from meshcore.explain.request import Document, ExplainError

__all__ = ["address_text", "choose_listener", "manager_of"]

HCM = "HttpConnectionManager"


def choose_listener(
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


def address_text(address: Document) -> str:
    socket = address.get("socket_address", {})
    return f"{socket.get('address', '')}:{socket.get('port_value', 0)}" if socket else "(pipe)"


def manager_of(listener: Document) -> tuple[Document, Document]:
    for chain in listener.get("filter_chains", ()):
        for network in chain.get("filters", ()):
            typed = network.get("typed_config", {})
            if typed.get("@type", "").endswith(HCM):
                return chain, typed
    raise ExplainError(f"the listener {listener.get('name', '')!r} serves no HTTP")
