"""A cluster in any form a caller may have it, down to the name of a policy of load balancing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshcore.errors import ConfigError

__all__ = ["cluster_of"]

_CLUSTER = "envoy.config.cluster.v3.Cluster"
_CLUSTER_URL = f"type.googleapis.com/{_CLUSTER}"
_POLICY = "envoy.config.cluster.v3.LoadBalancingPolicy"
_EXTENSIONS = "type.googleapis.com/envoy.extensions.load_balancing_policies."
_LEGACY = ("ROUND_ROBIN", "LEAST_REQUEST", "RANDOM", "RING_HASH", "MAGLEV")
_TYPED = {
    "PEAK_EWMA": "type.googleapis.com/meshcore.PeakEwma",
    "CLIENT_SIDE_WEIGHTED_ROUND_ROBIN": _EXTENSIONS
    + "client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin",
}


def cluster_of(source: Any) -> dict[str, Any]:
    """A Cluster in canonical form, of whatever `LoadBalancer` takes as one."""
    from meshcore.config import load
    from meshcore.config.load import tree_of

    kind = getattr(getattr(source, "DESCRIPTOR", None), "full_name", _CLUSTER)
    tree = _policy_named(source) if isinstance(source, str) else None
    if tree is None:
        tree = tree_of(source, kind)
    if isinstance(tree, Mapping):
        if kind == _POLICY or "policies" in tree:
            tree = {"load_balancing_policy": tree}
        elif "typed_extension_config" in tree or "typedExtensionConfig" in tree:
            tree = {"load_balancing_policy": {"policies": [tree]}}
        elif "typed_config" in tree or "typedConfig" in tree:
            tree = {"load_balancing_policy": {"policies": [{"typed_extension_config": tree}]}}
        elif kind != _CLUSTER or tree.get("@type", _CLUSTER_URL) != _CLUSTER_URL:
            tree = _extension({"@type": f"type.googleapis.com/{kind}", **tree})
        tree = {"name": "cluster", **{k: v for k, v in tree.items() if k != "@type"}}
        assignment = tree.get("load_assignment")
        if isinstance(assignment, Mapping) and "clusterName" not in assignment:
            tree["load_assignment"] = {"cluster_name": tree["name"], **assignment}
    document: dict[str, Any] = load(tree, type=_CLUSTER, check_support=False).document
    return document


def _extension(typed: Mapping[str, Any]) -> dict[str, Any]:
    extension = {"name": "policy", "typed_config": typed}
    return {"load_balancing_policy": {"policies": [{"typed_extension_config": extension}]}}


def _policy_named(name: str) -> dict[str, Any] | None:
    """Cluster fields of a policy's name in one of its spellings; None when it is none."""
    if not name.replace(".", "").replace("_", "").replace("-", "").isalnum():
        return None
    key = name.removeprefix("envoy.load_balancing_policies.").upper()
    squeezed = key.replace("_", "").replace("-", "")
    for policy in _LEGACY:
        if squeezed == policy.replace("_", ""):
            return {"lb_policy": policy}
    for policy, kind in _TYPED.items():
        if squeezed == policy.replace("_", ""):
            return _extension({"@type": kind})
    names = ", ".join([*_LEGACY, *_TYPED])
    raise ConfigError("lb_policy", f"{name!r} is no policy; there are {names}")
