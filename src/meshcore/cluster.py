"""Clusters for a client that chooses its hosts itself, as the gateway would.

For example:

    async with ClusterManager(Path("bootstrap.yaml")) as clusters:
        with clusters.request("orders", hash="user-42") as attempt:
            answer = await fetch(attempt.host.address)
            attempt.status = answer.status
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from meshcore._aggregate import Aggregate, members_of
from meshcore._clusters import cluster_of
from meshcore.balancing import Host, LoadBalancer, Retry
from meshcore.config import load
from meshcore.config.runtime import static_runtime
from meshcore.discovery import sources
from meshcore.errors import ConfigError, MeshcoreError
from meshcore.stats import Store

if TYPE_CHECKING:
    import os

    from google.protobuf.message import Message

    from meshcore.discovery import Source
    from meshcore.routing import HashPolicy

__all__ = ["Attempt", "ClusterManager", "NoHostError"]

Headers = Iterable[tuple[str, str]]


class NoHostError(MeshcoreError):
    """No host of the cluster can be selected."""


class ClusterManager:
    """The clusters of a configuration, each with its balancer: `choose` a host, `report` on it.

    config: a bootstrap (mapping, YAML or JSON text, path object, message), of which the clusters,
        the node's locality, the local cluster and the static runtime count; or the clusters alone:
        one, a list of them, or a mapping of names to them.
    random, now: as `LoadBalancer` has them, for all clusters.

    Hosts known by name are looked up on the event loop that ``async with`` or `start` runs on:
    STRICT_DNS, LOGICAL_DNS and EDS from files, refreshed as they ask. Without a loop, such clusters
    have no hosts but those given by `update`. Everything else works in any thread.

    A cluster of the type aggregate chooses among the priorities of its members, in order, as if
    they were one cluster's: one draw for it, then the member's own choice. `Host.cluster` says
    whose host it is; requests count there.
    """

    def __init__(
        self,
        config: Mapping[str, Any] | Iterable[Any] | Message | str | os.PathLike[str],
        *,
        random: Any = None,
        now: Callable[[], float] | float | None = None,
    ) -> None:
        bootstrap = _bootstrap_of(config)
        found = bootstrap.get("static_resources", {}).get("clusters", [])
        self._clusters: dict[str, dict[str, Any]] = {each["name"]: each for each in found}
        self._store = Store()
        self._sources: dict[str, Source] = sources(found, self._store)
        self._running: list[Source] = []
        self._policies: dict[str, HashPolicy | None] = {}
        manager = bootstrap.get("cluster_manager", {})
        self._local = manager.get("local_cluster_name", "")
        if self._local and self._local not in self._clusters:
            reason = f"there is no cluster {self._local!r}"
            raise ConfigError("cluster_manager.local_cluster_name", reason)
        fields: dict[str, Any] = {
            "random": random,
            "now": now,
            "runtime": static_runtime(bootstrap),
            "locality": bootstrap.get("node", {}).get("locality"),
        }
        self._balancers: dict[str, LoadBalancer] = {}
        for index, cluster in enumerate(found):
            try:
                if cluster["name"] in self._balancers:
                    raise ConfigError("name", f"there are two clusters {cluster['name']!r}")
                self._balancers[cluster["name"]] = LoadBalancer(
                    cluster,
                    self._initial(cluster["name"]),
                    local=self._initial(self._local) if self._local else None,
                    **fields,
                )
            except ConfigError as error:
                path = f"static_resources.clusters[{index}].{error.path}"
                raise ConfigError(path, error.reason) from None
        self._aggregates = {
            each["name"]: Aggregate(self._balancers[each["name"]], members, self._balancers)
            for each in found
            if (members := members_of(each)) is not None
        }

    def _initial(self, name: str) -> dict[str, Any]:
        """The hosts that are known without looking."""
        given: dict[str, Any] = self._clusters[name].get("load_assignment", {})
        return {"endpoints": []} if name in self._sources else {"endpoints": [], **given}

    # --- discovery ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Looks up the hosts of clusters that know them by name, and keeps them up to date."""
        loop = asyncio.get_running_loop()
        names = list(self._sources)
        first = await asyncio.gather(*(self._sources[name].initial(loop) for name in names))
        for name, assignment in zip(names, first, strict=True):
            self.update(name, assignment)
            self._sources[name].start(loop, self.update)
            self._running.append(self._sources[name])

    def stop(self) -> None:
        """Stops looking; the hosts stay as they are."""
        for source in self._running:
            source.stop()
        self._running.clear()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.stop()

    def update(self, cluster: str, assignment: Any) -> None:
        """New hosts of a cluster: a `ClusterLoadAssignment` or a list, as `LoadBalancer` has it."""
        self.balancer(cluster).update(None, assignment)
        if cluster == self._local:
            for balancer in self._balancers.values():
                balancer.update_local(assignment)

    # --- choices ----------------------------------------------------------------------------------

    @property
    def clusters(self) -> tuple[str, ...]:
        """Their names, in the order of configuration."""
        return tuple(self._clusters)

    def balancer(self, cluster: str) -> LoadBalancer:
        """The cluster's balancer; KeyError when there is no such cluster."""
        return self._balancers[cluster]

    @property
    def stats(self) -> dict[str, int]:
        """Of all clusters, by Envoy's full names: ``cluster.<name>.lb_healthy_panic``..."""
        snapshot = self._store.snapshot()
        found: dict[str, Any] = {**snapshot.values("counter"), **snapshot.values("gauge")}
        for name, balancer in self._balancers.items():
            found |= {f"cluster.{name}.{key}": value for key, value in balancer.stats.items()}
        return found

    def choose(
        self,
        cluster: str,
        hash: int | str | bytes | None = None,  # noqa: A002
        *,
        headers: Headers | None = None,
        metadata: Mapping[str, Any] | None = None,
        retry: Any = None,
        override_host: str | Host | int | None = None,
        override_host_strict: bool = False,
    ) -> Host | None:
        """A host for a request, or None when none can be selected.

        headers: of the request, for a hash policy of the cluster's own
            (``consistent_hashing_lb_config.hash_policy``), which stands in for `hash`. The rest is
            as `LoadBalancer.choose` has it.
        """
        balancer = self.balancer(cluster)

        def hash_for(name: str) -> Any:
            policy = self._policy(name)
            return hash if policy is None else policy.generate_hash(list(headers or ()))

        aggregate = self._aggregates.get(cluster)
        if aggregate is not None:
            again = None if retry is None else Retry.of(retry)
            strict = override_host is not None and override_host_strict
            return aggregate.choose(again, hash_for, metadata, nobody=strict)
        return balancer.choose(
            hash_for(cluster),
            metadata,
            retry=retry,
            override_host=override_host,
            override_host_strict=override_host_strict,
        )

    def _home(self, cluster: str, host: Any) -> LoadBalancer:
        """The balancer whose host it is: for an aggregate, a member's."""
        aggregate = self._aggregates.get(cluster)
        return self.balancer(cluster) if aggregate is None else aggregate.home(host)

    def _policy(self, cluster: str) -> HashPolicy | None:
        if cluster not in self._policies:
            policies = _hash_policies(self._clusters[cluster])
            self._policies[cluster] = _compiled(policies) if policies else None
        return self._policies[cluster]

    def report(
        self,
        cluster: str,
        host: Any,
        status: int | None = None,
        *,
        error: str | BaseException | None = None,
        latency: float | None = None,
        grpc_status: int | None = None,
        retry_after: float | None = None,
        degraded: bool = False,
    ) -> None:
        """How a request to a host went, as `LoadBalancer.report`; `latency` is in seconds.

        A host that left the cluster meanwhile is no error.
        """
        try:
            self._home(cluster, host).report(
                host,
                status,
                error=error,
                seconds=latency,
                grpc_status=grpc_status,
                retry_after=retry_after,
                degraded=degraded,
            )
        except KeyError:
            if cluster not in self._balancers:
                raise

    def request(self, cluster: str, *, retry: Any = None, **fields: Any) -> Attempt:
        """A request to a host of the cluster, as a context manager.

        While it lasts the request counts as active on its host; at its end it is reported: the
        ``status`` that the body of the ``with`` has set, or the exception that left it. Fields are
        those of `choose`; with a `Retry`, hosts that were tried are passed over. NoHostError when
        no host can be selected.
        """
        again = None if retry is None else Retry.of(retry)
        return Attempt(self, cluster, {**fields, "retry": again})


class Attempt:
    """One try of a request at one host. Set ``status`` once the answer is there."""

    def __init__(self, manager: ClusterManager, cluster: str, fields: dict[str, Any]) -> None:
        self.cluster = cluster
        self.status: int | None = None
        self.grpc_status: int | None = None
        self.retry_after: float | None = None
        self.degraded = False
        self._manager = manager
        self._fields = fields
        self._host: Host | None = None
        self._begun = 0.0

    @property
    def host(self) -> Host:
        """Where the request is to go."""
        if self._host is None:
            raise RuntimeError("the attempt has a host inside its `with` only")
        return self._host

    def __enter__(self) -> Self:
        host = self._manager.choose(self.cluster, **self._fields)
        if host is None:
            raise NoHostError(f"cluster {self.cluster} has no host to choose")
        self._host = host
        self._count(1)
        self._begun = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._count(-1)
        cancelled = isinstance(error, asyncio.CancelledError | GeneratorExit | KeyboardInterrupt)
        known = self.status is not None or self.grpc_status is not None
        if cancelled or (error is None and not known):
            return
        self._manager.report(
            self.cluster,
            self.host,
            self.status,
            error=None if known else error,
            latency=time.monotonic() - self._begun,
            grpc_status=self.grpc_status,
            retry_after=self.retry_after,
            degraded=self.degraded,
        )

    def _count(self, delta: int) -> None:
        self._manager._home(self.cluster, self.host).add_active_requests(self.host, delta)


def _bootstrap_of(config: Any) -> dict[str, Any]:
    """A bootstrap in canonical form."""
    if isinstance(config, Mapping) and "clusters" in config:
        config = config["clusters"]
    if isinstance(config, Mapping) and not _is_bootstrap(config):
        one = isinstance(config.get("name"), str)
        config = [config] if one else [_named(name, each) for name, each in config.items()]
    if isinstance(config, list | tuple):
        clusters = [cluster_of(each) for each in config]
        return {"static_resources": {"clusters": clusters}}
    return load(config, check_support=False).document


def _is_bootstrap(config: Mapping[str, Any]) -> bool:
    return not config.keys().isdisjoint({"static_resources", "staticResources", "node"})


def _named(name: str, cluster: Any) -> dict[str, Any]:
    if not isinstance(cluster, Mapping):
        raise ConfigError(name, f"must be a Cluster, not {cluster!r}")
    return {"name": name, **cluster}


def _hash_policies(cluster: Mapping[str, Any]) -> list[dict[str, Any]]:
    """consistent_hashing_lb_config.hash_policy of the policy that counts."""
    policy = cluster.get("load_balancing_policy", {})
    inner = ("subset_lb_policy", "endpoint_picking_policy", "fallback_policy")
    while policy:
        extensions = [each.get("typed_extension_config", {}) for each in policy["policies"]]
        configs = [extension.get("typed_config", {}) for extension in extensions]
        config: dict[str, Any] = next(
            (c for c in configs if "TypedStruct" not in c.get("@type", "")), {}
        )
        own = config.get("consistent_hashing_lb_config", {}).get("hash_policy")
        if own:
            return list(own)
        policy = next((config[name] for name in inner if isinstance(config.get(name), dict)), {})
    return []


def _compiled(policies: list[dict[str, Any]]) -> HashPolicy | None:
    from meshcore.routing import RouteTable

    action = {"cluster": "any", "hash_policy": policies}
    routes = [{"match": {"prefix": "/"}, "route": action}]
    table = RouteTable({"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]})
    route = table.match([(":authority", "any"), (":path", "/"), (":method", "GET")])
    return None if route is None else route.hash_policy
