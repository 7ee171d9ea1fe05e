"""Pages tell the truth: their snippets run, their values come out, their links lead somewhere."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import doctest
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

import meshcore
from meshcore.cli import main
from meshcore.config import load

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"

pytestmark = pytest.mark.tree


def snippets(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.S | re.M)


def pages_with(language: str) -> list[Path]:
    return [page for page in PAGES if snippets(page, language)]


def name_of(page: Path) -> str:
    return page.name


# --- python ---------------------------------------------------------------------------------------


def claims(code: str) -> Iterator[tuple[ast.stmt, Any]]:
    """Each statement with what the comment behind it says it is; Ellipsis: nothing."""
    lines = [*code.splitlines(), ""]
    for statement in ast.parse(code, mode="exec").body:
        assert statement.end_lineno is not None
        here, below = lines[statement.end_lineno - 1], lines[statement.end_lineno]
        comment = here.partition("  # ")[2] or (below[2:] if below.startswith("# ") else "")
        said: Any = ...
        for text in (comment, *(comment[: at.start()] for at in re.finditer(r"[:,] ", comment))):
            with contextlib.suppress(SyntaxError, ValueError):
                said = ast.literal_eval(text)
                break
        yield statement, said if isinstance(statement, ast.Expr) else ...


async def run(code: str, names: dict[str, Any]) -> None:
    for statement, said in claims(code):
        value = isinstance(statement, ast.Expr)
        tree: Any = (
            ast.Expression(statement.value)
            if isinstance(statement, ast.Expr)
            else ast.Module([statement], [])
        )
        mode = "eval" if value else "exec"
        compiled = compile(tree, "<page>", mode, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(compiled, names)
        if inspect.iscoroutine(result):
            result = await result
        if said is not ...:
            assert result == said, ast.unparse(statement)


async def answer(url: str) -> SimpleNamespace:
    return SimpleNamespace(status_code=200)


@pytest.mark.parametrize("page", pages_with("python"), ids=name_of)
def test_python(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    front = (ROOT / "examples" / "front_proxy.yaml").read_text("utf-8")
    front = re.sub(r"port_value: (10000|9901)\b", "port_value: 0", front)
    (tmp_path / "envoy.yaml").write_text(front)
    (tmp_path / "bootstrap.yaml").write_text(
        "static_resources: {clusters: [{name: orders, load_assignment: {cluster_name: orders,"
        " endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address:"
        " {address: 127.0.0.1, port_value: 1}}}}]}]}}]}"
    )
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {
        "meshcore": meshcore,
        "Path": Path,
        "client": SimpleNamespace(get=answer),
        "data": b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "input": lambda prompt: "",
        "yaml_text": "virtual_hosts: []",
    }
    asyncio.run(run("\n".join(snippets(page, "python")), names))


def test_claims_are_found_and_checked() -> None:
    page = 'x = 1\nx  # 1: so it is\nx + 1\n# 2\nx  # free text\n"a"  # "a"'
    assert [said for _, said in claims(page)] == [..., 1, 2, ..., "a"]
    with pytest.raises(AssertionError):
        asyncio.run(run("1 + 1  # 3", {}))


def test_prompts() -> None:
    for page in PAGES:
        if "    >>> " in page.read_text("utf-8"):
            assert doctest.testfile(str(page), module_relative=False).failed == 0
    assert doctest.testmod(meshcore.http).failed == 0


# --- configuration and commands -------------------------------------------------------------------


@pytest.mark.parametrize("page", pages_with("yaml"), ids=name_of)
def test_yaml(page: Path) -> None:
    for text in snippets(page, "yaml"):
        tree = yaml.safe_load(text)
        tree = {"http_filters": tree} if isinstance(tree, list) else tree
        if "http_filters" in tree:
            load({"stat_prefix": "x", "route_config": {}, **tree}, type=HCM)
        elif "load_balancing_policy" in tree:
            load({"name": "c", **tree}, type="envoy.config.cluster.v3.Cluster")
        else:
            load(tree)


def test_explain_says_what_its_page_shows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "explain.md").read_text("utf-8")
    [(command, shown)] = re.findall(r"^    \$ meshcore (.*)\n((?:    .*\n)+)", page, re.M)
    monkeypatch.chdir(ROOT)
    assert main(shlex.split(command)) == 0
    printed = capsys.readouterr().out.splitlines()
    for line in shown.splitlines():
        assert line.strip() == "..." or line[4:] in printed


# --- links ----------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_named_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    for page in PAGES[1:]:
        assert f"(docs/{page.name})" in readme, page.name
