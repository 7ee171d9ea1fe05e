"""Envoy's data plane as a Python library."""

from meshcore._version import __version__

__all__ = ["__version__"]
