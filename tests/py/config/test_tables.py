"""The support list and the defaults: one source each, and what is generated from them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from meshcore.config import defaults, schema, support
from meshcore.config.canonical import OWN_SPELLING

ROOT = Path(__file__).resolve().parents[3]


def test_the_support_list_names_real_fields() -> None:
    for name, fields in support.table().items():
        known = schema.descriptor(name.partition("#")[0]).fields_by_name
        assert set(fields) <= set(known), name
        for each in fields.values():
            assert each.table is None or each.table in support.table()
            for kind in each.types or ():
                assert kind in support.table()


def test_every_supported_message_has_a_table() -> None:
    for name, fields in support.table().items():
        known = schema.descriptor(name.partition("#")[0]).fields_by_name
        for field, each in fields.items():
            message = known[field].message_type
            if message is None or each.table or each.unread or message.full_name in OWN_SPELLING:
                continue
            if message.GetOptions().map_entry:
                message = message.fields_by_name["value"].message_type
            if message is not None and message.full_name not in OWN_SPELLING:
                assert message.full_name in support.table(), f"{name}.{field}"


TAGGING = "envoy.extensions.filters.http.ip_tagging.v3.IPTagging"


def test_every_table_is_reached() -> None:
    files = "envoy.service.discovery.v3.DiscoveryResponse", f"{TAGGING}.IPTags"
    roots = {schema.BOOTSTRAP, *files}
    reached: set[str] = set()
    while roots:
        name = roots.pop()
        reached.add(name)
        known = schema.descriptor(name.partition("#")[0]).fields_by_name
        for field, each in support.table()[name].items():
            message = known[field].message_type
            if message is not None and message.GetOptions().map_entry:
                message = message.fields_by_name["value"].message_type
            below = {each.table} if each.table else {message.full_name} if message else set()
            roots |= ((below | set(each.types or ())) & set(support.table())) - reached
    assert set(support.table()) == reached


def test_conditions() -> None:
    def problems(message: str, tree: dict[str, object]) -> list[tuple[str, str]]:
        return [(p.path, p.reason) for p in support.unsupported(message, tree)]

    listener = "envoy.config.listener.v3.Listener"
    assert problems(listener, {"filter_chains": [{}, {}]}) == [
        ("filter_chains", "more than 1 is not supported yet by meshcore")
    ]
    assert problems("envoy.config.core.v3.SocketAddress", {"protocol": "UDP"}) == [
        ("protocol", "UDP is not supported yet by meshcore (supported: TCP)")
    ]
    any_filter = {"typed_config": {"@type": "type.googleapis.com/google.protobuf.Empty"}}
    assert problems("envoy.config.listener.v3.Filter", any_filter) == [
        ("typed_config", "google.protobuf.Empty is not supported yet by meshcore")
    ]
    # The place decides, not the message alone.
    options = {"common_http_protocol_options": {"max_response_headers_kb": 96}}
    manager = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    assert problems(manager, options) == [
        ("common_http_protocol_options.max_response_headers_kb", "not supported yet by meshcore")
    ]
    assert problems("envoy.config.cluster.v3.Cluster", options) == []


@pytest.mark.tree
def test_every_supported_field_is_read_somewhere() -> None:
    """A listed field that neither the core nor the control side names would be ignored."""
    if not (ROOT / "src/meshcore/gateway.py").is_file():
        pytest.skip("the control side is not in this tree")
    sources = [*(ROOT / "csrc").rglob("*.[ch]"), *(ROOT / "src").rglob("*.py")]
    named = set(re.findall(r'"(\w+)"', "".join(path.read_text("utf-8") for path in sources)))
    # These names the core puts together.
    named |= {
        f"{way}_headers_to_{do}" for way in ("request", "response") for do in ("add", "remove")
    }
    unread = [
        f"{message}.{field}"
        for message, fields in support.table().items()
        for field, each in fields.items()
        if field not in named and not each.note
    ]
    assert unread == []


@pytest.mark.tree
def test_generated_files_are_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "tools"), *sys.path])
    import regen

    for path, text in regen.generated().items():
        assert path.read_text("utf-8") == text, f"{path}: run `make regen`"


def test_defaults() -> None:
    table = defaults.defaults()
    assert defaults.default("CONNECT_TIMEOUT") == 5000
    assert table["MAX_REQUEST_HEADERS"].unit == "kib"
    for each in table.values():
        assert each.minimum <= each.maximum


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("MC_DEFAULT(A, ms, 1, 2)", "line 1: not MC_DEFAULT"),
        ('MC_DEFAULT(A, hours, 1, 0, 2, "x")', "line 1: not MC_DEFAULT"),
        ('MC_DEFAULT(A, ms, 9, 0, 2, "x")', "line 1: A is outside its own limits"),
        (
            'MC_DEFAULT(A, ms, 1, 0, 2, "x")\nMC_DEFAULT(A, ms, 1, 0, 2, "x")',
            "line 2: A is given twice",
        ),
    ],
)
def test_a_bad_line_in_the_defaults(line: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        defaults.parse(line)
