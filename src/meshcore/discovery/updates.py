"""What every source of hosts counts of its cluster."""

from __future__ import annotations

from typing import Any

from meshcore._core.stats import Scope, Store

__all__ = ["Updates"]


class Updates:
    """Statistics of a cluster's membership."""

    def __init__(self, cluster: dict[str, Any], stats: Store) -> None:
        name = cluster.get("alt_stat_name") or cluster["name"]
        self.scope: Scope = stats.scope(f"cluster.{name}".replace(":", "_"))
        self.attempts = self.scope.counter("update_attempt")
        self.successes = self.scope.counter("update_success")
        self.failures = self.scope.counter("update_failure")
        self.unchanged = self.scope.counter("update_no_rebuild")
