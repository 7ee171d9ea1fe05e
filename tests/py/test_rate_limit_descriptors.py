"""Rate limit descriptors (RT-50, RT-51): what each action yields, and when it fails."""

from __future__ import annotations

from typing import Any

import pytest

from meshcore import ConfigError, RouteTable

Tree = dict[str, Any]
Entries = list[tuple[str, str]]
FIXED = {"generic_key": {"descriptor_value": "v"}}
CLIENT = {"downstream_remote_address": "1.2.3.4:5"}
CLIENT_6 = {"downstream_remote_address": "[2001:db8::1]:5"}


def header(**fields: Any) -> Tree:
    return {"request_headers": {"header_name": "x", "descriptor_key": "k", **fields}}


def query(**fields: Any) -> Tree:
    return {"query_parameters": {"query_parameter_name": "a", "descriptor_key": "k", **fields}}


def metadata(key: str = "a", **fields: Any) -> Tree:
    place = {"key": "ns", "path": [{"key": key}]}
    return {"metadata": {"descriptor_key": "k", "metadata_key": place, **fields}}


def match(**fields: Any) -> Tree:
    return {"descriptor_value": "v", **fields}


def masked(**lengths: int) -> Tree:
    return {"masked_remote_address": lengths}


def descriptors(
    limits: list[Tree],
    path: str = "/",
    headers: tuple[tuple[str, str], ...] = (),
    context: Tree | None = None,
    host_limits: tuple[Tree, ...] = (),
    **route: Any,
) -> list[Any]:
    entry = {
        "match": {"prefix": "/"},
        "route": {"cluster": "c", "rate_limits": limits, **route},
        "metadata": {"filter_metadata": {"ns": {"r": "of the route"}}},
    }
    host = {"name": "v", "domains": ["*"], "routes": [entry], "rate_limits": list(host_limits)}
    asked = [(":path", path), (":authority", "h"), (":method", "GET"), *headers]
    found = RouteTable({"name": "t", "virtual_hosts": [host]}).match(asked, context=context)
    assert found is not None
    return found.rate_limit_descriptors(asked, local_cluster="here")


def extension(name: str) -> Tree:
    kind = "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput"
    return {"extension": {"name": "k", "typed_config": {"@type": kind, "header_name": name}}}


CLIENTS = {
    "remote_address_match": {
        "descriptor_value": "%REQ(x)%",
        "default_value": "d",
        "address_matcher": {"ranges": [{"address_prefix": "1.0.0.0", "prefix_len": 8}]},
    }
}
# What it finds is no text, even where it is one.
METADATA_INPUT = {
    "extension": {
        "name": "k",
        "typed_config": {
            "@type": "type.googleapis.com/"
            "envoy.extensions.matching.common_inputs.network.v3.DynamicMetadataInput",
            "filter": "ns",
            "path": [{"key": "a"}],
        },
    }
}


def expression(text: str, **more: Any) -> Tree:
    kind = "type.googleapis.com/envoy.extensions.rate_limit_descriptors.expr.v3.Descriptor"
    typed = {"@type": kind, "descriptor_key": "e", "text": text, **more}
    return {"extension": {"name": "k", "typed_config": typed}}


def parsed_expression(name: str, field: str) -> Tree:
    tree = {"select_expr": {"operand": {"ident_expr": {"name": name}}, "field": field}}
    action = expression("")
    typed = action["extension"]["typed_config"]
    return {"extension": {"name": "x", "typed_config": {**typed, "text": None, "parsed": tree}}}


GIVEN = {"headers": (("x", "1"), ("x", "2"))}
MATCH_X = {"headers": [{"name": "x"}]}
MATCH_A = {"query_parameters": [{"name": "a"}]}


@pytest.mark.parametrize(
    ("action", "given", "entries"),
    [
        ({"source_cluster": {}}, {}, [("source_cluster", "here")]),
        ({"destination_cluster": {}}, {}, [("destination_cluster", "c")]),
        (header(), GIVEN, [("k", "1")]),
        (header(), {"headers": (("x", ""),)}, [("k", "")]),
        (header(), {}, None),
        (header(skip_if_absent=True), {}, []),
        (query(), {"path": "/?a=%20x&a=2"}, [("k", " x")]),
        (query(), {}, None),
        (query(skip_if_absent=True), {}, []),
        ({"remote_address": {}}, {"context": CLIENT}, [("remote_address", "1.2.3.4")]),
        ({"remote_address": {}}, {}, None),
        (masked(), {"context": CLIENT}, [("masked_remote_address", "1.2.3.4/32")]),
        (
            masked(v4_prefix_mask_len=16),
            {"context": CLIENT},
            [("masked_remote_address", "1.2.0.0/16")],
        ),
        (
            masked(v4_prefix_mask_len=0),
            {"context": CLIENT},
            [("masked_remote_address", "0.0.0.0/0")],
        ),
        (masked(), {"context": CLIENT_6}, [("masked_remote_address", "2001:db8::1/128")]),
        (
            masked(v6_prefix_mask_len=64),
            {"context": CLIENT_6},
            [("masked_remote_address", "2001:db8::/64")],
        ),
        (masked(), {}, None),
        ({"generic_key": match(descriptor_key="k")}, {}, [("k", "v")]),
        (
            {"generic_key": {"descriptor_value": "%REQ(x)%", "default_value": "d"}},
            GIVEN,
            [("generic_key", "%REQ(x)%")],
        ),
        ({"header_value_match": match(**MATCH_X)}, GIVEN, [("header_match", "v")]),
        ({"header_value_match": match(**MATCH_X)}, {}, None),
        ({"header_value_match": match(**MATCH_X, expect_match=False)}, {}, [("header_match", "v")]),
        ({"header_value_match": match(**MATCH_X, expect_match=False)}, GIVEN, None),
        (
            {"query_parameter_value_match": match(**MATCH_A)},
            {"path": "/?a"},
            [("query_match", "v")],
        ),
        (
            {"query_parameter_value_match": match(**MATCH_A, expect_match=False)},
            {},
            [("query_match", "v")],
        ),
        (extension("X"), GIVEN, [("k", "1,2")]),
        (extension("x"), {"headers": (("x", ""),)}, []),
        (extension("x"), {}, None),
        (METADATA_INPUT, {"context": {"dynamic_metadata": {"ns": {"a": "z"}}}}, None),
        (expression("request.headers['x']"), GIVEN, [("e", "1,2")]),
        (expression("size(request.path) + 1"), {"path": "/abc"}, [("e", "5")]),
        (parsed_expression("request", "path"), {"path": "/abc"}, [("e", "/abc")]),
        (expression("request.headers['x']"), {}, None),
        (expression("request.headers['x']", skip_if_error=True), {}, []),
        (metadata(), {"context": {"dynamic_metadata": {"ns": {"a": "z"}}}}, [("k", "z")]),
        (metadata(), {"context": {"dynamic_metadata": {"ns": {"a": 5}}}}, None),
        (metadata(), {}, None),
        (metadata(skip_if_absent=True), {}, []),
        (metadata(default_value="d"), {}, [("k", "d")]),
        (
            metadata(default_value="d"),
            {"context": {"dynamic_metadata": {"ns": {"a": ""}}}},
            [("k", "d")],
        ),
        (metadata("r", source="ROUTE_ENTRY"), {}, [("k", "of the route")]),
        (
            {
                "remote_address_match": match(
                    address_matcher={"ranges": [{"address_prefix": "1.0.0.0", "prefix_len": 8}]}
                )
            },
            {"context": CLIENT},
            [("remote_address_match", "v")],
        ),
        (CLIENTS, GIVEN | {"context": CLIENT}, [("remote_address_match", "1")]),
        (CLIENTS, {"context": CLIENT}, [("remote_address_match", "d")]),
    ],
)
def test_actions(action: Tree, given: Tree, entries: Entries | None) -> None:
    """None: the action fails, and its descriptor with it; []: it adds nothing."""
    expected = [] if entries is None else [[*entries, ("generic_key", "v")]]
    found = descriptors([{"actions": [action, FIXED]}], **given)
    assert [each.entries for each in found] == expected


def test_levels_and_stages() -> None:
    own = [{"actions": [FIXED]}]
    outer = ({"actions": [{"generic_key": {"descriptor_value": "host"}}]},)

    def values(*args: Any, **fields: Any) -> list[str]:
        return [each.entries[0][1] for each in descriptors(*args, **fields)]

    assert values(own, host_limits=outer) == ["v"]
    assert values([], host_limits=outer) == ["host"]
    assert values(own, host_limits=outer, include_vh_rate_limits=True) == ["v", "host"]
    assert values([{"stage": 1, "actions": [FIXED]}]) == []
    assert values([{"apply_on_stream_done": True, "actions": [FIXED]}]) == []


def test_overrides() -> None:
    place = {"metadata_key": {"key": "ns", "path": [{"key": "l"}]}}
    limit = {"limit": {"dynamic_metadata": place}, "actions": [FIXED]}

    def found(override: Any, **fields: Any) -> Any:
        context = {"dynamic_metadata": {"ns": {"l": override}}}
        (one,) = descriptors([limit | fields], headers=(("x", "7"),), context=context)
        return one.limit, one.hits_addend

    assert found({"requests_per_unit": 42, "unit": "HOUR"}) == ((42, "HOUR"), None)
    assert found({"requests_per_unit": 42, "unit": "hour"}) == (None, None)
    assert found({"requests_per_unit": 42, "unit": "WEEK"}) == (None, None)
    assert found({"requests_per_unit": 42}, hits_addend={"number": 3}) == (None, 3)
    assert found("x", hits_addend={"format": "%REQ(x)%"}) == (None, 7)


def test_what_envoy_does_not_take_any_more() -> None:
    place = {"key": "ns", "path": [{"key": "a"}]}
    action = {"dynamic_metadata": {"descriptor_key": "k", "metadata_key": place}}
    with pytest.raises(ConfigError, match="no action that is supported"):
        descriptors([{"actions": [action]}])
