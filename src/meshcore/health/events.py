"""Event logs of health decisions: one JSON object a line, in the shapes of Envoy's
``OutlierDetectionEvent`` (rule OD-15) and ``HealthCheckEvent`` (rule HC-15)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from meshcore._log import logger as log
from meshcore.errors import ConfigError

__all__ = ["EventLog", "outlier_event", "timestamp"]

STATISTICS = {"SUCCESS_RATE", "SUCCESS_RATE_LOCAL_ORIGIN"}
PERCENTAGES = {"FAILURE_PERCENTAGE", "FAILURE_PERCENTAGE_LOCAL_ORIGIN"}


def timestamp(wall_ms: int) -> str:
    """As proto3 JSON writes a Timestamp: no fraction, or three digits of it."""
    at = datetime.fromtimestamp(wall_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = wall_ms % 1000
    return f"{at}.{fraction:03d}Z" if fraction else f"{at}Z"


def outlier_event(event: dict[str, Any]) -> dict[str, Any]:
    """One decision of outlier detection, default values included."""
    kind: str = event["type"]
    out: dict[str, Any] = {"type": kind, "timestamp": timestamp(event["wall_ms"])}
    if event["since_ms"] is not None:
        out["secs_since_last_action"] = str(event["since_ms"] // 1000)
    ejected = event["action"] != "UNEJECT"
    out |= {
        "cluster_name": event["cluster"],
        "upstream_url": event["address"],
        "action": "EJECT" if ejected else "UNEJECT",
        "num_ejections": event["ejections"],
        "enforced": event["action"] == "EJECT",
    }
    if not ejected:
        return out
    rate = _u32(event["success_rate"])
    if kind in STATISTICS:
        out["eject_success_rate_event"] = {
            "host_success_rate": rate,
            "cluster_average_success_rate": _u32(event["average"]),
            "cluster_success_rate_ejection_threshold": _u32(event["threshold"]),
        }
    elif kind in PERCENTAGES:
        out["eject_failure_percentage_event"] = {"host_success_rate": rate}
    else:
        out["eject_consecutive_event"] = {}
    return out


def _u32(value: float) -> int:
    return max(0, int(value))


def check_log(path: str | None, field: str) -> None:
    """Raises ConfigError when events cannot be appended to a file; None is no file."""
    if path:
        try:
            Path(path).open("a").close()
        except (OSError, ValueError) as error:
            raise ConfigError(field, f"cannot be opened for writing: {error}") from None


class EventLog:
    """A file that lines are appended to, there from the start; without a path nothing is written.

    What cannot be written is logged once and dropped: a full disk must not stop traffic."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._file: IO[str] | None = None
        self._failed = False
        if path:
            self._try(self._open)

    def _open(self) -> IO[str]:
        if self._file is None:
            self._file = Path(self._path or "").open("a", encoding="utf-8", buffering=1)  # noqa: SIM115
        return self._file

    def _try(self, action: Callable[[], object]) -> None:
        try:
            action()
        except OSError as error:
            if not self._failed:
                log.warning("cannot write the event log %s: %s", self._path, error)
            self._failed = True

    def write(self, event: dict[str, Any]) -> None:
        if self._path:
            line = json.dumps(event, separators=(",", ":")) + "\n"
            self._try(lambda: self._open().write(line))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
