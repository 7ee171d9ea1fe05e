"""Payloads of health checks: bytes to send, and segments to look for (rule HC-11)."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any

from meshcore.errors import ConfigError

__all__ = ["matches", "payload", "segments"]


def payload(config: Mapping[str, Any] | None, path: str) -> bytes:
    """The bytes of a Payload: hex text, or bytes in canonical JSON's base64."""
    if not config:
        return b""
    if "text" in config:
        if not re.fullmatch(r"([0-9A-Fa-f]{2})*", config["text"]):
            raise ConfigError(f"{path}.text", "must be pairs of hexadecimal digits")
        return bytes.fromhex(config["text"])
    return base64.b64decode(config.get("binary", ""))


def segments(configs: Iterable[Mapping[str, Any]], path: str) -> list[bytes]:
    return [payload(config, f"{path}[{i}]") for i, config in enumerate(configs)]


def matches(wanted: Iterable[bytes], data: bytes) -> bool:
    """All segments occur in this order, without overlap; gaps are allowed."""
    at = 0
    for segment in wanted:
        found = data.find(segment, at)
        if found < 0:
            return False
        at = found + len(segment)
    return True
