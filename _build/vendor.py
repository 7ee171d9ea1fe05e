"""Third-party sources for the build, by lock, never committed.

`third_party.lock.json` names, for each library, the package on the registry that carries its
source, the SHA-256 of that package's file, and the path and SHA-256 of each member we use.
`ensure()` makes `third_party/<library>/` hold those members, from the first of these that has them:

1. the tree itself (an sdist carries them);
2. the cache, `$MESHCORE_VENDOR_CACHE` or `$XDG_CACHE_HOME/meshcore/vendor`;
3. the package registry, through pip, which checks the hash itself.

Every failure is one line. Run as a program, it does the same for `make core`.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "third_party.lock.json"
TREE = ROOT / "third_party"

Entry = Mapping[str, Any]


class VendorError(Exception):
    """A vendored file cannot be had; the message is one line for the person who builds."""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def load_lock(lock: Path = LOCK) -> dict[str, Entry]:
    try:
        entries = json.loads(lock.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise VendorError(f"cannot read {lock}: {error}") from None
    assert isinstance(entries, dict)
    return entries


def cache_dir() -> Path:
    if own := os.environ.get("MESHCORE_VENDOR_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "meshcore" / "vendor"


def archive(name: str, entry: Entry) -> Path:
    """The package file of one lock entry, from the cache or else the registry, its hash checked."""
    kept = cache_dir() / entry["sha256"] / entry["file"]
    if kept.is_file() and sha256(kept.read_bytes()) == entry["sha256"]:
        return kept
    if os.environ.get("MESHCORE_VENDOR_OFFLINE"):
        raise VendorError(
            f"{_wanted(name, entry)} is not in {cache_dir()} and MESHCORE_VENDOR_OFFLINE is set"
        )
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as directory:
        got = _download(name, entry, Path(directory))
        # A rename is atomic, so builds that share the cache never see half a file.
        os.replace(got, kept)
    return kept


def members(name: str, entry: Entry) -> dict[str, bytes]:
    """The listed members of one entry's package, each checked against the lock."""
    inside = _read_members(archive(name, entry), {m["path"] for m in entry["members"].values()})
    found: dict[str, bytes] = {}
    for target, member in entry["members"].items():
        data = inside.get(member["path"])
        if data is None:
            raise VendorError(f"{entry['file']} has no member {member['path']}")
        if sha256(data) != member["sha256"]:
            raise VendorError(
                f"{member['path']} of {entry['file']} has SHA-256 {sha256(data)}, "
                f"but {LOCK.name} says {member['sha256']}"
            )
        found[target] = data
    return found


def ensure(lock: Path = LOCK, tree: Path = TREE) -> list[str]:
    """Make `tree` hold every locked member; returns the libraries that were missing."""
    fetched = []
    for name, entry in load_lock(lock).items():
        wanted = entry.get("members", {})
        if all(_has(tree / name / file, member["sha256"]) for file, member in wanted.items()):
            continue
        for file, data in members(name, entry).items():
            write(tree / name / file, data)
        fetched.append(name)
    return fetched


def write(path: Path, data: bytes) -> None:
    """Replace a file in one step: parallel builds of one tree never read half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_bytes(data)
    os.replace(partial, path)


def _has(path: Path, digest: str) -> bool:
    try:
        return sha256(path.read_bytes()) == digest
    except OSError:
        return False


def _wanted(name: str, entry: Entry) -> str:
    return f"{entry['file']} (for {name} {entry['version']})"


def _read_members(path: Path, wanted: set[str]) -> dict[str, bytes]:
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            return {n: wheel.read(n) for n in wheel.namelist() if n in wanted}
    found = {}
    with tarfile.open(path) as sdist:
        for info in sdist:
            # An sdist has one top directory, which the lock leaves out.
            inner = info.name.partition("/")[2]
            if inner in wanted and (stream := sdist.extractfile(info)) is not None:
                found[inner] = stream.read()
    return found


def _download(name: str, entry: Entry, directory: Path) -> Path:
    """Fetch with the registry's ordinary client, which verifies the hash before it opens it."""
    requirements = directory / "requirements.txt"
    requirements.write_text(
        f"{entry['package']}=={entry['package_version']} --hash=sha256:{entry['sha256']}\n"
    )
    form = "--only-binary" if entry["kind"] == "wheel" else "--no-binary"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", form, ":all:"]
    command += ["--retries", "1", "--disable-pip-version-check", "--require-hashes"]
    command += ["-r", str(requirements), "-d", str(directory)]
    if entry["kind"] == "sdist" and _setuptools_version() >= 77:
        # pip asks an sdist for its metadata; with setuptools at hand that needs no second download.
        command.append("--no-build-isolation")
    # When a build frontend runs us, its hooks' variables would tell the inner pip to look for the
    # package's backend in our own tree.
    environ = {k: v for k, v in os.environ.items() if not k.startswith("_PYPROJECT_HOOKS_")}
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=environ,
        check=False,
    )
    got = directory / entry["file"]
    if run.returncode == 0 and got.is_file() and sha256(got.read_bytes()) == entry["sha256"]:
        return got
    raise VendorError(_reason(name, entry, run.stdout + run.stderr))


def _reason(name: str, entry: Entry, output: str) -> str:
    if "No module named pip" in output:
        return f"{_wanted(name, entry)} is not in {cache_dir()}, and {sys.executable} has no pip"
    if "DO NOT MATCH THE HASHES" in output:
        got = re.search(r"Got\s+([0-9a-f]{64})", output)
        return (
            f"{_wanted(name, entry)} does not match {LOCK.name}: expected SHA-256 "
            f"{entry['sha256']}, the registry has {got.group(1) if got else 'another'}"
        )
    network = re.search(
        r"Connection|Max retries|Name or service|Temporary failure|No matching distribution", output
    )
    if network:
        return (
            f"{_wanted(name, entry)} is not in {cache_dir()} and the package registry cannot be "
            "reached: connect once, or set MESHCORE_VENDOR_CACHE to a filled cache"
        )
    errors = re.findall(r"^(?:ERROR|error): *(.+)$", output, re.MULTILINE)
    return f"{_wanted(name, entry)} cannot be fetched: {errors[-1] if errors else 'pip failed'}"


def _setuptools_version() -> int:
    try:
        return int(importlib.metadata.version("setuptools").partition(".")[0])
    except importlib.metadata.PackageNotFoundError:
        return 0


def main() -> int:
    try:
        fetched = ensure()
    except VendorError as error:
        print(f"meshcore: {error}", file=sys.stderr)
        return 1
    for name in fetched:
        print(f"third_party/{name}: fetched")
    return 0


if __name__ == "__main__":
    sys.exit(main())
