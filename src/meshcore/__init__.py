"""Envoy's data plane as a Python library."""

from meshcore._version import __version__
from meshcore.errors import ConfigError, MeshcoreError, ProtocolError

__all__ = ["ConfigError", "MeshcoreError", "ProtocolError", "__version__"]
