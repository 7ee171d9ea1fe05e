"""The /stats page: parameters, shapes, tags; beside real Envoy where there is one."""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request

import pytest

from meshcore.observe.stats_render import StatsPage, StatsQuery, StatsQueryError
from meshcore.observe.tags import DEFAULT_RULES, TagProducer, tagged_snapshot
from meshcore.stats import Store

# --- tags -----------------------------------------------------------------------------------------

NAMES = {
    "cluster.cart.upstream_rq_404": ("cluster.upstream_rq", "response_code=404 cluster_name=cart"),
    "cluster.cart.upstream_rq_5xx": (
        "cluster.upstream_rq_xx",
        "response_code_class=5 cluster_name=cart",
    ),
    "cluster.cart.external.upstream_rq_time": (
        "cluster.external.upstream_rq_time",
        "cluster_name=cart",
    ),
    "listener.127.0.0.1_80.http.ingress.downstream_rq_2xx": (
        "listener.http.downstream_rq_xx",
        "response_code_class=2 http_conn_manager_prefix=ingress listener_address=127.0.0.1_80",
    ),
    "listener.[__1]_80.worker_3.downstream_cx_active": (
        "listener.worker_downstream_cx_active",
        "worker_id=3 listener_address=[__1]_80",
    ),
    "listener.admin.downstream_cx_total": ("listener.admin.downstream_cx_total", ""),
    "listener.0.0.0.0_443.ssl.ciphers.ECDHE-RSA": (
        "listener.ssl.ciphers",
        "ssl_cipher=ECDHE-RSA listener_address=0.0.0.0_443",
    ),
    "cluster.c.ssl.versions.TLSv1.3": (
        "cluster.ssl.versions",
        "ssl_version=TLSv1.3 cluster_name=c",
    ),
    "http.p.rds.my.route.x.config_reload": (
        "http.rds.config_reload",
        "rds_route_config=my.route.x http_conn_manager_prefix=p",
    ),
    "http.p.user_agent.ios.downstream_cx_total": (
        "http.user_agent.downstream_cx_total",
        "http_user_agent=ios http_conn_manager_prefix=p",
    ),
    "vhost.v.vcluster.c.upstream_rq_timeout": (
        "vhost.vcluster.upstream_rq_timeout",
        "virtual_cluster=c virtual_host=v",
    ),
    "vhost.v.route.r.upstream_rq_total": (
        "vhost.route.upstream_rq_total",
        "virtual_host=v route=r",
    ),
    "tcp.t.downstream_cx_total": ("tcp.downstream_cx_total", "tcp_prefix=t"),
    "p.http_local_rate_limit.ok": ("http_local_rate_limit.ok", "local_http_ratelimit_prefix=p"),
    "thread_local_cluster_manager.worker_0.clusters_inflated": (
        "thread_local_cluster_manager.worker_clusters_inflated",
        "worker_id=0",
    ),
    "proxy_proto.s.versions.v1.found": (
        "proxy_proto.found",
        "proxy_protocol_version=1 proxy_protocol_prefix=s",
    ),
    "mongo.f.collection.c.callsite.s.query.total": (
        "mongo.collection.callsite.query.total",
        "mongo_callsite=s mongo_collection=c mongo_prefix=f",
    ),
    "http.x.dynamodb.table.t.capacity.op.__partition_id=1234567": (
        "http.dynamodb.table.capacity",
        "dynamo_partition_id=1234567 dynamo_operation=op dynamo_table=t http_conn_manager_prefix=x",
    ),
    "server.live": ("server.live", ""),
    "cluster": ("cluster", ""),
}


@pytest.mark.parametrize("name", NAMES)
def test_default_tags(name):
    extracted, tags = TagProducer.default().produce(name)
    short = " ".join(f"{tag.removeprefix('envoy.')}={value}" for tag, value in tags)
    assert (extracted, short) == NAMES[name]


def test_custom_tags():
    producer = TagProducer.from_specs(
        [
            {"tag_name": "fixed", "fixed_value": "v"},
            {"tag_name": "kind", "regex": r"^cluster\.(.*?_(rq)_)"},
            {"tag_name": "envoy.cluster_name", "regex": r"^cluster\.((c))"},  # comes second
            {"tag_name": "digits", "regex": r"_(([[:digit:]]+)s)"},
        ]
    )
    assert producer.produce("cluster.cart.upstream_rq_12s") == (
        "cluster.",
        (("fixed", "v"), ("digits", "12"), ("envoy.cluster_name", "cart"), ("kind", "rq")),
    )


def test_chosen_tags():
    producer = TagProducer.from_specs(
        [{"tag_name": "envoy.cluster_name"}], use_all_default_tags=False
    )
    assert producer.produce("cluster.a.rq_404") == (
        "cluster.rq_404",
        (("envoy.cluster_name", "a"),),
    )
    for specs, message in [
        ([{"tag_name": "x"}], "no default regex for name: 'x'"),
        ([{"tag_name": "x", "regex": "("}], "invalid regex for tag 'x'"),
        ([{"tag_name": "x", "regex": "y"}], "must have a group"),
    ]:
        with pytest.raises(ValueError, match=message):
            TagProducer.from_specs(specs)


def test_tags_are_found_once_and_kept():
    store = Store()
    store.counter("cluster.a.x").inc()
    assert [m.tags for m in tagged_snapshot(store, TagProducer.default())] == [
        (("envoy.cluster_name", "a"),)
    ]
    store.counter("cluster.b.x", {"own": "1"})
    store.counter("cluster.c.x")
    tags = {m.name: m.tags for m in tagged_snapshot(store, TagProducer(()))}
    assert tags == {
        "cluster.a.x": (("envoy.cluster_name", "a"),),
        "cluster.b.x.own.1": (("own", "1"),),
        "cluster.c.x": (),
    }


def test_rules_that_share_a_name_are_alternatives():
    names = [rule.name for rule in DEFAULT_RULES]
    assert {name for name in names if names.count(name) > 1} == {
        "envoy.http_conn_manager_prefix",
        "envoy.ext_authz_prefix",
    }


# --- parameters -----------------------------------------------------------------------------------


def query(text: str, **options) -> StatsQuery:
    pairs = urllib.parse.parse_qsl(text, keep_blank_values=True)
    return StatsQuery.parse(dict(reversed(pairs)), **options)


# As Envoy 1.39 answers.
BAD_QUERIES = {
    "type=x": "invalid &type= param",
    "type=counters": "invalid &type= param",
    "format=x": "usage: /stats?format=(html|active-html|json|prometheus|text)\n\n",
    "hidden=x": "usage: /stats?hidden=(include|only|exclude)\n\n",
    "histogram_buckets=x": (
        "usage: /stats?histogram_buckets=(cumulative|disjoint|detailed|summary|prometheusnative)\n"
    ),
    "histogram_buckets=prometheusnative": (
        "Invalid histogram_buckets type for non prometheus stats type"
    ),
    "format=prometheus&histogram_buckets=detailed": "unsupported prometheus histogram bucket mode",
    "format=prometheus&histogram_buckets=disjoint": "unsupported prometheus histogram bucket mode",
    "format=prometheus&histogram_buckets=prometheusnative": (
        "unsupported prometheusnative histogram type when not using protobuf exposition format"
    ),
}


@pytest.mark.parametrize("text", BAD_QUERIES)
def test_bad_parameters(text):
    with pytest.raises(StatsQueryError) as caught:
        query(text)
    assert str(caught.value) == BAD_QUERIES[text]


def test_a_bad_filter():
    with pytest.raises(StatsQueryError, match=r"^Invalid re2 regex: .*: \($"):
        query("filter=(")


def sample() -> StatsPage:
    store = Store()
    store.counter("cluster.a.upstream_rq_total").inc(3)
    store.counter("cluster.b.upstream_rq_total")
    store.gauge("cluster.a.upstream_rq_active").set(2)
    store.text("control_plane.identifier").set("cp")
    for value in (5, 57, 110):
        store.histogram("cluster.a.upstream_rq_time").record(value)
    store.merge()
    return StatsPage(store)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("type=Counters", ["cluster.a.upstream_rq_total", "cluster.b.upstream_rq_total"]),
        ("type=Gauges", ["cluster.a.upstream_rq_active"]),
        ("type=Histograms", ["cluster.a.upstream_rq_time"]),
        ("type=TextReadouts", ["control_plane.identifier"]),
        ("filter=%5Econtrol", ["control_plane.identifier"]),
        ("filter=b.*total$", ["cluster.b.upstream_rq_total"]),
        ("filter=b&usedonly", []),
        ("usedonly=false&type=Counters", ["cluster.a.upstream_rq_total"]),
        ("hidden=only", []),
        (
            "type=All",
            [
                "control_plane.identifier",
                "cluster.a.upstream_rq_active",
                "cluster.a.upstream_rq_total",
                "cluster.b.upstream_rq_total",
                "cluster.a.upstream_rq_time",
            ],
        ),
    ],
)
def test_what_is_shown(text, names):
    page = sample().render(query(text)).decode()
    assert [line.partition(":")[0] for line in page.splitlines()] == names
    document = json.loads(sample().render(query(text + "&format=json")))
    assert query("format=json").content_type == "application/json"
    plain = [stat["name"] for stat in document["stats"] if "name" in stat]
    groups = [stat["histograms"]["computed_quantiles"] for stat in document["stats"][len(plain) :]]
    assert plain + [histogram["name"] for group in groups for histogram in group] == names


def test_prometheus_page():
    page = sample().render(query("format=prometheus&type=Gauges&filter=rq_total|control")).decode()
    assert page == (  # it takes no notice of the type, and has texts only when asked
        "# TYPE envoy_cluster_upstream_rq_total counter\n"
        'envoy_cluster_upstream_rq_total{envoy_cluster_name="a"} 3\n'
        'envoy_cluster_upstream_rq_total{envoy_cluster_name="b"} 0\n'
    )
    page = sample().render(query("filter=control&text_readouts", form="prometheus")).decode()
    assert page == (
        "# TYPE envoy_control_plane_identifier gauge\n"
        'envoy_control_plane_identifier{text_value="cp"} 0\n'
    )
    page = sample().render(query("format=prometheus&filter=time")).decode()
    assert 'upstream_rq_time_bucket{envoy_cluster_name="a",le="5"} 1\n' in page
    page = sample().render(query("format=prometheus&filter=time&histogram_buckets=summary"))
    assert b"# TYPE envoy_cluster_upstream_rq_time summary\n" in page


def test_merge_on_read():
    store = Store()
    store.histogram("h").record(157)
    page = StatsPage(store)
    assert page.render(query("")) == b"h: No recorded values\n"
    assert page.render(query(""), merge=True).startswith(b"h: P0(155,155) P25(155,155)")
    assert page.render(query(""), merge=True).startswith(b"h: P0(nan,155) P25(nan,155)")


# --- beside Envoy ---------------------------------------------------------------------------------

ENVOY = """
admin: {address: {socket_address: {address: 127.0.0.1, port_value: $admin_port}}}
stats_flush_on_admin: true
stats_config:
  stats_tags:
  - {tag_name: my.fixed, fixed_value: 'a"b\\c'}
  - {tag_name: my.kind, regex: '^cluster\\.(.*?_(cx)_)'}
static_resources:
  listeners:
  - name: l
    address: {socket_address: {address: 127.0.0.1, port_value: $port}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.\
HttpConnectionManager
          stat_prefix: ingress
          route_config:
            virtual_hosts:
            - name: vh
              domains: ["*"]
              virtual_clusters:
              - {name: vc, headers: [{name: ":path", string_match: {prefix: /x}}]}
              routes: [{match: {prefix: /}, direct_response: {status: 200}, stat_prefix: rt}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - {name: cart-1, type: STATIC, track_cluster_stats: {timeout_budgets: true}}
  - {name: cart, type: STATIC}
"""
SPECS = [
    {"tag_name": "my.fixed", "fixed_value": 'a"b\\c'},
    {"tag_name": "my.kind", "regex": r"^cluster\.(.*?_(cx)_)"},
]
# Made before Envoy has read its configuration, hence without the tags of it.
EARLY = re.compile(r"filesystem|hot_restart_generation|workers_started")


def fetch(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        return answer.read().decode()


@pytest.mark.oracle
def test_pages_are_envoys(envoy):
    """The names and kinds of a real Envoy, rendered here, line for line but for the values."""
    server = envoy(ENVOY)
    port = server.admin_port
    fetch(server.port, "/x")

    store = Store()
    for kind, make in (("Counters", store.counter), ("Gauges", store.gauge)):
        for stat in json.loads(fetch(port, f"/stats?format=json&type={kind}"))["stats"]:
            make(stat["name"])
    for line in fetch(port, "/stats?type=Histograms").splitlines():
        store.histogram(line.partition(":")[0])
    page = StatsPage(store, TagProducer.from_specs(SPECS))

    def lines(text: str) -> list[str]:
        return [
            re.sub(r"(?<=:| ) ?\S+$", "", line) if not line.startswith("#") else line
            for line in text.splitlines()
            if not EARLY.search(line)
        ]

    for path in ("/stats?type=Counters", "/stats?type=Gauges", "/stats/prometheus"):
        form = "prometheus" if "prometheus" in path else None
        ours = page.render(query(path.partition("?")[2], form=form)).decode()
        assert lines(ours) == lines(fetch(port, path)), path
    theirs = json.loads(fetch(port, "/stats?format=json&type=Gauges"))["stats"]
    ours = json.loads(page.render(query("format=json&type=Gauges")))["stats"]
    assert [stat["name"] for stat in ours] == [stat["name"] for stat in theirs]
