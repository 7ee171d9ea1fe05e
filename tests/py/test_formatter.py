"""Formatter: operators over a context, JSON lines, what is refused; formats in header mutations."""

from __future__ import annotations

import datetime
import json
import socket

import pytest

import meshcore

CONTEXT = {
    "request_headers": [(":method", "GET"), (":path", "/p?a=1%2B"), ("x-a", "one"), ("x-a", "two")],
    "response_headers": {":status": "200", "server": "up"},
    "response_trailers": [("grpc-status", "5")],
    "start_time": datetime.datetime(2018, 4, 3, 23, 6, 9, 123456, tzinfo=datetime.UTC),
    "duration": 12,
    "request_duration": 3.25,
    "response_code": 200,
    "response_flags": ["UH", "URX"],
    "response_code_details": "via upstream",
    "bytes_sent": 2**40,
    "protocol": "HTTP/1.1",
    "downstream_remote_address": "10.1.2.3:4567",
    "downstream_local_address": ("::1", 80),
    "upstream_host": "10.9.9.9:8080",
    "upstream_hosts_attempted": ["10.9.9.8:1", "10.9.9.9:8080"],
    "upstream_cluster": "c",
    "route_name": "r",
    "connection_id": 7,
    "dynamic_metadata": {"ns": {"key": "text", "n": 3, "list": [1, None, True]}},
    "filter_state": {"k": "v", "o": {"f": "field"}},
    "tls": {
        "version": "TLSv1.3",
        "group": "X25519",
        "peer": {
            "subject": "CN=peer",
            "issuer_serial": "0a",
            "dns_san": ["a.com", "b.com"],
            "cert_v_start": 0,
        },
    },
    "upstream_server_name": "up.com",
    "time_points": {"DS_RX_BEG": 2, "US_RX_BEG": 5, "mine": 8},
    "access_log_type": "DownstreamEnd",
}


@pytest.mark.parametrize(
    ("format_", "expected"),
    [
        ("", ""),
        ("100%%", "100%"),
        ("%REQ(:METHOD)% %REQ(X-A)% %REQ(none?X-A):2%", "GET one on"),
        ("%RESP(server)% %TRAILER(grpc-status)% %RESP(none)%", "up 5 -"),
        ("%START_TIME%", "2018-04-03T23:06:09.123Z"),
        ("%START_TIME(%s.%6f)% %EMIT_TIME(%s.%3f)%", "1522796769.123456 1522796769.135"),
        ("%DURATION% %REQUEST_DURATION% %RESPONSE_DURATION%", "12 3 5"),
        ("%COMMON_DURATION(DS_RX_BEG:mine)%", "6"),
        ("%COMMON_DURATION(US_RX_BEG:mine:us)% %COMMON_DURATION(mine:US_RX_BEG)%", "3000 -"),
        ("%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%", "200 UH,URX via_upstream"),
        ("%BYTES_SENT% %BYTES_RECEIVED%", f"{2**40} 0"),
        ("%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_PORT%", "10.1.2.3:4567 4567"),
        ("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(8)%", "10.0.0.0/8"),
        ("%DOWNSTREAM_LOCAL_ADDRESS%", "[::1]:80"),
        ("%UPSTREAM_HOST% %UPSTREAM_HOSTS_ATTEMPTED%", "10.9.9.9:8080 10.9.9.8:1,10.9.9.9:8080"),
        ("%UPSTREAM_CLUSTER% %ROUTE_NAME% %CONNECTION_ID%", "c r 7"),
        ("%DYNAMIC_METADATA(ns:key)% %DYNAMIC_METADATA(ns:list)%", "text [1,null,true]"),
        ("%FILTER_STATE(k:PLAIN)% %FILTER_STATE(o:FIELD:f)%", "v field"),
        ("%FILTER_STATE(k)% %FILTER_STATE(k:TYPED)% %FILTER_STATE(o)%", '"v" "v" {"f":"field"}'),
        ("%FILTER_STATE(k):2% %FILTER_STATE(k:FIELD:f)%", '"v -'),
        ("%DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_PEER_SUBJECT%", "TLSv1.3 CN=peer"),
        ("%DOWNSTREAM_PEER_DNS_SAN% %DOWNSTREAM_PEER_CERT_V_START(%Y)%", "a.com,b.com 1970"),
        ("%DOWNSTREAM_TLS_GROUP% %DOWNSTREAM_PEER_ISSUER_SERIAL%", "X25519 0a"),
        ("%UPSTREAM_SERVER_NAME% %UPSTREAM_TLS_GROUP%", "up.com -"),
        ("%PATH(NQ)% %QUERY_PARAM(a)% %ACCESS_LOG_TYPE%", "/p 1+ DownstreamEnd"),
        ("%HOSTNAME%", socket.gethostname()),
        ("%ENVIRONMENT(MESHCORE_TEST)% %ENVIRONMENT(MESHCORE_TEST):2%", "50% v 50"),
        ("%%ENVIRONMENT(MESHCORE_TEST)%% %ENVIRONMENT(MESHCORE_NONE)%", "%ENVIRONMENT(X)% -"),
    ],
)
def test_operators(format_, expected, monkeypatch):
    monkeypatch.setenv("MESHCORE_TEST", "50% v")
    expected = expected.replace("(X)", "(MESHCORE_TEST)")
    assert meshcore.Formatter(format_).format(CONTEXT) == expected


def test_absent_values_can_be_left_out():
    assert meshcore.Formatter("[%REQ(none)%]").format() == "[-]"
    assert meshcore.Formatter("[%REQ(none)%]", omit_empty=True).format() == "[]"


def test_json_keeps_types_and_sorts_keys():
    formatter = meshcore.Formatter(
        {
            "z": "%RESPONSE_CODE%",
            "a": {"meta": "%DYNAMIC_METADATA(ns)%", "none": "%UPSTREAM_REMOTE_ADDRESS%"},
            "text": "code %RESPONSE_CODE% %UPSTREAM_REMOTE_ADDRESS%",
            "list": ["%PROTOCOL%", 1, True, None],
        }
    )
    line = formatter.format(CONTEXT)
    assert line.endswith("}\n")
    assert line.startswith('{"a":{"meta":{"key":"text","list":[1,null,true],"n":3},"none":null}')
    assert json.loads(line)["z"] == 200
    assert json.loads(line)["text"] == "code 200 -"
    assert json.loads(line)["list"] == ["HTTP/1.1", 1, True, None]


def test_json_keeps_keys_of_what_is_empty():
    tree = {"none": "%ROUTE_NAME%", "mixed": "<%ROUTE_NAME%>", "code": "%RESPONSE_CODE%"}
    line = meshcore.Formatter(tree, omit_empty=True).format({})
    assert line == '{"code":0,"mixed":"<>","none":null}\n'


def test_json_cuts_what_is_no_list_and_no_object():
    tree = {
        "state": "%FILTER_STATE(k):0%",
        "plain": "%FILTER_STATE(k:PLAIN):0%",
        "number": "%DYNAMIC_METADATA(ns:n):1%",
        "text": "%DYNAMIC_METADATA(ns:key):2%",
        "list": "%DYNAMIC_METADATA(ns:list):2%",
        "mixed": "<%DYNAMIC_METADATA(ns:list):2%>",
    }
    assert json.loads(meshcore.Formatter(tree).format(CONTEXT)) == {
        "state": "v",
        "plain": "",
        "number": 3,
        "text": "te",
        "list": [1, None, True],
        "mixed": "<[1>",
    }


def test_json_escapes():
    line = meshcore.Formatter({"a": "%REQ(a)%", "b": "%REQ(a)%!"}).format(
        {"request_headers": {"a": 'q"\\\u00e9'}}
    )
    assert json.loads(line) == {"a": 'q"\\é', "b": 'q"\\é!'}


@pytest.mark.parametrize(
    ("format_", "path", "reason"),
    [
        ("%REQ_WITHOUT_QUERY(a)%", "", "%REQ_WITHOUT_QUERY% is not a known operator"),
        (
            '%COALESCE({"operators":[{"command":"PROTOCOL","max_length":null}]})%',
            "",
            "%COALESCE%: max_length must be a positive integer",
        ),
        ("%NOPE%", "", "%NOPE% is not a known operator"),
        ("%REQ%", "", "%REQ% requires parameters"),
        ("%PROTOCOL:1%", "", "%PROTOCOL% does not take any parameters or length"),
        ("%START_TIME:1%", "", "%START_TIME% does not allow length to be specified"),
        ("50% off", "", "has no valid operator at position 2: 50% off"),
        ({"a": {"b": ["%NOPE%"]}}, "a.b[0]", "%NOPE% is not a known operator"),
    ],
)
def test_what_is_refused(format_, path, reason):
    with pytest.raises(meshcore.ConfigError) as error:
        meshcore.Formatter(format_)
    assert (error.value.path, error.value.reason) == (path, reason)


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({"nope": 1}, "'nope' is not known of a request"),
        ({"response_flags": ["??"]}, "'response_flags' names no response flag"),
        ({"downstream_remote_address": "x"}, "'downstream_remote_address' must be an IP address"),
        ({"duration": -1}, "'duration' must be a number"),
    ],
)
def test_a_wrong_context_names_its_key(context, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        meshcore.Formatter("x").format(context)


@pytest.mark.parametrize(
    "headers",
    [
        {"x": ["1", "2"]},
        {"X": ("1",)},
        {b"x": b"1"},
        [("x", "1"), ("X", "2")],
        (["x", "1"],),
        iter([(b"X", "1")]),
    ],
)
def test_headers_in_every_form(headers):
    assert meshcore.Formatter("%REQ(x)%").format({"request_headers": headers}) == "1"


@pytest.mark.parametrize("headers", [["ab"], [b"ab"], "x: 1", [{"name": "x", "value": "1"}]])
def test_headers_that_would_come_apart(headers):
    with pytest.raises(TypeError, match="pair"):
        meshcore.Formatter("%REQ(x)%").format({"request_headers": headers})
    table = meshcore.RouteTable({"virtual_hosts": []})
    with pytest.raises(TypeError, match="pair"):
        table.match(headers)


def test_default_format():
    assert meshcore.Formatter().format(
        {
            "start_time": 0,
        }
    ) == ('[1970-01-01T00:00:00.000Z] "- - -" 0 - 0 0 - - "-" "-" "-" "-" "-"\n')


def added(name, value, **option):
    return {"header": {"key": name, "value": value}, **option}


def table(**level):
    return meshcore.RouteTable(
        {
            "virtual_hosts": [
                {
                    "name": "v",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "c"}, **level}],
                }
            ]
        }
    )


REQUEST = [(":authority", "a"), (":path", "/x"), (":method", "GET"), ("x-in", "in")]


def test_request_headers_are_formats():
    routes = table(
        request_headers_to_add=[
            added("x-copy", "<%REQ(x-in)%>"),
            added("x-gone", "%REQ(x-drop)%"),
            added("x-kept", "%REQ(none)%", keep_empty_value=True),
            added("x-who", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
            added("x-state", "%PER_REQUEST_STATE(k)%"),
            added("x-meta", '%DYNAMIC_METADATA(["ns", "key"])%'),
            added("x-percent", "100%%"),
        ],
        request_headers_to_remove=["x-drop"],
    )
    route = routes.match(REQUEST)
    out = dict(route.finalize_request([*REQUEST, ("x-drop", "d")], context=CONTEXT_OF_CONNECTION))
    assert out["x-copy"] == "<in>"
    assert "x-gone" not in out
    assert out["x-kept"] == ""
    assert out["x-who"] == "10.1.2.3"
    assert out["x-state"] == "v"
    assert out["x-meta"] == "text"
    assert out["x-percent"] == "100%"


CONTEXT_OF_CONNECTION = {
    k: CONTEXT[k] for k in ("downstream_remote_address", "filter_state", "dynamic_metadata")
}


def test_response_headers_are_formats():
    routes = table(
        response_headers_to_add=[
            added("x-path", "%REQ(:path)%"),
            added("server", "%RESP(server)%!", append_action="OVERWRITE_IF_EXISTS_OR_ADD"),
        ]
    )
    route = routes.match(REQUEST)
    out = route.finalize_response([(":status", "200"), ("server", "up")], REQUEST)
    assert dict(out) == {":status": "200", "x-path": "/x", "server": "up!"}


def test_an_unknown_operator_in_a_header_is_refused():
    with pytest.raises(meshcore.ConfigError, match="not a known operator") as error:
        table(request_headers_to_add=[added("x", "%NOPE%")])
    assert error.value.path == "virtual_hosts[0].routes[0].request_headers_to_add[0].header.value"


def test_a_grpc_status_that_is_none_is_a_number_too() -> None:
    context = {
        "request_headers": {":path": "/a.B/C", "content-type": "application/grpc"},
        "response_headers": {"grpc-status": "x"},
    }
    line = meshcore.Formatter({"number": "%GRPC_STATUS_NUMBER%"}).format(context)
    assert json.loads(line) == {"number": -1}
    assert meshcore.Formatter("%GRPC_STATUS_NUMBER%").format(context) == "-1"


def test_an_empty_grpc_status_is_none() -> None:
    context = {
        "request_headers": {":path": "/a.B/C", "content-type": "application/grpc"},
        "response_headers": {"grpc-status": "7"},
        "response_trailers": {"grpc-status": ""},
        "response_code": 503,
    }
    status = meshcore.Formatter("%GRPC_STATUS_NUMBER%")
    assert status.format(context) == "7"
    assert status.format({**context, "response_headers": {"grpc-status": ""}}) == "14"
