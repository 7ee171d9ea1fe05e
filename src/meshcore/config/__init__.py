"""Envoy v3 configuration: text in, one validated canonical document out.

    from meshcore.config import load_file
    config = load_file("envoy.yaml")
    config.document          # canonical form, a dict
    config.to_core()         # the same as compact JSON, for the C core

protobuf and PyYAML are imported when the first configuration is loaded, not before.
"""

from __future__ import annotations

from meshcore.config.load import Config, load, load_file
from meshcore.config.schema import BOOTSTRAP, message_class, type_for_any

__all__ = ["BOOTSTRAP", "Config", "load", "load_file", "message_class", "type_for_any"]
