"""Compares the vendored libraries in the lock with their upstreams' release tags.

Prints one line for each library; exit status 1 when one is behind. A vendored parser that drifts
from its upstream misses its security fixes, so a scheduled job runs this.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "third_party.lock.json"
RELEASE = re.compile(r"refs/tags/(?:release/)?v?(\d+(?:\.\d+)+)(?:\^\{\})?$")

Version = tuple[int, ...]


def parse(text: str) -> Version:
    return tuple(int(part) for part in text.split("."))


def latest(upstream: str) -> str:
    """The highest release tag of a git repository; pre-releases carry a suffix and do not count."""
    listing = subprocess.run(
        ["git", "ls-remote", "--tags", upstream], capture_output=True, text=True, check=True
    )
    found = [m.group(1) for line in listing.stdout.splitlines() if (m := RELEASE.search(line))]
    if not found:
        sys.exit(f"meshcore: {upstream} has no release tag")
    return max(found, key=parse)


def main(lock: Path = LOCK) -> int:
    behind = 0
    for name, entry in json.loads(lock.read_text("utf-8")).items():
        if upstream := entry.get("upstream"):
            newest = latest(upstream)
            stale = parse(newest) > parse(entry["version"])
            behind += stale
            verdict = f"upstream has {newest}" if stale else "is the newest"
            print(f"{name} {entry['version']}: {verdict}")
    return 1 if behind else 0


if __name__ == "__main__":
    sys.exit(main())
