"""Addresses as text."""

from __future__ import annotations

import ipaddress

__all__ = ["is_ip"]


def is_ip(text: str) -> bool:
    """Whether it is an IP address, without port or brackets; an IPv6 one may name its scope."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
