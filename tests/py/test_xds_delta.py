"""Delta discovery without a stream (XDS-13 to XDS-16, XDS-18)."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict

from meshcore.config.schema import message_class, pool
from meshcore.xds.delta import RESPONSE, DeltaState, Resource

HOST = "envoy.config.route.v3.VirtualHost"
URL = f"type.googleapis.com/{HOST}"
Tree = dict[str, Any]


def state(*names: str) -> DeltaState:
    return DeltaState(HOST, message_class("envoy.config.core.v3.Node")(id="me"), names)


def told(message: Any) -> Tree:
    tree = MessageToDict(message, preserving_proto_field_name=True, descriptor_pool=pool())
    assert (tree.pop("node"), tree.pop("type_url")) == ({"id": "me"}, URL)
    return tree


def resource(name: str, version: str = "1", *aliases: str, **host: Any) -> Tree:
    body = {"@type": URL, "name": name, "domains": [name], **host}
    return {"name": name, "version": version, "aliases": list(aliases), "resource": body}


def response(*resources: Tree, removed: tuple[str, ...] = (), **more: Any) -> Any:
    tree = {"type_url": URL, "resources": resources, "removed_resources": removed, **more}
    return ParseDict(tree, message_class(RESPONSE)(), descriptor_pool=pool())


def test_everything_until_something_is_named() -> None:
    one = state()
    assert told(one.request()) == {}
    assert not one.due
    one.reopen()
    assert one.due
    assert told(one.request()) == {}
    one.subscribe(["b", "a"])
    assert told(one.request()) == {"resource_names_subscribe": ["a", "b"]}
    one.reopen()
    assert told(one.request()) == {"resource_names_subscribe": ["*", "a", "b"]}


def test_names_before_the_first_request() -> None:
    one = state()
    one.subscribe(["a"])
    assert told(one.request()) == {"resource_names_subscribe": ["*", "a"]}
    two = state("b")
    two.subscribe(["a"])
    assert told(two.request()) == {"resource_names_subscribe": ["a", "b"]}


def test_versions_that_are_held() -> None:
    one = state()
    one.request()
    one.accept(one.read(response(resource("a", "1"), resource("b", "2"), resource("c", "3"))))
    one.accept(one.read(response(resource("b", "4"), removed=("a", "unknown"))))
    one.read(response(resource("c", "5")))  # read, and not accepted
    one.subscribe(["b", "d"])
    one.accept(one.read(response({"name": "d", "aliases": ["d"]})))
    one.reopen()
    assert told(one.request()) == {
        "resource_names_subscribe": ["*", "b", "d"],
        "initial_resource_versions": {"b": "4", "c": "3", "d": ""},
    }
    one.subscribe(["b"])  # it is to be told again
    one.accept(one.read(response(removed=("d",))))
    one.reopen()
    assert told(one.request())["initial_resource_versions"] == {"c": "3"}


def test_what_is_read() -> None:
    one = state()
    one.accept(one.read(response(resource("a", "7"))))
    update = one.read(
        response(
            {"name": "a", "version": "7"},
            {"name": "none", "aliases": ["x"]},
            resource("b", "1", "y", "z"),
            removed=("c",),
            system_version_info="9",
        )
    )
    assert (update.version, update.removed) == ("9", ("c",))
    assert update.resources == (
        Resource("none", "", ("x",), None),
        Resource("b", "1", ("y", "z"), {"name": "b", "domains": ["b"]}),
    )


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (response(resource("a"), resource("a")), "duplicate name a"),
        (response(resource("a"), removed=("a",)), "duplicate name a"),
        (response({"name": "a", "version": "1"}), "resource a: type URL  does not match"),
        (response(resource("a", domains=[])), "resource a: domains: "),
        (response(type_url="other"), "the response is of other"),
    ],
)
def test_what_is_refused(wrong: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        state().read(wrong)


def test_acknowledgements() -> None:
    one = state()
    assert told(one.acknowledge("n")) == {"response_nonce": "n"}
    refused = told(one.acknowledge("n", "x" * 5000))["error_detail"]
    assert refused == {"code": 13, "message": "x" * 4096 + "...(truncated)"}
