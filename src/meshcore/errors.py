"""The exceptions that meshcore raises on purpose; everything else that escapes is a defect."""

from __future__ import annotations

TYPE_CHECKING = False  # typing would be the dearest import here

if TYPE_CHECKING:
    from typing import Any

__all__ = ["ConfigError", "MeshcoreError", "ProtocolError"]


class MeshcoreError(Exception):
    """Base of every error that meshcore raises on purpose."""


class ConfigError(MeshcoreError, ValueError):
    """A configuration that cannot be used.

    ``path`` names the field, as in ``static_resources.clusters[0].connect_timeout``; it is empty
    when the fault belongs to no single field. ``reason`` says what the field must be, or what is
    wrong with it. ``others`` holds further faults when several were found at once.
    """

    path: str
    reason: str
    others: tuple[ConfigError, ...]

    def __init__(self, path: str, reason: str, others: tuple[ConfigError, ...] = ()) -> None:
        super().__init__(path, reason, others)
        self.path = path
        self.reason = reason
        self.others = others

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason


class ProtocolError(MeshcoreError, ValueError):
    """Bytes from a peer that break the protocol.

    ``details`` is a short stable reason, spelled as Envoy's response code details; ``reply_code``
    is the HTTP status that a server answers with. ``events`` holds what the same call had parsed
    before the fault.
    """

    details: str
    reply_code: int
    events: list[Any]

    def __init__(self, details: str, reply_code: int = 400) -> None:
        super().__init__(details, reply_code)
        self.details = details
        self.reply_code = reply_code
        self.events = []

    def __str__(self) -> str:
        return self.details
