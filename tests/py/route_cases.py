"""Random route configurations and requests, and a reference that tries everything in order.

Texts come from small sets, so that patterns nest, repeat and meet the requests. What a request
meets is named by the route: its body (direct response), or a header that it adds (clusters).
"""

from __future__ import annotations

import random
import re
from typing import Any

Tree = dict[str, Any]
Headers = list[tuple[str, str]]

HOSTS = (
    "a.test",
    "b.a.test",
    "A.Test",
    "xb.a.test",
    "c.test",
    "b.org",
    "a.test:8080",
    ".test",
    "z",
)
DOMAINS = (
    *(
        "*",
        "a.test",
        "b.a.test",
        "*.test",
        "*.a.test",
        "*a.test",
        "a.*",
        "a.t*",
        "b.*",
        "A.TEST:8080",
    ),
    *("*b.a.test", "b.a.*", "Z"),
)
NAMES = ("x-a", "x-b", "x-c")
VALUES = ("1", "2", "12", "-3", "ab", "Ab", "")
PARAMETERS = ("p", "q", "pp")


def path(rng: random.Random, *, dir: bool = False) -> str:  # noqa: A002
    text = "/" + "".join(rng.choice("abA/;.") for _ in range(rng.randrange(5)))
    return (text.rstrip("/") or "/") + "b" if dir else text


# Expressions that mean the same to RE2 and to Python.
REGEXES = ("/a.*", "/[ab]+", "/.*b", "(?i)/a+;?", "/(a|b)/.*", ".*;.*", "/", "/[^/]*/?.?")
VALUE_REGEXES = ("[0-9]+", "-?[0-9]+", "(?i)AB", "a.*", ".*", "1|2")
# URI templates, with the expression of each.
_SEGMENT, _REST = (f"[a-zA-Z0-9\\-._~%!$&'()+,;:@={slash}]" for slash in ("", "/"))
TEMPLATES = {
    "/*": f"/{_SEGMENT}+",
    "/**": f"/{_REST}*",
    "/a/**": f"/a/{_REST}*",
    "/{x}/{y=**}": f"/(?P<x>{_SEGMENT}+)/(?P<y>{_REST}*)",
    "/{x=a/*}": f"/(?P<x>a/{_SEGMENT}+)",
    "/{x}b": f"/(?P<x>{_SEGMENT}+)b",
    "/a{x}/**": f"/a(?P<x>{_SEGMENT}+)/{_REST}*",
}
_MATCH = "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig"
_REWRITE = (
    "type.googleapis.com/envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig"
)


def extension(**config: Any) -> Tree:
    return {"name": "extension", "typed_config": config}


def substitution(rng: random.Random) -> Tree:
    regex, with_ = rng.choice(
        (
            ("a", "x"),
            ("^/([^/]*)", r"/n\1"),
            ("/", "//"),
            ("[ab]+", ""),
            (".*", ""),
            ("nope", "z"),
        )
    )
    return {"pattern": {"regex": regex}, "substitution": with_}


def string_match(rng: random.Random) -> Tree:
    if rng.random() < 0.2:
        return {"safe_regex": {"regex": rng.choice(VALUE_REGEXES)}}
    kind = rng.choice(("exact", "prefix", "suffix", "contains"))
    value = rng.choice(VALUES if kind == "exact" else VALUES[:-1])
    return {kind: value} | ({"ignore_case": True} if rng.random() < 0.3 else {})


def header_match(rng: random.Random) -> Tree:
    name = rng.choice((*NAMES, "X-A", ":method", ":authority"))
    tree: Tree = {"name": name}
    kind = rng.randrange(8)
    if kind == 0:
        tree["present_match"] = rng.random() < 0.6
    elif kind == 1:
        tree["range_match"] = {"start": rng.randrange(-4, 3), "end": rng.randrange(2, 20)}
    elif kind == 2:
        tree[rng.choice(("prefix_match", "suffix_match", "contains_match"))] = rng.choice(
            VALUES[:-1]
        )
    elif kind == 3:
        tree["exact_match"] = rng.choice(VALUES)
    elif kind == 4:
        tree["safe_regex_match"] = {"regex": rng.choice(VALUE_REGEXES)}
    elif kind > 4:
        tree["string_match"] = string_match(rng)
    if rng.random() < 0.25:
        tree["invert_match"] = True
    if rng.random() < 0.25:
        tree["treat_missing_header_as_empty"] = True
    return tree


def query_match(rng: random.Random) -> Tree:
    tree: Tree = {"name": rng.choice(PARAMETERS)}
    kind = rng.randrange(3)
    if kind == 0:
        tree["present_match"] = rng.random() < 0.7
    elif kind == 1:
        tree["string_match"] = string_match(rng)
    return tree


def match(rng: random.Random) -> Tree:
    kind = rng.choice(("prefix", "prefix", "path", "path_separated_prefix"))
    tree: Tree = {kind: path(rng, dir=kind == "path_separated_prefix")}
    other = rng.random()
    if other < 0.2:
        tree = {"prefix": "/"}
    elif other < 0.35:
        tree = {"safe_regex": {"regex": rng.choice(REGEXES)}}
    elif other < 0.45:
        policy = {"@type": _MATCH, "path_template": rng.choice(tuple(TEMPLATES))}
        tree = {"path_match_policy": extension(**policy)}
    if rng.random() < 0.2:
        tree["case_sensitive"] = False
    if rng.random() < 0.4:
        tree["headers"] = [header_match(rng) for _ in range(rng.choice((1, 1, 2)))]
    if rng.random() < 0.2:
        tree["query_parameters"] = [query_match(rng) for _ in range(rng.choice((1, 1, 2)))]
    if rng.random() < 0.1:
        cookie: Tree = {"name": rng.choice("kl"), "string_match": string_match(rng)}
        tree["cookies"] = [cookie | ({"invert_match": True} if rng.random() < 0.4 else {})]
    if rng.random() < 0.05:
        tree["grpc"] = {}
    if rng.random() < 0.1:
        tree["runtime_fraction"] = {"default_value": {"numerator": rng.choice((0, 100))}}
    return tree


# Names that Envoy keeps as one entry, and names that it keeps apart.
ADDED = ("x-a", "x-b", "x-new", "user-agent", "accept", "x-forwarded-for", "cache-control")


# What only the request says, as a RouteTable knows it too.
FORMATS = ("%REQ(:authority)%", "%REQ(x-a)%-%REQ(x-b?x-c):1%", "%ROUTE_NAME%", "%PATH(NQ)%")


def additions(
    rng: random.Random, names: tuple[str, ...] = ADDED, formats: tuple[str, ...] = FORMATS
) -> list[Tree]:
    out = []
    for _ in range(rng.randrange(3)):
        value = rng.choice(("v1", "v2", "5%%", "", *formats))
        tree: Tree = {"header": {"key": rng.choice(names), "value": value}}
        kind = rng.randrange(6)
        if kind < 4:
            tree["append_action"] = (
                *("APPEND_IF_EXISTS_OR_ADD", "ADD_IF_ABSENT"),
                *("OVERWRITE_IF_EXISTS_OR_ADD", "OVERWRITE_IF_EXISTS"),
            )[kind]
        elif kind == 4:
            tree["append"] = rng.random() < 0.5
        if rng.random() < 0.3:
            tree["keep_empty_value"] = True
        out.append(tree)
    return out


def mutations(rng: random.Random) -> Tree:
    tree: Tree = {}
    if rng.random() < 0.5:
        tree["request_headers_to_add"] = additions(rng)
    if rng.random() < 0.3:
        tree["request_headers_to_remove"] = [rng.choice(ADDED), "X-C"]
    if rng.random() < 0.3:
        tree["response_headers_to_add"] = additions(rng, ("x-r", "x-s", "x-upstream"), ())
    if rng.random() < 0.3:
        tree["response_headers_to_remove"] = [rng.choice(("x-upstream", "x-r"))]
    return tree


def redirect(rng: random.Random) -> Tree:
    tree: Tree = {}
    tree |= rng.choice(
        ({}, {"https_redirect": True}, {"scheme_redirect": "ftp"}, {"scheme_redirect": "http"})
    )
    if rng.random() < 0.4:
        tree["host_redirect"] = "new.test"
    if rng.random() < 0.3:
        tree["port_redirect"] = rng.choice((80, 443, 8443))
    tree |= rng.choice(
        (
            {},
            {"path_redirect": rng.choice(("/n", "/n?own=1", "rel"))},
            {"prefix_rewrite": rng.choice(("/", "/pre", "/pre/"))},
            {"regex_rewrite": substitution(rng)},
            {"path_rewrite": rng.choice(("/f", "/%REQ(x-a)%", "%REQ(x-none)%"))},
        )
    )
    if rng.random() < 0.3:
        tree["strip_query"] = True
    if rng.random() < 0.5:
        tree["response_code"] = rng.choice(
            ("FOUND", "SEE_OTHER", "TEMPORARY_REDIRECT", "PERMANENT_REDIRECT")
        )
    return tree


def added(name: str, value: str) -> Tree:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def forward(rng: random.Random) -> Tree:
    tree: Tree = {}
    kind = rng.randrange(4)
    if kind == 0:
        tree["cluster_header"] = "x-cluster"
    elif kind == 1:
        weights = [rng.randrange(1, 5) for _ in range(rng.choice((1, 2, 3)))]
        clusters = []
        for i, weight in enumerate(weights):
            cluster: Tree = {"name": "echo", "weight": weight, **mutations(rng)}
            picked = added("x-picked", str(i))
            cluster["request_headers_to_add"] = [*cluster.get("request_headers_to_add", []), picked]
            if rng.random() < 0.3:
                cluster["host_rewrite_literal"] = "weighted.test"
            clusters.append(cluster)
        tree["weighted_clusters"] = {"clusters": clusters, "header_name": "x-random"}
    else:
        tree["cluster"] = "echo"
    kind = rng.randrange(10)
    if kind < 3:
        tree["prefix_rewrite"] = rng.choice(("/", "/pre", "/pre/"))
    elif kind == 3:
        tree["regex_rewrite"] = substitution(rng)
    elif kind == 4:
        tree["path_rewrite"] = rng.choice(("/f", "/%REQ(x-a)%", "%REQ(x-none)%"))
    kind = rng.randrange(7)
    if kind == 5:
        tree["host_rewrite_path_regex"] = {
            "pattern": {"regex": rng.choice(("^/(.*)$", "^/a.*", "nope"))},
            "substitution": rng.choice(("h.test", "", "x.test")),
        }
    elif kind == 6:
        tree["host_rewrite"] = rng.choice(("%REQ(x-c)%", "f.test", "%REQ(x-none)%"))
    if kind == 0:
        tree["host_rewrite_literal"] = "literal.test"
    elif kind == 1:
        tree["host_rewrite_header"] = "X-A"
    if rng.random() < 0.3:
        tree["append_x_forwarded_host"] = True
    return tree


def route(rng: random.Random, name: str, actions: str) -> Tree:
    tree: Tree = {"name": name, "match": match(rng)}
    action = rng.choice(actions)
    template = tree["match"].get("path_match_policy", {}).get("typed_config", {})
    if action == "d":
        tree["direct_response"] = {"status": 200, "body": {"inline_string": name}}
    elif action == "r":
        tree["redirect"] = redirect(rng)
        if template:
            tree["redirect"].pop("prefix_rewrite", None)
    else:
        tree["route"] = forward(rng)
        if template:
            for field in ("prefix_rewrite", "regex_rewrite", "path_rewrite"):
                tree["route"].pop(field, None)
            if "{x}" in template["path_template"] and rng.random() < 0.7:
                tree["route"]["path_rewrite_policy"] = extension(
                    **{"@type": _REWRITE, "path_template_rewrite": "/re/{x}"}
                )
        tree |= mutations(rng)
        marks = [*tree.get("request_headers_to_add", []), added("x-route", name)]
        tree["request_headers_to_add"] = marks
    return tree


def table(rng: random.Random, *, routes: int = 12, actions: str = "dddrccc") -> Tree:
    domains = list(DOMAINS)
    rng.shuffle(domains)
    if rng.random() < 0.6:
        domains.remove("*")
        domains.append("*")
    hosts = []
    for h in range(rng.randrange(1, 5)):
        host: Tree = {
            "name": f"v{h}",
            "domains": [domains.pop() for _ in range(rng.choice((1, 1, 2)))],
            "routes": [route(rng, f"v{h}r{i}", actions) for i in range(rng.randrange(1, routes))],
            **mutations(rng),
        }
        if rng.random() < 0.1:
            host["require_tls"] = rng.choice(("ALL", "EXTERNAL_ONLY"))
        hosts.append(host)
    tree: Tree = {"name": "table", "virtual_hosts": hosts, **mutations(rng)}
    for field in (
        "most_specific_header_mutations_wins",
        "ignore_port_in_host_matching",
        "ignore_path_parameters_in_path_matching",
    ):
        if rng.random() < 0.3:
            tree[field] = True
    return tree


def request(rng: random.Random) -> Headers:
    """Pseudo-headers first, as an HTTP/1.1 request to a plain listener has them."""
    query = "&".join(
        rng.choice(PARAMETERS) + rng.choice(("", "=", "=ab", "=12"))
        for _ in range(rng.choice((0, 0, 0, 1, 2)))
    )
    headers = [
        (":authority", rng.choice(HOSTS)),
        (":path", path(rng) + ("?" + query if query or rng.random() < 0.1 else "")),
        (":method", rng.choice(("GET", "GET", "POST"))),
        (":scheme", "http"),
    ]
    for name in NAMES:
        headers += [(name, rng.choice(VALUES)) for _ in range(rng.choice((0, 0, 1, 1, 2)))]
    if rng.random() < 0.2:
        headers.append(("content-type", rng.choice(("application/grpc", "application/grpc+x"))))
    if rng.random() < 0.3:
        headers.append(("cookie", rng.choice(("k=1", 'k="ab"; l=2', "l=; k=12", "m=1; k=1; k=2"))))
    if rng.random() < 0.8:
        headers.append(("x-cluster", "echo"))
    headers.append(("x-random", rng.choice(("0", "1", "+2", "3", "7", "18446744073709551615"))))
    if rng.random() < 0.2:
        headers.append(("x-forwarded-host", rng.choice(("o.test", "o.test, a.test", "a.test"))))
    return headers


# --- the reference ------------------------------------------------------------------------------


def value_of(headers: Headers, name: str) -> str | None:
    values = [value for key, value in headers if key == name.lower()]
    return ",".join(values) if values else None


def holds_string(tree: Tree, value: str) -> bool:
    if "safe_regex" in tree:
        return re.fullmatch(tree["safe_regex"]["regex"], value) is not None
    for kind in ("exact", "prefix", "suffix", "contains"):
        if kind in tree:
            wanted = tree[kind]
            if tree.get("ignore_case"):
                wanted, value = wanted.lower(), value.lower()
            return {
                "exact": value == wanted,
                "prefix": value.startswith(wanted),
                "suffix": value.endswith(wanted),
                "contains": wanted in value,
            }[kind]
    raise AssertionError(tree)


def holds_number(tree: Tree, value: str) -> bool:
    try:
        return int(tree.get("start", 0)) <= int(value) < int(tree.get("end", 0))
    except ValueError:
        return False


def holds_header(tree: Tree, headers: Headers) -> bool:
    value = value_of(headers, tree["name"])
    invert = tree.get("invert_match", False)
    by_value = [
        key for key in tree if key.endswith("_match") and not key.startswith(("inv", "pres"))
    ]
    if value is None and tree.get("treat_missing_header_as_empty"):
        value = ""
    if not by_value:
        return bool(((value is not None) == tree.get("present_match", True)) != invert)
    if value is None:
        return False
    kind = by_value[0]
    if kind == "string_match":
        result = holds_string(tree[kind], value)
    elif kind == "range_match":
        result = holds_number(tree[kind], value)
    elif kind == "safe_regex_match":
        result = holds_string({"safe_regex": tree[kind]}, value)
    elif kind == "exact_match":
        result = tree[kind] in ("", value)
    else:
        result = holds_string({kind.removesuffix("_match"): tree[kind]}, value)
    return bool(result != invert)


def holds_query(tree: Tree, query: str) -> bool:
    values: dict[str, str] = {}
    for item in query.split("&") if query else ():
        name, _, value = item.partition("=")
        values.setdefault(name, value)
    if "string_match" in tree:
        return tree["name"] in values and holds_string(tree["string_match"], values[tree["name"]])
    return bool((tree["name"] in values) == tree.get("present_match", True))


def holds_cookie(tree: Tree, headers: Headers) -> bool:
    values: dict[str, str] = {}
    for item in (value_of(headers, "cookie") or "").split(";"):
        name, _, value = item.strip().partition("=")
        values.setdefault(name, value.strip('"'))
    found = tree["name"] in values and holds_string(tree["string_match"], values[tree["name"]])
    return bool(found != tree.get("invert_match", False))


def holds_path(tree: Tree, text: str, whole: str) -> bool:
    if "safe_regex" in tree:
        return re.fullmatch(tree["safe_regex"]["regex"], text) is not None
    if "path_match_policy" in tree:
        template = tree["path_match_policy"]["typed_config"]["path_template"]
        return re.fullmatch(TEMPLATES[template], whole) is not None
    for kind in ("prefix", "path", "path_separated_prefix"):
        if kind in tree:
            wanted = tree[kind]
            if not tree.get("case_sensitive", True):
                wanted, text = wanted.lower(), text.lower()
            if kind == "prefix":
                return text.startswith(wanted)
            return text == wanted or (
                kind == "path_separated_prefix" and text.startswith(wanted + "/")
            )
    raise AssertionError(tree)


def holds(config: Tree, tree: Tree, headers: Headers, draw: int) -> bool:
    target = value_of(headers, ":path") or ""
    text, _, query = target.partition("?")
    whole = text
    if config.get("ignore_path_parameters_in_path_matching"):
        text = text.partition(";")[0]
    fraction = tree.get("runtime_fraction", {"default_value": {"numerator": 100}})["default_value"]
    content_type = value_of(headers, "content-type") or ""
    grpc = content_type == "application/grpc" or content_type.startswith("application/grpc+")
    return (
        holds_path(tree, text, whole)
        and all(holds_cookie(each, headers) for each in tree.get("cookies", ()))
        and all(holds_header(each, headers) for each in tree.get("headers", ()))
        and all(holds_query(each, query) for each in tree.get("query_parameters", ()))
        and ("grpc" not in tree or grpc)
        and draw % 100 < fraction["numerator"]
    )


def rank(domain: str, host: str) -> int:
    """How well a domain fits, 0 for not at all."""
    domain, host = domain.lower(), host.lower()
    if domain == "*":
        return 1
    if domain.startswith("*"):
        fits = host.endswith(domain[1:]) and len(host) >= len(domain)
        return 10_000 + len(domain) if fits else 0
    if domain.endswith("*"):
        return 2 + len(domain) if host.startswith(domain[:-1]) and len(host) >= len(domain) else 0
    return 1_000_000 if domain == host else 0


def virtual_host(config: Tree, headers: Headers) -> Tree | None:
    host = value_of(headers, ":authority") or ""
    if config.get("ignore_port_in_host_matching"):
        host = host.partition(":")[0]
    ranked = [
        (rank(domain, host), each) for each in config["virtual_hosts"] for domain in each["domains"]
    ]
    best, chosen = max(ranked, key=lambda pair: pair[0])
    return chosen if best else None


def reference(config: Tree, headers: Headers, draw: int = 0) -> str | None:
    """The name of the matching route, "tls" where TLS is required, or None."""
    host = virtual_host(config, headers)
    if host is None:
        return None
    if host.get("require_tls") and value_of(headers, "x-forwarded-proto") != "https":
        return "tls"
    for each in host["routes"]:
        if holds(config, each["match"], headers, draw):
            return str(each["name"])
    return None
