"""Envoy's data plane as a Python library."""

import logging

from meshcore._version import __version__
from meshcore.errors import ConfigError, MeshcoreError, ProtocolError

__all__ = ["ConfigError", "MeshcoreError", "ProtocolError", "__version__"]

# A library stays silent unless its host sets up logging.
logging.getLogger("meshcore").addHandler(logging.NullHandler())
