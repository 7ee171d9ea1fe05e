"""Values of the runtime, as the control side reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["runtime_integer", "static_runtime"]


def static_runtime(bootstrap: Mapping[str, Any]) -> dict[str, Any]:
    """The static layers, names joined by dots, later ones over earlier ones."""
    found: dict[str, Any] = {}

    def take(prefix: str, layer: Mapping[str, Any]) -> None:
        for key, value in layer.items():
            if isinstance(value, Mapping) and not {"numerator", "denominator"} & set(value):
                take(f"{prefix}{key}.", value)
            else:
                found[f"{prefix}{key}"] = value

    for layer in bootstrap.get("layered_runtime", {}).get("layers", ()):
        take("", layer.get("static_layer", {}))
    return found


def runtime_integer(runtime: Mapping[str, Any], key: str, otherwise: int) -> int:
    """A whole number that is not negative, or text of one; anything else does not count."""
    value = runtime.get(key)
    if isinstance(value, bool) or value is None:
        return otherwise
    try:
        number = float(value)
    except (TypeError, ValueError):
        return otherwise
    return int(number) if number >= 0 and number == int(number) else otherwise
