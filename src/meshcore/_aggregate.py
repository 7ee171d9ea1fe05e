"""Aggregate clusters of a `ClusterManager`: the priorities of several clusters as one list."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from meshcore.balancing import Host, LoadBalancer, Retry

__all__ = ["Aggregate", "members_of"]

_TYPE = "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig"


def members_of(cluster: Mapping[str, Any]) -> list[str] | None:
    """The names that an aggregate cluster lists; None: it is a cluster of another type."""
    config = cluster.get("cluster_type", {}).get("typed_config", {})
    return list(config.get("clusters", ())) if config.get("@type") == _TYPE else None


class Aggregate:
    """Says which member serves a request; the member's own balancer then chooses a host.

    own: the balancer of the aggregate itself, of which the draws and the panic threshold count.
    members: names, in order. Those that are not among `balancers` are passed over.
    """

    def __init__(
        self, own: LoadBalancer, members: list[str], balancers: Mapping[str, LoadBalancer]
    ) -> None:
        self._own = own
        self._members = members
        self._balancers = balancers

    def choose(
        self,
        retry: Retry | None,
        hash_for: Callable[[str], Any],
        metadata: Mapping[str, Any] | None,
        *,
        nobody: bool = False,
    ) -> Host | None:
        """A host of a member.

        hash_for: the request's hash for a member, whose own hash policy may have it. nobody: a
            session insists on its host, which an aggregate, having none, does not find (ED-13).
        """
        host = None if nobody else self._choose(retry, hash_for, metadata)
        self._own._none += host is None
        if retry is not None and host is not None:
            retry.attempted.append(host)
        return host

    def _choose(
        self,
        retry: Retry | None,
        hash_for: Callable[[str], Any],
        metadata: Mapping[str, Any] | None,
    ) -> Host | None:
        core, found = self._own._core, [self._balancers.get(name) for name in self._members]
        core.gather([None if balancer is None else balancer._core for balancer in found])
        state = None
        if retry is not None and retry.attempted and retry.update_frequency:
            state = retry._tried(core, self._place)
        chosen = core.choose_member(state)
        balancer = None if chosen is None else found[chosen[0]]
        if chosen is None or balancer is None:
            return None
        asked = hash_for(self._members[chosen[0]])
        return balancer._choose(asked, metadata, retry, None, False, forced=chosen[1:])

    def home(self, host: Any) -> LoadBalancer:
        """The balancer of the member that a host is of; the aggregate's own when there is none."""
        index = self._home(host)
        return self._own if index is None else self._balancers[self._members[index]]

    def _home(self, host: Any) -> int | None:
        for index, name in enumerate(self._members):
            balancer = self._balancers.get(name)
            if balancer is not None and (
                host.cluster == name if isinstance(host, Host) else balancer._has(host)
            ):
                return index
        return None

    def _place(self, host: Any) -> int:
        """Of an attempted host's priority, among those of all members."""
        index = self._home(host)
        if index is None:
            return _NOWHERE
        return self._own._core.place(index, self.home(host)._priority_of(host))


_NOWHERE = 1 << 16
