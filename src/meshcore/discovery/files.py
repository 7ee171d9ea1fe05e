"""Discovery from files: DiscoveryResponses that are read again whenever they are replaced.

A file is looked at twice a second: a replaced file, a changed symlink on the way to it and a write
in place are all seen by what it is (device, number, size, time), on every file system.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from meshcore.config import load_file

__all__ = ["LOOK_S", "ResourceFile", "path_of"]

RESPONSE = "envoy.service.discovery.v3.DiscoveryResponse"
LOOK_S = 0.5


def path_of(source: dict[str, Any]) -> str:
    """Where a ConfigSource says that its file is; empty: it is no file."""
    path: str = source.get("path_config_source", {}).get("path") or source.get("path", "")
    return path


class ResourceFile:
    """One file of resources, and what it was when it was looked at last."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self._seen: tuple[int, ...] | None = None

    def changed(self) -> bool:
        """Whether it is another one than at the last call; a file that is gone is not."""
        try:
            info = self.path.stat()
        except OSError:
            return False
        seen = (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)
        if seen == self._seen:
            return False
        self._seen = seen
        return True

    def read(self) -> tuple[str, list[dict[str, Any]]]:
        """Its version and its resources. Raises OSError, ConfigError or ValueError."""
        document = load_file(self.path, type=RESPONSE).document
        return document.get("version_info", ""), document.get("resources", [])
