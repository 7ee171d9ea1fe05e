"""From a stat's full name to a short name with tags (STAT-9, STAT-10).

A rule looks at the *original* name. Where it matches it yields one tag and marks characters; when
all rules have looked, the marked characters go. Every rule is a regular expression in the end, and
most are written as a pattern of pieces: `$` is the value, `*` any one piece, `**` any run of
pieces, none included. The dot after the value goes with it, or the one before where the value ends
the name.

>>> TagProducer.default().produce("cluster.cart.upstream_rq_404")
('cluster.upstream_rq', (('envoy.response_code', '404'), ('envoy.cluster_name', 'cart')))
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from meshcore._core.stats import Snapshot, Store

__all__ = ["DEFAULT_RULES", "FixedTag", "TagProducer", "TagRule", "tagged_snapshot"]

Tags = tuple[tuple[str, str], ...]

_PREFIX = re.compile(r"\^(\w+)\\\.", re.ASCII)
_POSIX = {"[:digit:]": r"\d", "[:alnum:]": "a-zA-Z0-9", "[:alpha:]": "a-zA-Z", "[:space:]": r"\s"}


def pieces(pattern: str) -> str:
    """The regular expression of a pattern of pieces."""
    parts = pattern.split(".")
    last = len(parts) - 1
    out = "^"
    for i, part in enumerate(parts):
        if part == "**":
            out += "" if i == last else r"(?:.*\.)?"
        elif part == "$" and i == last:
            return out.removesuffix(r"\.") + r"(\.([^.]+))$"
        elif part == "$":
            out += r"(([^.]+)\.)"
        else:
            out += "[^.]+" if part == "*" else re.escape(part)
            out += "$" if i == last else r"\."
    return out


@dataclass(frozen=True, slots=True)
class TagRule:
    """One tag: group 1 of the expression is what goes, group 2 (or 1) the value."""

    name: str
    expression: re.Pattern[str]
    unless: str = ""  # a value that is not taken

    @classmethod
    def of(cls, name: str, pattern: str, unless: str = "") -> TagRule:
        """From a regular expression, or from a pattern of pieces, which no "^" and "_" begins."""
        if not pattern.startswith(("^", "_")):
            pattern = pieces(pattern)
        return cls.custom(name, pattern, unless)

    @classmethod
    def custom(cls, name: str, regex: str, unless: str = "") -> TagRule:
        """From a regular expression as configurations have it."""
        for posix, own in _POSIX.items():
            regex = regex.replace(posix, own)
        try:
            expression = re.compile(regex, re.ASCII)
        except re.error as error:
            raise ValueError(f"invalid regex for tag '{name}': {error}") from None
        if expression.groups < 1:
            raise ValueError(f"invalid regex for tag '{name}': it must have a group")
        return cls(name, expression, unless)

    @property
    def prefix(self) -> str:
        """The piece that a name must begin with, as far as the expression shows it."""
        found = _PREFIX.match(self.expression.pattern)
        return found[1] if found else ""

    def look(self, name: str) -> tuple[int, int, str] | None:
        """(start, end, value): what goes, and what it was."""
        found = self.expression.search(name)
        if found is None or found[1] is None:
            return None
        value = found[2] if self.expression.groups > 1 else found[1]
        if value is None or (self.unless and value == self.unless):
            return None
        return (*found.span(1), value)


@dataclass(frozen=True, slots=True)
class FixedTag:
    """A tag that every stat gets."""

    name: str
    value: str

    prefix = ""

    def look(self, name: str) -> tuple[int, int, str] | None:
        return 0, 0, self.value


_ADDRESS = r"(?:\d{1,3}(?:\.\d{1,3}){3}|\[[a-fA-F_\d]+\])_\d+"
_PIECE = r"[^.]+"
_WORKERS = "server|listener_manager|thread_local_cluster_manager"
_DYNAMO = rf"^http\.{_PIECE}\.dynamodb"

# In the order in which tags come out: what begins with no fixed piece first.
_TABLE = (
    ("envoy.response_code", r"_rq(_(\d{3}))$"),
    ("envoy.response_code_class", r"_rq_((\d))xx$"),
    (
        "envoy.dynamo_partition_id",
        rf"{_DYNAMO}\.table\.{_PIECE}\.capacity\.{_PIECE}(\.__partition_id=(\w{{7}}))$",
    ),
    (
        "envoy.dynamo_operation",
        rf"{_DYNAMO}\.(?:operation|table\.{_PIECE}\.capacity)(\.({_PIECE}))(?:\.|$)",
    ),
    ("envoy.dynamo_table", rf"{_DYNAMO}\.(?:table|error)\.(({_PIECE})\.)"),
    ("envoy.ssl_cipher", "listener.**.ssl.ciphers.$"),
    ("envoy.ssl_curve", r"^(?:listener|cluster)\..*?\.ssl\.curves(\.([\w-]+))$"),
    ("envoy.ssl_sigalg", r"^(?:listener|cluster)\..*?\.ssl\.sigalgs(\.([\w-]+))$"),
    ("envoy.ssl_version", r"^(?:listener|cluster)\..*?\.ssl\.versions(\.(TLSv\d\.\d))$"),
    ("cipher_suite", "cluster.*.ssl.ciphers.$"),
    ("envoy.tls_certificate", rf"^(?:listener|cluster)\..*?\.ssl\.certificate\.(({_PIECE})\.)"),
    (
        "envoy.rbac_policy_name",
        rf"^http\.{_PIECE}\.rbac\.(?:{_PIECE}\.)?policy\.(({_PIECE})\.)\w+$",
    ),
    ("envoy.rbac_http_prefix", "http.*.rbac.$.**"),
    ("envoy.http_conn_manager_prefix", rf"^listener\..*?\.http\.(({_PIECE})\.)"),
    (
        "envoy.worker_id",
        rf"^(?:listener\.(?:{_ADDRESS}|{_PIECE})|{_WORKERS})\.worker_((\d+)\.)",
    ),
    ("envoy.listener_address", rf"^listener\.(({_ADDRESS}|{_PIECE})\.)", "admin"),
    ("envoy.rds_route_config", rf"^http\.{_PIECE}\.rds\.(([\w.-]+)\.)\w+?$"),
    ("envoy.scoped_rds_config", rf"^http\.{_PIECE}\.scoped_rds\.(([\w.-]+)\.)\w+?$"),
    ("envoy.proxy_protocol_version", r"^proxy_proto\.((?:[^.]+\.)?versions\.v(\d)\.)\w+$"),
    ("envoy.proxy_protocol_prefix", "proxy_proto.$.**"),
    ("envoy.xds_resource_name", "sds.$.**"),
    ("envoy.mongo_callsite", "mongo.*.collection.*.callsite.$.query.**"),
    ("envoy.mongo_collection", "mongo.*.collection.$.**.query.*"),
    ("envoy.mongo_cmd", "mongo.*.cmd.$.**"),
    ("envoy.grpc_bridge_method", "cluster.*.grpc.*.$.**"),
    ("envoy.http_user_agent", "http.*.user_agent.$.**"),
    ("envoy.virtual_cluster", "vhost.*.vcluster.$.**"),
    ("envoy.fault_downstream_cluster", "http.*.fault.$.**"),
    ("envoy.grpc_bridge_service", "cluster.*.grpc.$.**"),
    ("envoy.tcp_prefix", "tcp.$.**"),
    ("envoy.udp_prefix", "udp.$.**"),
    ("envoy.clientssl_prefix", "auth.clientssl.$.**"),
    ("envoy.ratelimit_prefix", "ratelimit.$.**"),
    ("envoy.cluster_name", "cluster.$.**"),
    ("envoy.ext_authz_prefix", "cluster.*.ext_authz.$.**"),
    ("envoy.ext_authz_prefix", "http.*.ext_authz.$.**"),
    ("envoy.http_conn_manager_prefix", "http.$.**"),
    ("envoy.virtual_host", "vhost.$.**"),
    ("envoy.mongo_prefix", "mongo.$.**"),
    ("envoy.route", "vhost.*.route.$.**"),
    ("envoy.thrift_prefix", "thrift.$.**"),
    ("envoy.redis_prefix", "redis.$.**"),
    ("envoy.local_http_ratelimit_prefix", "$.http_local_rate_limit.**"),
    ("envoy.local_network_ratelimit_prefix", "local_rate_limit.$.**"),
    ("envoy.local_listener_ratelimit_prefix", "listener_local_ratelimit.$.**"),
    ("envoy.dns_filter_prefix", "dns_filter.$.**"),
    ("envoy.connection_limit_prefix", "connection_limit.$.**"),
    ("envoy.rbac_prefix", "$.rbac.**"),
    ("envoy.google_grpc_client_prefix", "grpc.$.**"),
)

DEFAULT_RULES = tuple(TagRule.of(*row) for row in _TABLE)


class TagProducer:
    """Tags of a name, by an ordered set of rules. Immutable."""

    def __init__(self, rules: Iterable[TagRule | FixedTag]) -> None:
        self._anywhere: list[TagRule | FixedTag] = []
        self._by_prefix: dict[str, list[TagRule | FixedTag]] = {}
        for rule in rules:
            if rule.prefix:
                self._by_prefix.setdefault(rule.prefix, []).append(rule)
            else:
                self._anywhere.append(rule)

    @classmethod
    def default(cls) -> TagProducer:
        """The built-in rules."""
        return cls(DEFAULT_RULES)

    @classmethod
    def from_specs(
        cls, specs: Iterable[Mapping[str, str]], *, use_all_default_tags: bool = True
    ) -> TagProducer:
        """From `stats_config.stats_tags`: tag_name, with regex, fixed_value, or neither.

        A name alone means the built-in rules of that name.
        """
        rules: list[TagRule | FixedTag] = list(DEFAULT_RULES) if use_all_default_tags else []
        for spec in specs:
            name = spec["tag_name"]
            if spec.get("fixed_value"):
                rules.append(FixedTag(name, spec["fixed_value"]))
            elif spec.get("regex"):
                rules.append(TagRule.custom(name, spec["regex"]))
            else:
                built_in = [rule for rule in DEFAULT_RULES if rule.name == name]
                if not built_in:
                    raise ValueError(
                        "No regex specified for tag specifier and no default regex for name: "
                        f"'{name}'"
                    )
                rules += built_in
        return cls(rules)

    def produce(self, name: str) -> tuple[str, Tags]:
        """The name without its tags, and the tags; of two with one name the first stays."""
        tags: dict[str, str] = {}
        marked: list[tuple[int, int]] = []
        first, dot, _ = name.partition(".")
        for rules in (self._anywhere, self._by_prefix.get(first, ()) if dot else ()):
            for rule in rules:
                found = None if rule.name in tags else rule.look(name)
                if found is not None:
                    marked.append(found[:2])
                    tags[rule.name] = found[2]
        return _without(name, marked), tuple(tags.items())


def _without(name: str, marked: list[tuple[int, int]]) -> str:
    kept, at = [], 0
    for start, end in sorted(marked):
        kept.append(name[at:start])
        at = max(at, end)
    return "".join([*kept, name[at:]])


def tagged_snapshot(
    store: Store, producer: TagProducer, *, merge: bool = False, live: bool = False
) -> Snapshot:
    """A snapshot in which every stat has its labels; each name is looked at once in its life."""
    snapshot = store.snapshot(merge=merge, live=live)
    untagged = snapshot._untagged()
    for stat, name in untagged:
        store._tag(stat, *producer.produce(name))
    return store.snapshot(live=live) if untagged else snapshot
