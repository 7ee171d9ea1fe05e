"""Checks the include directions of csrc/.

A room may include itself, the rooms above it in ROOMS, and the public headers below
include/meshcore/, which include nothing but each other. `Python.h` appears nowhere, and a header
whose purpose is a system call or a clock appears in event/ alone.

    python tools/lint_includes.py [csrc]
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOMS = (
    "base",
    "stats",
    "http",
    "h1",
    "h2",
    "cel",
    "route",
    "lb",
    "health",
    "event",
    "net",
    "pool",
    "proxy",
    "engine",
)
PUBLIC = "include"
# Vendored libraries, and the one room that talks to each.
VENDORED = {"llhttp.h": "h1"}
SYSTEM_CALLS = {
    "dirent.h",
    "fcntl.h",
    "netdb.h",
    "poll.h",
    "sched.h",
    "signal.h",
    "spawn.h",
    "sys/epoll.h",
    "sys/eventfd.h",
    "sys/ioctl.h",
    "sys/mman.h",
    "sys/random.h",
    "sys/resource.h",
    "sys/select.h",
    "sys/sendfile.h",
    "sys/stat.h",
    "sys/syscall.h",
    "sys/time.h",
    "sys/timerfd.h",
    "sys/wait.h",
    "unistd.h",
}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def check_include(room: str, quote: str, header: str) -> str | None:
    """Why a file of `room` must not include `header`, or None."""
    if header == "Python.h" or header.startswith("cpython/"):
        return "the core knows nothing of Python"
    if header.rpartition("/")[2] in VENDORED:
        owner = VENDORED[header.rpartition("/")[2]]
        return None if room == owner else f"only {owner}/ uses it"
    if quote == "<":
        if header in SYSTEM_CALLS and room != "event":
            return "only event/ makes system calls or reads a clock"
        return None
    top = header.partition("/")[0]
    if top == "meshcore":
        return None
    if room == PUBLIC:
        return "a public header includes only public headers"
    if top not in ROOMS or "/" not in header:
        return 'a header of ours is included as "room/name.h"'
    if ROOMS.index(top) > ROOMS.index(room):
        return f"{top}/ is below {room}/"
    return None


def lint(root: Path) -> Iterator[str]:
    for path in sorted([*root.rglob("*.c"), *root.rglob("*.h"), *root.rglob("*.def")]):
        room = path.relative_to(root).parts[0]
        if room not in (*ROOMS, PUBLIC):
            yield f"{path}: {room}/ is not a room (tools/lint_includes.py lists them)"
            continue
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if (match := INCLUDE.match(line)) and (why := check_include(room, *match.groups())):
                yield f"{path}:{number}: {match.group(2)}: {why}"


def run(lint: Callable[[Path], Iterator[str]], arguments: list[str]) -> int:
    """Prints what a linter of the core finds; the exit code."""
    faults = list(lint(Path(arguments[0] if arguments else "csrc")))
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(run(lint, sys.argv[1:]))
