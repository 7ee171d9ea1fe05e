"""Whole bootstraps as people have them: read as a real Envoy reads them, field by field."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peers
import pytest

from meshcore.config import load, load_file
from meshcore.config.text import parse_yaml

FILES = sorted((Path(__file__).parent / "bootstraps").iterdir())


@pytest.fixture(params=FILES, ids=lambda path: path.name)
def path(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def test_it_loads(path: Path, tmp_path: Path) -> None:
    text = peers.render(path.read_text(), {"port": 10000, "admin_port": 10001})
    target = tmp_path / path.name
    target.write_text(text)
    config = load_file(target, allow_unsupported=True)
    assert load(config.document, allow_unsupported=True).document == config.document
    assert load(config.to_message(), allow_unsupported=True).document == config.document


@pytest.mark.oracle
def test_envoy_reads_the_same(path: Path, envoy: Callable[..., peers.Server]) -> None:
    server = envoy(path.read_text())
    with urllib.request.urlopen(f"http://127.0.0.1:{server.admin_port}/config_dump") as answer:
        dump = json.load(answer)
    (theirs,) = (c["bootstrap"] for c in dump["configs"] if "bootstrap" in c)
    text = peers.render(path.read_text(), server.values)
    # The file that Envoy got is YAML by its name, JSON or not.
    ours = load(parse_yaml(text), allow_unsupported=True).document
    for key in ("node", "admin"):
        # Envoy adds what it is to the node, and the peer gave it an admin listener.
        theirs.pop(key)
        ours.pop(key, None)
    assert leaves(ours) == leaves(theirs)


def leaves(tree: Any, path: str = "") -> dict[str, Any]:
    """Every value of a tree by its path; numbers as floats, for 1 and 1.0 are alike."""
    if isinstance(tree, (dict, list)) and tree:
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return {k: v for key, value in items for k, v in leaves(value, f"{path}/{key}").items()}
    is_number = isinstance(tree, int) and not isinstance(tree, bool)
    return {path: float(tree) if is_number else tree}
