"""The build backend: setuptools, with the vendored sources put in place before it starts.

The `get_requires_*` hooks answer for themselves: setuptools would run setup.py to find out, before
those sources exist.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from setuptools import build_meta

import schema
import vendor

Settings = Mapping[str, Any] | None


def prepare() -> None:
    """Put in place what the build needs and the repository does not hold."""
    try:
        vendor.ensure()
        schema.ensure()
    except vendor.VendorError as error:
        sys.exit(f"meshcore: {error}")


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    return []


def get_requires_for_build_editable(config_settings: Settings = None) -> list[str]:
    return []


def get_requires_for_build_sdist(config_settings: Settings = None) -> list[str]:
    return []


def prepare_metadata_for_build_wheel(directory: str, config_settings: Settings = None) -> str:
    prepare()
    return build_meta.prepare_metadata_for_build_wheel(directory, config_settings)


def prepare_metadata_for_build_editable(directory: str, config_settings: Settings = None) -> str:
    prepare()
    return build_meta.prepare_metadata_for_build_editable(directory, config_settings)


def build_wheel(
    directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    prepare()
    return build_meta.build_wheel(directory, config_settings, metadata_directory)


def build_editable(
    directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    prepare()
    return build_meta.build_editable(directory, config_settings, metadata_directory)


def build_sdist(directory: str, config_settings: Settings = None) -> str:
    prepare()
    return build_meta.build_sdist(directory, config_settings)
