"""Vendored sources: what the lock promises, and one clear line when it cannot be kept."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "_build"))

import vendor

pytestmark = pytest.mark.tree

SOURCE = b"int answer(void) { return 42; }\n"
PYPROJECT = b"""[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "carrier"
version = "1.0"
[tool.setuptools]
py-modules = []
"""

Lock = Callable[..., Path]


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that pip takes for the registry, holding one package; the cache is empty."""
    links = tmp_path / "registry"
    links.mkdir()
    with tarfile.open(links / "carrier-1.0.tar.gz", "w:gz") as sdist:
        for name, data in {
            "pyproject.toml": PYPROJECT,
            "PKG-INFO": b"Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n",
            "vendor/answer.c": SOURCE,
            "vendor/unlisted.c": b"#error\n",
        }.items():
            info = tarfile.TarInfo(f"carrier-1.0/{name}")
            info.size = len(data)
            sdist.addfile(info, io.BytesIO(data))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    monkeypatch.setenv("MESHCORE_VENDOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MESHCORE_VENDOR_OFFLINE", raising=False)
    return links


@pytest.fixture
def lock(registry: Path, tmp_path: Path) -> Lock:
    def write(**changes: Any) -> Path:
        entry: dict[str, Any] = {
            "version": "1.0",
            "package": "carrier",
            "package_version": "1.0",
            "kind": "sdist",
            "file": "carrier-1.0.tar.gz",
            "sha256": hashlib.sha256((registry / "carrier-1.0.tar.gz").read_bytes()).hexdigest(),
            "members": {
                "answer.c": {
                    "path": "vendor/answer.c",
                    "sha256": hashlib.sha256(SOURCE).hexdigest(),
                }
            },
        }
        path = tmp_path / "lock.json"
        path.write_text(json.dumps({"answer": entry | changes}))
        return path

    return write


def wrong(digest: str) -> str:
    return digest[:-1] + ("0" if digest[-1] != "0" else "1")


def fault(lock_file: Path, tree: Path) -> str:
    with pytest.raises(vendor.VendorError) as info:
        vendor.ensure(lock_file, tree)
    message = str(info.value)
    assert "\n" not in message
    assert not list(tree.rglob("*.c"))
    return message


def test_fetches_the_listed_members_only(lock: Lock, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    assert vendor.ensure(lock(), tree) == ["answer"]
    assert (tree / "answer" / "answer.c").read_bytes() == SOURCE
    assert [p.name for p in tree.rglob("*") if p.is_file()] == ["answer.c"]


def test_fetches_inside_a_build_hook(
    lock: Lock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_PYPROJECT_HOOKS_BACKEND_PATH_JSON", json.dumps([str(ROOT / "_build")]))
    monkeypatch.setenv("_PYPROJECT_HOOKS_BUILD_BACKEND", "backend")
    assert vendor.ensure(lock(), tmp_path / "tree") == ["answer"]


def test_tree_needs_neither_cache_nor_registry(
    lock: Lock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "tree"
    vendor.ensure(lock(), tree)
    monkeypatch.setenv("MESHCORE_VENDOR_CACHE", str(tmp_path / "other"))
    monkeypatch.setenv("MESHCORE_VENDOR_OFFLINE", "1")
    assert vendor.ensure(lock(), tree) == []


def test_cache_needs_no_registry(
    lock: Lock, registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = lock()
    vendor.ensure(path, tmp_path / "tree")
    (registry / "carrier-1.0.tar.gz").unlink()
    monkeypatch.setenv("MESHCORE_VENDOR_OFFLINE", "1")
    assert vendor.ensure(path, tmp_path / "second") == ["answer"]


def test_damaged_member_and_damaged_cache_are_replaced(lock: Lock, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    vendor.ensure(lock(), tree)
    (tree / "answer" / "answer.c").write_bytes(b"changed")
    (cached,) = (tmp_path / "cache").rglob("*.gz")
    cached.write_bytes(b"damaged")
    assert vendor.ensure(lock(), tree) == ["answer"]
    assert (tree / "answer" / "answer.c").read_bytes() == SOURCE


def test_wrong_digit_of_the_package(lock: Lock, tmp_path: Path) -> None:
    right = json.loads(lock().read_text())["answer"]["sha256"]
    message = fault(lock(sha256=wrong(right)), tmp_path / "tree")
    assert message.startswith("carrier-1.0.tar.gz (for answer 1.0) does not match")
    assert wrong(right) in message
    assert right in message


def test_wrong_digit_of_a_member(lock: Lock, tmp_path: Path) -> None:
    right = hashlib.sha256(SOURCE).hexdigest()
    members = {"answer.c": {"path": "vendor/answer.c", "sha256": wrong(right)}}
    message = fault(lock(members=members), tmp_path / "tree")
    assert "vendor/answer.c of carrier-1.0.tar.gz has SHA-256" in message
    assert wrong(right) in message


def test_member_that_is_not_there(lock: Lock, tmp_path: Path) -> None:
    members = {"answer.c": {"path": "vendor/gone.c", "sha256": "0" * 64}}
    assert "has no member vendor/gone.c" in fault(lock(members=members), tmp_path / "tree")


@pytest.mark.parametrize("how", ["no package", "no server"])
def test_no_network_and_an_empty_cache(
    how: str, lock: Lock, registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = lock()
    (registry / "carrier-1.0.tar.gz").unlink()
    if how == "no server":
        monkeypatch.delenv("PIP_NO_INDEX")
        # The discard port of the loopback, which nothing listens on.
        monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    message = fault(path, tmp_path / "tree")
    assert message.startswith("carrier-1.0.tar.gz (for answer 1.0) is not in ")
    assert "MESHCORE_VENDOR_CACHE" in message


def test_no_pip(lock: Lock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = lock()
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    monkeypatch.setattr(sys, "executable", str(bare / "bin" / "python"))
    message = fault(path, tmp_path / "tree")
    assert message.endswith(f"{bare}/bin/python has no pip")


def test_offline_by_request(lock: Lock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESHCORE_VENDOR_OFFLINE", "1")
    assert "MESHCORE_VENDOR_OFFLINE is set" in fault(lock(), tmp_path / "tree")


def test_the_program_says_one_line_and_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> list[str]:
        raise vendor.VendorError("no such thing")

    monkeypatch.setattr(vendor, "ensure", refuse)
    assert vendor.main() == 1
    assert capsys.readouterr().err == "meshcore: no such thing\n"


def test_every_entry_of_the_lock_is_whole() -> None:
    for name, entry in vendor.load_lock().items():
        assert len(entry["sha256"]) == 64, name
        assert entry["package_version"] in entry["file"], name
        assert entry["kind"] in ("sdist", "wheel"), name
        for file, member in entry.get("members", {}).items():
            assert len(member["sha256"]) == 64, file
