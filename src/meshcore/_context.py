"""What a caller says of a request, in the names that csrc/route/context.h reads.

A context's keys are the names of the format operators in lower case. The attributes of expressions
(``source.address``, or ``source: {address: ...}``) are understood as well, and so is the
message form of metadata, addresses and points in time.
"""

from __future__ import annotations

import datetime
import difflib
import json
import numbers
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

__all__ = ["HEADERS", "as_json", "encode", "unknown_key"]

HEADERS = ("request_headers", "response_headers", "response_trailers")
# Keys that are no operator's.
OTHERS = (
    "access_log_type",
    "downstream_tls",
    "filter_chain_metadata",
    "health_check",
    "listener_metadata",
    "node",
    "random",
    "requested_server_name",
    "response_flags",
    "route_metadata",
    "start_time",
    "time_points",
    "tls",
    "upstream_host_name",
    "upstream_locality",
    "upstream_tls",
    "virtual_host_metadata",
    "virtual_host_name",
)
# Those of expressions, and short names; each with the key that it stands for.
ATTRIBUTES = {
    "connection.dns_san_local_certificate": "downstream_local_dns_san",
    "connection.dns_san_peer_certificate": "downstream_peer_dns_san",
    "connection.id": "connection_id",
    "connection.mtls": "downstream_tls",
    "connection.requested_server_name": "requested_server_name",
    "connection.sha256_peer_certificate_digest": "downstream_peer_fingerprint_256",
    "connection.subject_local_certificate": "downstream_local_subject",
    "connection.subject_peer_certificate": "downstream_peer_subject",
    "connection.termination_details": "connection_termination_details",
    "connection.tls_version": "downstream_tls_version",
    "connection.transport_failure_reason": "downstream_transport_failure_reason",
    "connection.uri_san_local_certificate": "downstream_local_uri_san",
    "connection.uri_san_peer_certificate": "downstream_peer_uri_san",
    "destination.address": "downstream_local_address",
    "direct_remote_address": "downstream_direct_remote_address",
    "filter_metadata": "dynamic_metadata",
    "local_address": "downstream_local_address",
    "metadata": "dynamic_metadata",
    "remote_address": "downstream_remote_address",
    "request.headers": "request_headers",
    "request.protocol": "protocol",
    "response.code": "response_code",
    "response.code_details": "response_code_details",
    "response.flags": "response_flags",
    "response.headers": "response_headers",
    "response.trailers": "response_trailers",
    "sni": "requested_server_name",
    "source.address": "downstream_remote_address",
    "tls_context": "downstream_tls",
    "upstream.address": "upstream_remote_address",
    "upstream.local_address": "upstream_local_address",
    "upstream.locality": "upstream_locality",
    "upstream.request_attempt_count": "upstream_request_attempt_count",
    "upstream.transport_failure_reason": "upstream_transport_failure_reason",
    "xds.cluster_metadata": "cluster_metadata",
    "xds.cluster_name": "upstream_cluster",
    "xds.filter_chain_name": "filter_chain_name",
    "xds.listener_metadata": "listener_metadata",
    "xds.node": "node",
    "xds.route_metadata": "route_metadata",
    "xds.route_name": "route_name",
    "xds.upstream_host_metadata": "upstream_metadata",
    "xds.virtual_host_metadata": "virtual_host_metadata",
    "xds.virtual_host_name": "virtual_host_name",
}
ROOTS = {name.partition(".")[0] for name in ATTRIBUTES if "." in name}
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def encode(context: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The maps of headers by their key, and all else as JSON, empty when there is nothing else."""
    if not isinstance(context, Mapping):
        raise TypeError(f"a context must be a mapping, not {type(context).__name__}")
    headers: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for key, value in _named(context):
        if value is None:
            continue
        if key in HEADERS:
            headers[key] = value
        else:
            rest[key] = _settled(key, value)
    return headers, as_json("a context", rest) if rest else b""


def as_json(what: str, value: Any) -> bytes:
    """What the core reads of a caller's value. ValueError for what has no end, or is no number."""
    try:
        return json.dumps(value, default=_plain, allow_nan=False).encode()
    except RecursionError:
        raise ValueError(f"{what} nests too deeply") from None
    except ValueError as error:
        raise ValueError(f"{what} cannot be written as JSON: {error}") from None


def unknown_key(key: str, operators: Iterable[str]) -> str:
    """What stands behind the refusal of a key: the near one, or nothing."""
    close = difflib.get_close_matches(key, [*operators, *OTHERS, *HEADERS, *ATTRIBUTES], 1)
    return f" (did you mean {close[0]}?)" if close else ""


def _named(context: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in context.items():
        if not isinstance(key, str):
            raise TypeError(f"a context's keys must be str, not {type(key).__name__}")
        if key in ROOTS and isinstance(value, Mapping):
            for name, inner in value.items():
                yield ATTRIBUTES.get(f"{key}.{name}", f"{key}.{name}"), inner
        else:
            yield ATTRIBUTES.get(key, key), value


def _settled(key: str, value: Any) -> Any:
    if key == "start_time":
        return str(_nanoseconds(value))
    if key.endswith(("_address", "upstream_host")):
        return _address(value)
    if key.endswith("_metadata") and isinstance(value, Mapping) and [*value] == ["filter_metadata"]:
        return value["filter_metadata"]
    if key == "downstream_tls" and isinstance(value, bool):  # connection.mtls
        return {"presented": value}
    return value


def _address(value: Any) -> Any:
    if isinstance(value, Mapping):
        value = value.get("socket_address", value)
        value = (value.get("address"), value.get("port_value", 0))
    if isinstance(value, (tuple, list)) and len(value) >= 2:
        host, port = value[:2]  # of socket.getpeername, too, which has four for IPv6
        return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    return value


def _nanoseconds(value: Any) -> int:
    """A point in time since 1970: seconds, a datetime (naive: UTC), or its text by ISO 8601."""
    if isinstance(value, datetime.datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=datetime.UTC)
        delta = aware - EPOCH
        return (delta.days * 86400 + delta.seconds) * 10**9 + delta.microseconds * 1000
    if isinstance(value, str):
        return _nanoseconds(datetime.datetime.fromisoformat(value))
    if isinstance(value, bool) or not isinstance(value, numbers.Number):
        raise TypeError(f"start_time must be seconds or a datetime, not {type(value).__name__}")
    seconds: Any = value
    nanoseconds: int = round(seconds * 10**9)
    return nanoseconds


def _plain(value: Any) -> Any:
    """What JSON does not write."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, datetime.timedelta):
        return value.total_seconds() * 1000
    if isinstance(value, datetime.datetime):
        return _nanoseconds(value) // 10**9
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, numbers.Number):
        return float(value)  # type: ignore[arg-type]
    if hasattr(value, "packed"):  # of ipaddress
        return str(value)
    raise TypeError(f"a context cannot hold a {type(value).__name__}")
