"""The proxies and the configuration each gets: what a careful operator would write for speed.

All forward every path of `127.0.0.1:$port` to the one origin, over HTTP/1.1 with kept connections
on both sides, one worker, no TLS. A name that ends in `+log` is the same proxy writing a line for
each request to a file; the plain one writes none (meshcore keeps its access record even so).
"""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import peers

from bench import ROOT

PYTHON_PEERS = [
    "aiohttp==3.14.5",
    "httptools==0.9.0",
    "httpx==0.28.1",
    "starlette==1.10.0",
    "uvicorn==0.54.0",
    "uvloop==0.23.0",
]

# --- nginx --------------------------------------------------------------------------------------
# `keepalive` pools upstream connections, and an empty Connection header is what lets it. The limits
# on requests per connection are lifted: their default (1000) would add reconnects to the figures.
# The buffer for request heads holds the larger ones of the bench, which saves a second read.

NGINX = """\
daemon off;
worker_processes 1;
pid $directory/pid;
error_log stderr warn;
$user
events { worker_connections 16000; }
http {
    access_log $access_log;
    client_body_temp_path $directory/body;
    proxy_temp_path $directory/proxy;
    fastcgi_temp_path $directory/fastcgi;
    uwsgi_temp_path $directory/uwsgi;
    scgi_temp_path $directory/scgi;
    client_header_buffer_size 4k;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    tcp_nodelay on;
    upstream origin {
        server 127.0.0.1:$origin;
        keepalive 256;
        keepalive_requests 1000000000;
        keepalive_timeout 1h;
    }
    server {
        listen 127.0.0.1:$port backlog=4096;
        location / {
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
    }
}
"""

# --- HAProxy ------------------------------------------------------------------------------------
# `http-reuse always` shares upstream connections among clients; one thread; no splice, the default.

HAPROXY = """\
global
    nbthread 1
    maxconn 9000
    $log_target
defaults
    mode http
    $log
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout http-keep-alive 1h
    http-reuse always
    option http-keep-alive
frontend all
    bind 127.0.0.1:$port backlog 4096
    default_backend origin
backend origin
    server one 127.0.0.1:$origin pool-max-conn 256
"""

# --- h2o ----------------------------------------------------------------------------------------

H2O = """\
num-threads: 1
max-connections: 16000
http1-request-timeout: 3600
proxy.timeout.keepalive: 3600000
proxy.preserve-host: ON
listen: {host: 127.0.0.1, port: $port}
error-log: $directory/error.log
hosts:
  default:
    paths:
      /:
        proxy.reverse.url: "http://127.0.0.1:$origin/"
"""

# --- Envoy and meshcore: one text ---------------------------------------------------------------
# The circuit breakers' defaults (1024) are above what 64 clients need and stay.

ENVOY = """\
static_resources:
  listeners:
  - name: all
    address: {socket_address: {address: 127.0.0.1, port_value: $port}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.\
v3.HttpConnectionManager"
          stat_prefix: ingress
          $access_log
          route_config:
            name: all
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: /}
                route: {cluster: origin}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: origin
    type: STATIC
    connect_timeout: 5s
    load_assignment:
      cluster_name: origin
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: $origin}}}
"""

FILE_LOG = (
    "access_log: [{name: file, typed_config: {"
    '"@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, '
    "path: $directory/access.log}}]"
)


# --- starting them ------------------------------------------------------------------------------

Start = Callable[[int, Sequence[str]], peers.Server]


@dataclass(frozen=True)
class Contestant:
    """A proxy: `start(origin port, command prefix)`; how many idle clients to try it with."""

    name: str
    start: Start
    version: Callable[[], str]
    idle_connections: int = 5000


def nginx(origin: int, prefix: Sequence[str], access_log: str = "off") -> peers.Server:
    text = NGINX.replace("$access_log", access_log)
    return peers.nginx_config(text, prefix=prefix, origin=origin)


def haproxy(origin: int, prefix: Sequence[str], log: bool = False) -> peers.Server:
    target = "log stdout format raw local0 info" if log else ""
    lines = "log global\n    option httplog" if log else ""
    return peers.haproxy(HAPROXY, prefix=prefix, origin=origin, log_target=target, log=lines)


def h2o(origin: int, prefix: Sequence[str]) -> peers.Server:
    return peers.h2o(H2O, prefix=prefix, origin=origin)


def envoy(origin: int, prefix: Sequence[str], access_log: str = "") -> peers.Server:
    return peers.envoy(ENVOY.replace("$access_log", access_log), prefix=prefix, origin=origin)


def meshcore(origin: int, prefix: Sequence[str]) -> peers.Server:
    return peers.meshcore(ENVOY.replace("$access_log", ""), prefix=prefix, origin=origin)


def floor(origin: int, prefix: Sequence[str]) -> peers.Server:
    """bench/floor: this core's loop and connections, copying bytes and reading none of them."""
    program = "build/core/bench/floor/floor"
    subprocess.run(["make", "--no-print-directory", "-s", program], cwd=ROOT, check=True)
    directory, used = peers.prepare("", "txt", {"origin": origin})
    argv = [str(ROOT / program), str(used["port"]), str(origin)]
    return peers.start("floor", argv, directory=directory, port=used["port"], prefix=prefix)


def python_peer(script: str, origin: int, prefix: Sequence[str]) -> peers.Server:
    """One of the Python proxies beside this file, in an environment that has its libraries."""
    directory, used = peers.prepare("", "txt", {"origin": origin})
    program = Path(__file__).with_name(script)
    argv = [str(python_environment()), str(program), str(used["port"]), str(origin)]
    return peers.start(
        program.stem, argv, directory=directory, port=used["port"], prefix=prefix, values=used
    )


def python_environment() -> Path:
    """The interpreter of a cached environment with PYTHON_PEERS."""
    home = peers.cache_directory() / f"bench-peers-{sys.implementation.cache_tag}"
    wanted = "\n".join(PYTHON_PEERS)
    done = home / "installed"
    if not done.exists() or done.read_text() != wanted:
        venv.create(home, clear=True, with_pip=True)
        pip = [str(home / "bin/python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *PYTHON_PEERS], check=True)
        done.write_text(wanted)
    return home / "bin/python"


def output(*argv: str) -> str:
    """The first line that a `--version` prints."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip().partition("\n")[0]


def nginx_version() -> str:
    return output(peers.tool("nginx"), "-v").removeprefix("nginx version: ")


def haproxy_version() -> str:
    return " ".join(output(peers.tool("haproxy"), "-v").split()[:3])


def meshcore_version() -> str:
    return output(sys.executable, "-m", "meshcore", "version")


CONTESTANTS = {
    contestant.name: contestant
    for contestant in (
        Contestant("meshcore", meshcore, meshcore_version),
        Contestant("floor", floor, lambda: "bench/floor"),
        Contestant("nginx", nginx, nginx_version),
        Contestant("nginx+log", lambda o, p: nginx(o, p, "$directory/access.log"), nginx_version),
        Contestant("haproxy", haproxy, haproxy_version),
        Contestant("haproxy+log", lambda o, p: haproxy(o, p, log=True), haproxy_version),
        Contestant("h2o", h2o, lambda: output(peers.tool("h2o"), "-v")),
        Contestant("envoy", envoy, lambda: f"envoy {peers.ENVOY_VERSION}"),
        Contestant("envoy+log", lambda o, p: envoy(o, p, FILE_LOG), lambda: peers.ENVOY_VERSION),
        Contestant(
            "aiohttp",
            lambda o, p: python_peer("aiohttp_proxy.py", o, p),
            lambda: "aiohttp 3.14.5, uvloop 0.23.0",
            idle_connections=2000,
        ),
        Contestant(
            "starlette",
            lambda o, p: python_peer("starlette_proxy.py", o, p),
            lambda: "starlette 1.10.0, uvicorn 0.54.0, httpx 0.28.1",
            idle_connections=500,
        ),
    )
}
