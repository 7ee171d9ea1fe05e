"""The list of explained differences and the tests that allow them."""

from __future__ import annotations

from pathlib import Path

import pytest
from differences import EXPLAINED, SOURCE

TESTS = SOURCE.parent
FIELDS = ["area", "what", "ours", "envoy", "why"]


@pytest.mark.tree
@pytest.mark.parametrize("key", EXPLAINED)
def test_each_is_told_in_full_and_shown_by_a_test(key: str) -> None:
    one = EXPLAINED[key]
    assert list(one) == FIELDS
    assert all(text and "|" not in text and not text.endswith(".") for text in one.values())
    named = (f'"{key}"', f"difference: {key}")
    found = [
        path.name
        for path in TESTS.rglob("*.*")
        if path.suffix in (".py", ".c") and any(name in path.read_text("utf-8") for name in named)
    ]
    assert found, f"no test shows that {one['what']!r} is answered so"


@pytest.mark.tree
def test_other_pages_list_none() -> None:
    docs = TESTS.parent / "docs"
    listing = [
        path.name
        for path in (*docs.glob("*.md"), Path(TESTS.parent, "README.md"))
        if path.name != "differences.md" and "if different |" in path.read_text("utf-8")
    ]
    assert listing == []
