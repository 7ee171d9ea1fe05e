"""Odd corners of matching, rewriting and redirecting: tables, each with the requests to ask it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Tree = dict[str, Any]
Headers = list[tuple[str, str]]
Corner = tuple[Tree, list[Headers]]


def ask(path: str = "/", host: str = "h", *headers: tuple[str, str]) -> Headers:
    return [
        (":authority", host),
        (":path", path),
        (":method", "GET"),
        (":scheme", "http"),
        *headers,
    ]


def answer(name: str, match: Tree) -> Tree:
    body = {"inline_string": name}
    return {"name": name, "match": match, "direct_response": {"status": 200, "body": body}}


def table(*routes: Tree, **fields: Any) -> Tree:
    host = {"name": "v", "domains": ["*"], "routes": list(routes)}
    return {"name": "table", "virtual_hosts": [host], **fields}


def added(name: str, value: str, **fields: Any) -> Tree:
    return {"header": {"key": name, "value": value}, **fields}


# --- one condition, many values -------------------------------------------------------------------

NUMBERS = ("1", "-1", "+1", "0", "5", "1.5", "", "x", "0x1", "1e3", "00", "--1")
BOUNDS = ("9223372036854775807", "9223372036854775808", "-9223372036854775808")
NARROW = {"range_match": {"start": 0, "end": 2}}
WIDE = {"range_match": {"start": "-9223372036854775808", "end": "9223372036854775807"}}
MISSING_IS_EMPTY = {"treat_missing_header_as_empty": True}
INVERTED = {"invert_match": True}
HEADERS = (
    {"range_match": {"start": -10, "end": 10}},
    WIDE,
    NARROW | INVERTED,
    NARROW | INVERTED | MISSING_IS_EMPTY,
    {"string_match": {"safe_regex": {"regex": ".*"}}},
    {"string_match": {"exact": ""}},
    {"string_match": {"prefix": "1", "ignore_case": True}} | INVERTED,
    {"present_match": False},
    {"present_match": False} | INVERTED,
    {"present_match": True} | MISSING_IS_EMPTY,
)

QUERIES = (
    *("/?a", "/?a=", "/?a=1", "/?a=1&a=2", "/?a=2&a=1", "/?b", "/", "/?", "/?a=%31", "/?A=1"),
    *("/?a+b=1", "/?%61=1", "/?=1", "/?&a=1", "/?a=1;b=2", "/?b=1;a=1", "/?a==1", "/?x=a=1"),
    *("/?a&a=1", "/x?y?a=1", "/?a=1%26b=2", "/?aa=1&a=1"),
)
PARAMETERS = (
    [{"name": "a"}],
    [{"name": "a", "present_match": True}],
    [{"name": "a", "present_match": False}],
    [{"name": "a", "string_match": {"exact": "1"}}],
    [{"name": "a", "string_match": {"exact": ""}}],
    [{"name": "a", "string_match": {"safe_regex": {"regex": "[0-9%]+"}}}],
    [{"name": "a b", "present_match": True}],
    [{"name": "a", "string_match": {"suffix": "1"}}, {"name": "b", "present_match": False}],
)

COOKIES = (
    *(("a=1",), ("a=1;b=2",), ("b=2;a=1",), ("b=2; a=1",), ("a =1",), ("a= 1",), ('a="1"',)),
    *(('a="1',), ("a",), ("a=",), ("a=1=2",), ("a=2; a=1",), ("a=2", "a=1"), ("A=1",), (";a=1",)),
    *(("a=1;",), (), ("aa=1",), ('a="1"; b',), ('a="1;2"',), ("b; a=1",), ("a==1",)),
)
COOKIE_MATCHES = (
    {"string_match": {"exact": "1"}},
    {"string_match": {"exact": "1"}} | INVERTED,
    {"string_match": {"prefix": "1"}},
    {"string_match": {"safe_regex": {"regex": ".*"}}},
    {"string_match": {"exact": ""}},
)

HOSTS = (
    *("h", "H", "h:80", "h:", "h.", "[::1]", "[::1]:80", "a.h", "x.a.h", "a.h:8080", "ha"),
    *("h.a", "h.a.b", "-h", "a-h"),
)
DOMAINS = (
    ("h", "*.h", "h.*", "*-h", "*"),
    ("[::1]", "h:*", "*:80"),
    ("*.a.h", "*.h", "a.*", "*a.h"),
)

PATHS = (
    *("/", "/a", "/A", "/a/", "/a/b", "/ab", "/a?x", "/a/?x", "/a;p", "/a;p/b", "/a/;p"),
    *("/a%2fb", "/a//b", "/%61", "/a;?x", "/;a", "/a;b;c?d;e"),
)
SPECIFIERS: tuple[Tree, ...] = (
    {"path": "/a"},
    {"prefix": "/a"},
    {"path_separated_prefix": "/a"},
    {"path": "/A", "case_sensitive": False},
    {"prefix": "/A/", "case_sensitive": False},
    {"path_separated_prefix": "/A", "case_sensitive": False},
    {"safe_regex": {"regex": "/a.?"}},
    {"prefix": "/a;"},
    {"path": "/a;p"},
    {"safe_regex": {"regex": "/A"}, "case_sensitive": False},
    {"prefix": ""},
)


# What the path index takes off an expression as its literal beginning must change no answer.
EXPRESSIONS = (
    *("/a|/b", "^/a", "/a$", "(?i)/A", r"/a\b.*", "/a(?:b|c)?", "[^?]*", "/[[:alpha:]]+", r"/\w+"),
    *(r"/a\.b", "/.?", "/a{2,3}", "/(a|b)+/c", r"/\Qa.b\E", r"/a\x62", "a", "/a.*|", "()/a"),
    *("/%C3%A9", "(?m)^/a$", "/a[|]", "/a[]|]b"),
)
EXPRESSED = (
    *("/a", "/b", "/A", "/a/b", "/ab", "/ac", "/a.b", "/axb", "/aa", "/aaa", "/aaaa", "/abc"),
    *("/a/c", "/ab/c", "/%C3%A9", "/a-b", "/", "/abab/c", "/a|", "/a|b", "/a]b"),
)


def expressions() -> Iterable[Corner]:
    asked = [ask(path) for path in EXPRESSED]

    def regex(name: str, text: str) -> Tree:
        return answer(name, {"safe_regex": {"regex": text}})

    for text in EXPRESSIONS:
        yield table(regex("hit", text)), asked
    prefix, path = answer("prefix", {"prefix": "/ab"}), answer("path", {"path": "/ab"})
    yield table(regex("first", "/a.*"), prefix, regex("last", "/.*"), path), asked
    yield table(path, regex("first", "/ab.*"), prefix, regex("last", "/a[^/]*/c")), asked


def matching() -> Iterable[Corner]:
    for header in HEADERS:
        asked = [ask("/", "h", ("x-a", value)) for value in (*NUMBERS, *BOUNDS)]
        yield one(headers=[{"name": "x-a", **header}]), [*asked, ask()]
    for parameters in PARAMETERS:
        yield one(query_parameters=parameters), [ask(path) for path in QUERIES]
    for cookie in COOKIE_MATCHES:
        asked = [ask("/", "h", *(("cookie", v) for v in values)) for values in COOKIES]
        yield one(cookies=[{"name": "a", **cookie}]), asked
    for specifier in SPECIFIERS:
        for fields in ({}, {"ignore_path_parameters_in_path_matching": True}):
            yield table(answer("hit", specifier), **fields), [ask(path) for path in PATHS]


def one(**conditions: Any) -> Tree:
    return table(answer("hit", {"prefix": "/", **conditions}))


def hosts() -> Iterable[Corner]:
    for domains in DOMAINS:
        for fields in ({}, {"ignore_port_in_host_matching": True}):
            yield by_domain(*domains, **fields), [ask("/", host) for host in HOSTS]
    named = [ask("/", "zz", ("x-h", host)) for host in HOSTS]
    twice = ask("/", "zz", ("x-h", "h"), ("x-h", "a.h"))
    yield by_domain("h", "a.h", vhost_header="x-h"), [*named, twice, ask()]
    yield by_domain("*", vhost_header="x-h"), [ask()]
    yield by_domain("h", "*", vhost_header="x-h"), [ask()]


def by_domain(*domains: str, **fields: Any) -> Tree:
    found = [
        {"name": domain, "domains": [domain], "routes": [answer(domain, {"prefix": "/"})]}
        for domain in domains
    ]
    return {"name": "table", "virtual_hosts": found, **fields}


# --- redirects and rewrites -----------------------------------------------------------------------


def rewrite(pattern: str, substitution: str) -> Tree:
    return {"regex_rewrite": {"pattern": {"regex": pattern}, "substitution": substitution}}


TARGETS = ("/o", "/o?", "/o?a", "/o?a?b", "/o/x?b", "/O/x", "/o//x")
PREFIX = {"prefix": "/o", "case_sensitive": False}
PLAIN = {"path": "/o"}
REDIRECTS = (
    {"https_redirect": True},
    {"scheme_redirect": "HTTPS"},
    {"scheme_redirect": "http"},
    {"port_redirect": 443, "https_redirect": True},
    {"port_redirect": 80},
    {"host_redirect": "n:80", "https_redirect": True},
    {"host_redirect": "n:8080", "port_redirect": 1},
)
FROM = ("h", "h:80", "h:8080", "[::1]:80", "[::1]", "h:", "h:080", "h:443", "H:80")
PATH_REDIRECTS: tuple[Tree, ...] = (
    {"path_redirect": "/n"},
    {"path_redirect": "/n?z=1"},
    {"path_redirect": "/n?z=1", "strip_query": True},
    {"path_redirect": "relative"},
    {"strip_query": True},
    {"prefix_rewrite": "/p"},
    {"prefix_rewrite": "p"},
    {"prefix_rewrite": "?z"},
    {"prefix_rewrite": "/p", "strip_query": True},
    {"path_rewrite": "%REQ(x-a)%"},
    {"path_rewrite": "%REQ(x-a)%", "strip_query": True},
    {"path_rewrite": "/n?z=%REQ(x-a)%", "strip_query": True},
    rewrite(".*", ""),
    rewrite(".*", "") | {"strip_query": True},
    rewrite("[^/]*$", ""),
    rewrite("^/o", "/n?x=1"),
)
REWRITES: tuple[Tree, ...] = (
    {"prefix_rewrite": "/o"},
    {"prefix_rewrite": "/n?z"},
    {"prefix_rewrite": "/"},
    {"path_rewrite": "%REQ(x-a)%"},
    {"path_rewrite": "/%REQ(x-a)%/%PATH(NQ)%"},
    rewrite(".*", ""),
    rewrite("(/)([a-z]*)", r"\1\2\0"),
    rewrite("nope", "x"),
    {"host_rewrite_literal": "new.test", "append_x_forwarded_host": True},
    {"host_rewrite_header": "X-A", "append_x_forwarded_host": True},
    {"host_rewrite": "%REQ(x-a)%"},
    {"append_x_forwarded_host": True},
)


def changing() -> Iterable[Corner]:
    for redirect in REDIRECTS:
        entry = {"match": {"prefix": "/"}, "redirect": redirect}
        yield table(entry), [ask("/o", host) for host in FROM]
        if redirect.keys() & {"https_redirect", "scheme_redirect"}:
            protos = [("x-forwarded-proto", text) for text in ("HTTP", "HTTPS", "https", "http")]
            asked = [ask("/o", f"h:{port}", proto) for proto in protos for port in (80, 443)]
            yield table(entry), asked
    extra = ([], [("x-a", "/y")], [("x-a", "yy"), ("x-forwarded-host", "h")])
    asked = [ask(path, "h", *headers) for path in TARGETS for headers in extra]
    for match in (PREFIX, PLAIN):
        for redirect in PATH_REDIRECTS:
            yield table({"match": match, "redirect": redirect}), asked
        for route in REWRITES:
            yield table({"match": match, "route": {"cluster": "echo", **route}}), asked


# --- headers --------------------------------------------------------------------------------------

SWAPPED = [
    added("x-a", "%REQ(x-b)%"),
    added("x-b", "%REQ(x-a)%", append_action="OVERWRITE_IF_EXISTS_OR_ADD"),
    added("x-c", "%%%REQ(none)%"),
    added("x-d", "%REQ(none)%", keep_empty_value=True),
    added("x-e", "%REQ(x-a?x-b):1%"),
    added("x-f", "%ROUTE_NAME% %PATH(NQ)% %QUERY_PARAM(k)% %QUERY_PARAMS(ORIG)%"),
]


def mutating() -> Iterable[Corner]:
    authority = [added("x-w", "%REQ(:authority)%")]
    cluster = {
        "name": "echo",
        "weight": 1,
        "host_rewrite_literal": "w.test",
        "request_headers_to_add": authority,
    }
    forward = {"weighted_clusters": {"clusters": [cluster]}, "host_rewrite_literal": "r.test"}
    entry = {"match": {"prefix": "/"}, "route": forward}
    yield table({**entry, "request_headers_to_add": [added("x-r", "%REQ(:authority)%")]}), [ask()]
    swapped = {
        "name": "swapped",
        "match": {"prefix": "/"},
        "route": {"cluster": "echo"},
        "request_headers_to_add": SWAPPED,
        "request_headers_to_remove": ["X-Z"],
    }
    asked = ask("/q?k=v", "h", ("x-a", "11"), ("x-b", "22"), ("x-z", "1"))
    yield table(swapped), [asked, ask("/q?k")]


CORNERS: list[Corner] = [*matching(), *expressions(), *hosts(), *changing(), *mutating()]
