#!/bin/sh
# Installs what this machine lacks for the named groups of Debian or Ubuntu packages, and says nothing when
# it lacks nothing: `tools/setup.sh build test check bench gate`. Needs root or sudo only when it installs.
set -eu

fail() {
    echo "meshcore: $*" >&2
    exit 1
}

PYTHON=${PYTHON:-python3}
missing=""

# need COMMAND PACKAGE...: the packages are wanted unless the command runs.
need() {
    command -v "$1" >/dev/null 2>&1 || { shift; missing="$missing $*"; }
}

# need_python CODE PACKAGE...: the packages are wanted unless Python runs the code.
need_python() {
    "$PYTHON" -c "$1" >/dev/null 2>&1 || { shift; missing="$missing $*"; }
}

for group in "$@"; do
    case $group in
    build)
        need gcc gcc libc6-dev
        need g++ g++
        need make make
        echo '#include <re2/re2.h>' | g++ -x c++ -fsyntax-only - 2>/dev/null || missing="$missing libre2-dev"
        echo '#include <zlib.h>' | gcc -E -x c - >/dev/null 2>&1 || missing="$missing zlib1g-dev"
        need "$PYTHON" python3
        need_python 'import ensurepip, venv' python3-venv
        need_python 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' python3-dev
        ;;
    test)
        need ccache ccache # several builds of one core
        need curl curl
        need nginx nginx-light
        need wrk wrk
        need unshare util-linux # redirected connections, in a network of the test's own
        need ip iproute2
        [ -x /usr/sbin/iptables ] || need iptables iptables # no part of the path of most users
        ;;
    check)
        need clang clang
        need llvm-symbolizer llvm
        # So that every coding is built and tested where everything is.
        echo '#include <brotli/encode.h>' | gcc -E -x c - >/dev/null 2>&1 || missing="$missing libbrotli-dev"
        echo '#include <zstd.h>' | gcc -E -x c - >/dev/null 2>&1 || missing="$missing libzstd-dev"
        # libFuzzer and the sanitizers of clang are a package of their own.
        echo 'int LLVMFuzzerTestOneInput(const char *d, long n) { return d && n < 0; }' |
            clang -x c -fsanitize=fuzzer,address -o /dev/null - 2>/dev/null ||
            missing="$missing clang libclang-rt-dev"
        ;;
    bench)
        need haproxy haproxy
        need h2o h2o
        need h2load nghttp2-client
        need strace strace
        ;;
    gate)
        need valgrind valgrind
        ;;
    *) fail "tools/setup.sh: no group $group (build, test, check, bench, gate)" ;;
    esac
done

if [ -n "$missing" ]; then
    command -v apt-get >/dev/null 2>&1 || fail "these are missing, and there is no apt-get here:$missing"
    sudo=""
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null 2>&1 || fail "as root, run: apt-get install$missing"
        sudo="sudo -n"
        $sudo true 2>/dev/null || fail "as root, run: apt-get install$missing"
    fi
    echo "installing:$missing"
    # libclang-rt-dev is a name of newer releases; older ones carry the version of their clang.
    case $missing in
    *libclang-rt-dev*)
        if ! apt-cache show libclang-rt-dev >/dev/null 2>&1; then
            version=$(apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p' | head -1)
            missing=$(echo "$missing" | sed "s/libclang-rt-dev/libclang-rt-$version-dev/")
        fi
        ;;
    esac
    log=$(mktemp)
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086  # a list of packages
    if ! { $sudo apt-get update -q && $sudo apt-get install -qy --no-install-recommends $missing; } \
        >"$log" 2>&1 </dev/null; then
        tail -5 "$log" >&2
        rm -f "$log"
        fail "apt-get could not install:$missing"
    fi
    rm -f "$log"
fi

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$PYTHON is older than 3.11: name a newer one with PYTHON=..."
