"""Access logs of a running gateway: what is written, when, by which filters, and what happens when
it cannot be written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import peers
import pytest
from clients import Connection
from upstreams import Behaviour, Exchange, Upstream, echo, respond, stall
from waiting import wait_until

import meshcore

TYPES = "type.googleapis.com/envoy.extensions."
FILE = f"{TYPES}access_loggers.file.v3.FileAccessLog"
STDOUT = f"{TYPES}access_loggers.stream.v3.StdoutAccessLog"
STDERR = f"{TYPES}access_loggers.stream.v3.StderrAccessLog"
HCM = f"{TYPES}filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = f"{TYPES}filters.http.router.v3.Router"


def log_to(path: Path | str, text: str | None = None, **more: Any) -> dict[str, Any]:
    typed: dict[str, Any] = {"@type": FILE, "path": str(path)}
    if text is not None:
        typed["log_format"] = {"text_format_source": {"inline_string": text}}
    return {"name": "log", "typed_config": typed, **more}


def socket(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def bootstrap(logs: list[dict[str, Any]], port: int = 1, **manager: Any) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": socket(port)}}
    typed = {
        "@type": HCM,
        "stat_prefix": "s",
        "access_log": logs,
        "http_filters": [{"name": "router", "typed_config": {"@type": ROUTER}}],
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "v",
                    "domains": ["*"],
                    "routes": [
                        {"match": {"prefix": "/404"}, "direct_response": {"status": 404}},
                        {"match": {"prefix": "/503"}, "route": {"cluster": "nobody"}},
                        {"match": {"prefix": "/"}, "route": {"cluster": "c", "timeout": "0s"}},
                    ],
                }
            ]
        },
        **manager,
    }
    listener = {
        "name": "l",
        "address": socket(0),
        "filter_chains": [{"filters": [{"name": "h", "typed_config": typed}]}],
    }

    def cluster(name: str, endpoints: list[Any]) -> dict[str, Any]:
        assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]}
        return {"name": name, "type": "STATIC", "load_assignment": assignment}

    clusters = [cluster("c", [endpoint]), cluster("nobody", [])]
    return {"static_resources": {"listeners": [listener], "clusters": clusters}}


@pytest.fixture
def serve() -> Iterator[Callable[..., meshcore.Gateway]]:
    running: list[meshcore.Gateway] = []

    def start(config: dict[str, Any], **options: Any) -> meshcore.Gateway:
        gateway = meshcore.Gateway(config, workers=options.pop("workers", 1), **options)
        gateway.start()
        running.append(gateway)
        return gateway

    yield start
    for gateway in running:
        gateway.stop()


def port_of(gateway: meshcore.Gateway) -> int:
    return gateway.listeners["l"][1]


def get(gateway: meshcore.Gateway, target: str, **headers: str) -> int:
    with Connection(port_of(gateway)) as connection:
        pairs = [(k.replace("_", "-"), v) for k, v in headers.items()]
        return int(connection.request(target, headers=pairs).status)


@pytest.fixture
def origin(upstream: Callable[[Behaviour], Upstream]) -> int:
    return upstream(echo).port


def test_lines_are_written_when_flushed_and_at_the_end(serve, origin, tmp_path):
    path = tmp_path / "log"
    gateway = serve(bootstrap([log_to(path, "%REQ(:PATH)% %RESPONSE_CODE%\n")], origin))
    assert path.exists()
    assert get(gateway, "/a") == 200
    assert path.read_text() == ""
    assert gateway.flush_logs()
    assert path.read_text() == "/a 200\n"
    get(gateway, "/404")
    gateway.stop()
    assert path.read_text() == "/a 200\n/404 404\n"


def test_the_timer_flushes(serve, origin, tmp_path):
    path = tmp_path / "log"
    config = bootstrap([log_to(path, "%PATH%\n")], origin)
    gateway = serve(config, log_flush_interval_s=0.02)
    get(gateway, "/timer")
    wait_until(lambda: path.read_text() == "/timer\n")
    wait_until(lambda: gateway.stats.counter("filesystem.flushed_by_timer").value >= 1)
    assert gateway.stats.counter("filesystem.write_buffered").value == 1
    assert gateway.stats.counter("filesystem.write_completed").value == 1


def test_size_flushes(serve, origin, tmp_path):
    path = tmp_path / "log"
    line = "x" * 2000
    gateway = serve(bootstrap([log_to(path, line + "\n")], origin), log_flush_kib=4)
    for _ in range(3):
        get(gateway, "/")
    wait_until(lambda: path.read_text().count("\n") == 3)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_no_line_is_lost_under_load(tmp_path, workers):
    path = tmp_path / "log"
    config = bootstrap([log_to(path, "%REQ(X-N)%\n")])
    count, clients = 300, 4

    def client(port: int, first: int) -> None:
        with Connection(port) as connection:
            for n in range(first, first + count):
                connection.request("/404", headers=[("x-n", str(n))])

    gateway = meshcore.Gateway(config, workers=workers)
    with gateway:
        port = port_of(gateway)
        threads = [threading.Thread(target=client, args=(port, n * count)) for n in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = [int(line) for line in path.read_text().split()]
    assert sorted(lines) == list(range(clients * count))
    assert gateway.stats.counter("filesystem.write_dropped").value == 0


def test_reopened_after_rotation(serve, origin, tmp_path):
    path = tmp_path / "log"
    gateway = serve(bootstrap([log_to(path, "%PATH%\n")], origin))
    get(gateway, "/one")
    gateway.flush_logs()
    path.rename(tmp_path / "old")
    get(gateway, "/two")
    gateway.flush_logs()
    assert (tmp_path / "old").read_text() == "/one\n/two\n"
    gateway.reopen_logs()
    get(gateway, "/three")
    gateway.flush_logs()
    assert path.read_text() == "/three\n"


def test_a_file_that_cannot_be_reopened_goes_on(serve, origin, tmp_path):
    place = tmp_path / "dir"
    place.mkdir()
    gateway = serve(bootstrap([log_to(place / "log", "%PATH%\n")], origin))
    get(gateway, "/one")
    gateway.flush_logs()
    place.rename(tmp_path / "moved")
    gateway.reopen_logs()
    get(gateway, "/two")
    gateway.flush_logs()
    assert gateway.stats.counter("filesystem.reopen_failed").value >= 1


def test_a_full_disk_drops_lines_and_counts(serve, origin, tmp_path):
    good = tmp_path / "log"
    logs = [log_to("/dev/full", "%PATH%\n"), log_to(good, "%PATH%\n")]
    gateway = serve(bootstrap(logs, origin))
    assert get(gateway, "/a") == 200
    assert gateway.flush_logs()
    assert good.read_text() == "/a\n"
    assert gateway.stats.counter("filesystem.write_failed").value >= 1
    assert gateway.stats.counter("filesystem.write_dropped").value == 1


def test_a_pipe_that_nobody_reads_blocks_no_worker(serve, tmp_path):
    pipe, good = tmp_path / "pipe", tmp_path / "log"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR)  # keeps it open, reads nothing
    try:
        line = "x" * 30_000
        gateway = serve(bootstrap([log_to(pipe, line + "\n"), log_to(good, "%PATH%\n")]))
        with Connection(port_of(gateway)) as connection:
            for _ in range(80):
                assert connection.request("/404").status == 404
        assert gateway.flush_logs()
        assert good.read_text() == "/404\n" * 80
        wait_until(lambda: gateway.stats.counter("filesystem.write_dropped").value > 0)
        gateway.stop()
    finally:
        os.close(reader)


@pytest.mark.parametrize(("kind", "stream"), [(STDOUT, "stdout"), (STDERR, "stderr")])
def test_standard_streams(kind, stream, tmp_path):
    program = f"""
import sys, meshcore
sys.path.insert(0, {str(Path(__file__).parent)!r})
from clients import Connection
log = {{"name": "s", "typed_config": {{"@type": {kind!r}, "log_format":
       {{"text_format_source": {{"inline_string": "line %RESPONSE_CODE%\\n"}}}}}}}}
config = {bootstrap([])!r}
manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
manager["typed_config"]["access_log"] = [log]
with meshcore.Gateway(config, workers=1) as gateway:
    with Connection(gateway.listeners["l"][1]) as connection:
        connection.request("/404")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert "line 404\n" in getattr(done, stream)


# --- filters (AL-5) ------


def compared(op: str, value: int) -> dict[str, Any]:
    return {"comparison": {"op": op, "value": {"default_value": value, "runtime_key": "k"}}}


def header(name: str, **match: Any) -> dict[str, Any]:
    return {"header_filter": {"header": {"name": name, **match}}}


PLAIN, MISSING, UNHEALTHY = "/", "/404", "/503"
FILTERS: list[tuple[dict[str, Any], list[str]]] = [
    ({"status_code_filter": compared("EQ", 404)}, [MISSING]),
    ({"status_code_filter": compared("GE", 404)}, [MISSING, UNHEALTHY]),
    ({"status_code_filter": compared("LE", 404)}, [PLAIN, MISSING]),
    ({"status_code_filter": compared("NE", 404)}, [PLAIN, UNHEALTHY]),
    ({"duration_filter": compared("GE", 0)}, [PLAIN, MISSING, UNHEALTHY]),
    ({"duration_filter": compared("GE", 60_000)}, []),
    ({"not_health_check_filter": {}}, [PLAIN, MISSING, UNHEALTHY]),
    ({"traceable_filter": {}}, []),
    ({"runtime_filter": {"runtime_key": "r"}}, []),
    (
        {
            "runtime_filter": {
                "runtime_key": "r",
                "percent_sampled": {"numerator": 100},
                "use_independent_randomness": True,
            }
        },
        [PLAIN, MISSING, UNHEALTHY],
    ),
    (header("x-log", string_match={"exact": "yes"}), []),
    (header(":path", string_match={"prefix": "/4"}), [MISSING]),
    (header(":path", string_match={"prefix": "/4"}, invert_match=True), [PLAIN, UNHEALTHY]),
    ({"response_flag_filter": {}}, [UNHEALTHY]),
    ({"response_flag_filter": {"flags": ["UH"]}}, [UNHEALTHY]),
    ({"response_flag_filter": {"flags": ["UF", "NR"]}}, []),
    ({"grpc_status_filter": {"statuses": ["UNIMPLEMENTED"]}}, [MISSING]),
    ({"grpc_status_filter": {"statuses": ["UNIMPLEMENTED"], "exclude": True}}, [PLAIN, UNHEALTHY]),
    ({"log_type_filter": {"types": ["DownstreamEnd"]}}, [PLAIN, MISSING, UNHEALTHY]),
    ({"log_type_filter": {"types": ["DownstreamEnd"], "exclude": True}}, []),
    (
        {
            "and_filter": {
                "filters": [
                    {"status_code_filter": compared("GE", 400)},
                    {"response_flag_filter": {}},
                ]
            }
        },
        [UNHEALTHY],
    ),
    (
        {
            "or_filter": {
                "filters": [
                    {"status_code_filter": compared("EQ", 404)},
                    {"response_flag_filter": {}},
                ]
            }
        },
        [MISSING, UNHEALTHY],
    ),
    (
        {
            "metadata_filter": {
                "matcher": {
                    "filter": "ns",
                    "path": [{"key": "k"}],
                    "value": {"string_match": {"exact": "v"}},
                }
            }
        },
        [PLAIN, MISSING, UNHEALTHY],
    ),
    (
        {
            "metadata_filter": {
                "matcher": {
                    "filter": "ns",
                    "path": [{"key": "k"}],
                    "value": {"string_match": {"exact": "v"}},
                },
                "match_if_key_not_found": False,
            }
        },
        [],
    ),
]


def test_filters_choose_records(serve, origin, tmp_path):
    logs = [
        log_to(tmp_path / str(n), "%PATH%\n", filter=each) for n, (each, _) in enumerate(FILTERS)
    ]
    gateway = serve(bootstrap(logs, origin))
    for target in (PLAIN, MISSING, UNHEALTHY):
        get(gateway, target)
    gateway.flush_logs()
    found = [(tmp_path / str(n)).read_text().split() for n in range(len(FILTERS))]
    assert found == [expected for _, expected in FILTERS]


def test_runtime_filter_draws_by_the_request_id(serve, origin, tmp_path):
    chosen = {"runtime_key": "r", "percent_sampled": {"numerator": 50}}
    logs = [log_to(tmp_path / "log", "%REQ(X-REQUEST-ID)%\n", filter={"runtime_filter": chosen})]
    gateway = serve(bootstrap(logs, origin, preserve_external_request_id=True))
    ids = [f"{n:08x}-0000-4000-8000-000000000000" for n in (0, 49, 50, 99, 100, 149, 150)]
    for each in ids:
        get(gateway, "/", x_request_id=each)
    gateway.flush_logs()
    logged = (tmp_path / "log").read_text().split()
    assert [int(each[:8], 16) for each in logged] == [0, 49, 100, 149]


# --- types of records (AL-6) ------


def test_a_record_at_the_start(serve, origin, tmp_path):
    path = tmp_path / "log"
    config = bootstrap(
        [log_to(path, "%ACCESS_LOG_TYPE% %RESPONSE_CODE% %PATH%\n")],
        origin,
        access_log_options={"flush_access_log_on_new_request": True},
    )
    gateway = serve(config)
    get(gateway, "/x")
    gateway.flush_logs()
    assert path.read_text() == "DownstreamStart 0 /x\nDownstreamEnd 200 /x\n"


def test_records_at_intervals(serve, upstream, tmp_path):
    path = tmp_path / "log"
    config = bootstrap(
        [log_to(path, "%ACCESS_LOG_TYPE%\n")],
        upstream(stall).port,
        access_log_options={"access_log_flush_interval": "0.01s"},
    )
    gateway = serve(config, log_flush_interval_s=0.01)
    with Connection(port_of(gateway)) as connection:
        connection.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: path.read_text().count("DownstreamPeriodic\n") >= 2)
    wait_until(lambda: path.read_text().endswith("DownstreamEnd\n"))


def test_the_routers_log_tells_of_each_try(serve, upstream, tmp_path):
    path = tmp_path / "log"
    text = "%ACCESS_LOG_TYPE% %RESPONSE_CODE% %RESP(X-N)% %UPSTREAM_HOST%\n"
    served = upstream(respond(503, b"no", [("x-n", "1")]))
    typed = {
        "@type": ROUTER,
        "upstream_log": [log_to(path, text)],
        "upstream_log_options": {"flush_upstream_log_on_upstream_stream": True},
    }
    config = bootstrap([], served.port, http_filters=[{"name": "router", "typed_config": typed}])
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
    route = manager["typed_config"]["route_config"]["virtual_hosts"][0]["routes"][2]["route"]
    route["retry_policy"] = {"retry_on": "5xx", "num_retries": 1}
    gateway = serve(config)
    assert get(gateway, "/") == 503
    gateway.flush_logs()
    host = f"127.0.0.1:{served.port}"
    one = [f"UpstreamPoolReady 0 - {host}", f"UpstreamEnd 503 1 {host}"]
    assert path.read_text().splitlines() == one * 2


async def overtaken(exchange: Exchange) -> None:
    """The first request is answered when a second one comes, which never is."""
    if len(exchange.upstream.requests) == 1:
        await exchange.upstream.gate()
        await exchange.head(200, [("content-length", "2")])
        await exchange.write(b"ok")
    else:
        exchange.upstream.release()
        await exchange.reader.read(1)


def test_tries_that_overlap_tell_their_own_bytes_and_times(serve, upstream, tmp_path):
    path = tmp_path / "log"
    text = (
        "%ACCESS_LOG_TYPE% %RESPONSE_CODE% %BYTES_RECEIVED% %UPSTREAM_WIRE_BYTES_RECEIVED%"
        " %UPSTREAM_WIRE_BYTES_SENT% %COMMON_DURATION(DS_RX_BEG:US_RX_BEG)%\n"
    )
    typed = {"@type": ROUTER, "upstream_log": [log_to(path, text)]}
    config = bootstrap(
        [log_to(path, text)],
        upstream(overtaken).port,
        http_filters=[{"name": "router", "typed_config": typed}],
    )
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
    route = manager["typed_config"]["route_config"]["virtual_hosts"][0]["routes"][2]["route"]
    policy = {"retry_on": "5xx", "num_retries": 1, "per_try_timeout": "0.02s"}
    route |= {"retry_policy": policy, "hedge_policy": {"hedge_on_per_try_timeout": True}}
    gateway = serve(config)
    assert get(gateway, "/") == 200
    gateway.flush_logs()
    second, first, whole = [line.split() for line in path.read_text().splitlines()]
    answer = str(len(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"))
    assert second[:4] == ["UpstreamEnd", "0", "0", "0"]
    assert second[5] == "-"
    assert first[:4] == ["UpstreamEnd", "200", "2", answer]
    assert first[5].isdigit()
    # The meter of a connection begins with what those before it had counted; the request has that
    # of the last one, though the times are those of the try that answered.
    assert int(second[4]) > int(first[4]) > 0
    assert whole[:5] == ["DownstreamEnd", "200", "0", "0", second[4]]
    assert int(whole[5]) >= 20


def test_the_listeners_log_tells_of_connections(serve, tmp_path):
    path = tmp_path / "log"
    text = "%ACCESS_LOG_TYPE% %RESPONSE_CODE% %REQ(:PATH)% %PROTOCOL% %DOWNSTREAM_LOCAL_PORT%\n"
    config = bootstrap([])
    config["static_resources"]["listeners"][0]["access_log"] = [log_to(path, text)]
    gateway = serve(config, log_flush_interval_s=0.01)
    for _ in range(2):
        with Connection(port_of(gateway)) as connection:
            connection.request("/404")
            connection.request("/404")
    wait_until(lambda: path.read_text().count("\n") == 2)
    assert path.read_text() == f"NotSet 0 - HTTP/1.1 {port_of(gateway)}\n" * 2


@pytest.mark.parametrize(
    "older", [{"flush_access_log_on_new_request": True}, {"access_log_flush_interval": "1s"}]
)
def test_both_places_of_the_options_are_refused(tmp_path, older):
    options = {"flush_access_log_on_new_request": True}
    with pytest.raises(meshcore.ConfigError, match="access_log_options"):
        meshcore.Gateway(bootstrap([log_to(tmp_path / "log")], access_log_options=options, **older))


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("log", "path"),
    [
        (
            log_to("/tmp/x", "%NOPE%"),
            "typed_config.log_format.text_format_source.inline_string",
        ),
        (log_to("/nowhere/at/all", "x"), "typed_config.path"),
        (log_to("/dev/null", "x", filter={}), "filter"),
        (
            log_to("/dev/null", filter={"and_filter": {"filters": [{"traceable_filter": {}}]}}),
            "filter.and_filter.filters",
        ),
        (
            log_to("/dev/null", filter={"response_flag_filter": {"flags": ["XX"]}}),
            "filter.response_flag_filter.flags[0]",
        ),
    ],
)
def test_what_is_refused(log, path):
    with pytest.raises(meshcore.ConfigError) as error:
        meshcore.Gateway(bootstrap([log]))
    assert error.value.path.endswith(f"access_log[0].{path}")


# --- the command ------


def test_sigusr1_and_the_admin_page_reopen(upstream, tmp_path):
    path = tmp_path / "log"
    config = bootstrap([log_to(path, "%PATH%\n")], upstream(echo).port)
    config["static_resources"]["listeners"][0]["address"] = socket(peers.free_port())
    config["admin"] = {"address": socket(peers.free_port())}
    text = json.dumps(config)
    port = config["static_resources"]["listeners"][0]["address"]["socket_address"]["port_value"]
    admin = config["admin"]["address"]["socket_address"]["port_value"]
    args = ("--concurrency", "1", "--file-flush-interval-msec", "10")
    with peers.meshcore(text, args=args, port=port, admin_port=admin) as server:

        def request(target: str) -> None:
            with Connection(port) as connection:
                connection.request(target)

        request("/one")
        wait_until(lambda: path.read_text() == "/one\n")
        path.unlink()
        os.kill(server.process.pid, 10)
        wait_until(lambda: (request("/two"), path.exists() and "/two\n" in path.read_text())[1])
        path.unlink()
        with Connection(admin) as connection:
            assert connection.request("/reopen_logs", method="POST").status == 200
        wait_until(lambda: (request("/three"), path.exists() and "/three\n" in path.read_text())[1])
