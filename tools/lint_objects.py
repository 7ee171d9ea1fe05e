"""Checks what the compiled core does, which its text can hide, in the objects of `make core`.

- no mutable globals: nothing in .data or .bss;
- only event/ calls a function that enters the kernel or reads a clock;
- only base/alloc.c calls the C library's allocator;
- nothing ends the process, prints, or reads the environment: meshcore is a guest.

    python tools/lint_objects.py build/core/csrc
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

KERNEL = set(
    "accept accept4 bind clock_gettime close connect dup dup2 dup3 epoll_create1 epoll_ctl "
    "epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd_read eventfd_write fcntl fcntl64 fopen "
    "fopen64 freeaddrinfo getaddrinfo getentropy getpeername getrandom getrusage getsockname "
    "getsockopt gettimeofday ioctl listen lseek mmap mmap64 munmap nanosleep open open64 openat "
    "pipe pipe2 poll ppoll pread preadv pwrite pwritev read readv recv recvfrom recvmmsg recvmsg "
    "select send sendfile sendmmsg sendmsg sendto setsockopt shutdown sleep socket socketpair "
    "splice stat syscall time timerfd_create timerfd_gettime timerfd_settime usleep write "
    "writev".split()
)
ALLOCATOR = set(
    "malloc calloc realloc reallocarray free aligned_alloc posix_memalign memalign strdup strndup "
    "asprintf vasprintf getline open_memstream".split()
)
GUEST = set(
    "_exit abort exit fork fprintf fputs fwrite getenv printf putchar puts quick_exit setenv "
    "signal sigaction system vfprintf vprintf __printf_chk __fprintf_chk".split()
)
SYMBOL = re.compile(r"^[0-9a-f]+ (.{7}) (\S+)\t[0-9a-f]+ +(?:\.hidden )?(\S+)$")


def check_object(where: str, table: str) -> Iterator[str]:
    """The faults of one object by its symbol table (`objdump -t`); `where` is like "base/map.o"."""
    for line in table.splitlines():
        if not (match := SYMBOL.match(line)):
            continue
        flags, section, name = match.groups()
        if section == "*UND*":
            yield from check_call(where, name)
        elif "O" in flags and is_mutable(section):
            yield f"{where}: {name} is a mutable global ({section})"


def check_call(where: str, name: str) -> Iterator[str]:
    if name in KERNEL and not where.startswith("event/"):
        yield f"{where}: calls {name}: only event/ makes system calls or reads a clock"
    if name in ALLOCATOR and where != "base/alloc.o":
        yield f"{where}: calls {name}: memory comes from mc_malloc or an arena"
    if name in GUEST:
        yield f"{where}: calls {name}: the process belongs to the host"


def is_mutable(section: str) -> bool:
    """Whether a section is written at run time; relocated constants are not, once loaded."""
    # The second is what C++ looks its exception handler up by.
    constant = section.startswith((".data.rel.ro", ".data.rel.local.DW.ref"))
    return section.startswith((".data", ".bss", "*COM*")) and not constant


def main(arguments: list[str]) -> int:
    root = Path(arguments[0] if arguments else "build/core/csrc")
    objects = sorted(root.rglob("*.o"))
    if not objects:
        print(f"{root}: no objects; run `make core`", file=sys.stderr)
        return 1
    faults = []
    for path in objects:
        dump = subprocess.run(["objdump", "-t", path], capture_output=True, text=True, check=True)
        faults += check_object(path.relative_to(root).as_posix(), dump.stdout)
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
