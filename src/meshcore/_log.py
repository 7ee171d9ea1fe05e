"""The library's logger. Modules that log take it from here, so that `import meshcore` need not."""

from __future__ import annotations

import logging

__all__ = ["logger"]

logger = logging.getLogger("meshcore")
# A library stays silent unless its host sets up logging.
logger.addHandler(logging.NullHandler())
