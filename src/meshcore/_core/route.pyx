"""Route tables and the routes they match: the face of csrc/route."""

cimport cython
from cpython.long cimport PyLong_AsUnsignedLongLongMask
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from meshcore._core.cbase cimport (
    MC_EINVAL,
    MC_OK,
    bytes_slice,
    mc_arena_fini,
    mc_arena_init,
    mc_runtime_fini,
    mc_runtime_init,
    mc_slice,
    mc_status,
    mc_value_parse,
    slice_bytes,
    slice_str,
)
from meshcore._core.context cimport Context, add_headers, read_context
from meshcore._core.policies cimport (
    cors_policy_object,
    decorator_object,
    hedge_policy_object,
    internal_redirect_object,
    metadata_object,
    retry_policy_object,
    shadow_policy_objects,
    tracing_object,
    value_object,
)
from meshcore._core.request cimport (
    begin,
    borrowed,
    call,
    check,
    connect,
    end,
    fill,
    know,
    result,
)

from collections import namedtuple

from meshcore._context import as_json
from meshcore.errors import ConfigError

__all__ = [
    "ConnectConfig",
    "DirectResponse",
    "HashPolicy",
    "RateLimitDescriptor",
    "Route",
    "RouteTable",
    "UpgradeMap",
    "VirtualHost",
]

DirectResponse = namedtuple("DirectResponse", "status body")
ConnectConfig = namedtuple("ConnectConfig", "allow_post")
VirtualHost = namedtuple(
    "VirtualHost",
    "name require_tls include_request_attempt_count include_attempt_count_in_response "
    "include_is_timeout_retry_header metadata cors_policy",
)
RateLimitDescriptor = namedtuple("RateLimitDescriptor", "entries limit hits_addend")
ConnectConfig.__doc__ = "Where CONNECT ends: the payload goes on as a raw stream, of POST too."
DirectResponse.__doc__ = "An answer of the route's own: status and body (bytes)."
VirtualHost.__doc__ = """What all routes of a virtual host have in common.

`require_tls` is "NONE", "EXTERNAL_ONLY" or "ALL"; `cors_policy` is None when there is none."""
RateLimitDescriptor.__doc__ = """What a rate limit asks about: a list of (key, value).

`limit` is (requests, unit) where the route overrides the service's, else None; `hits_addend` None
counts one."""
UNITS = ("UNKNOWN", "SECOND", "MINUTE", "HOUR", "DAY", "MONTH", "YEAR", "WEEK")
VH_RATE_LIMITS = ("OVERRIDE", "INCLUDE", "IGNORE")

DEPTH = 64  # of a runtime's mappings
TLS = ("NONE", "EXTERNAL_ONLY", "ALL")

cdef extern from *:
    """
    /* The stable ABI of a C bool through Cython, which knows no bool pointer. */
    static inline int route_upgrade_at(const mc_route *route, uint32_t i, mc_slice *type,
                                       int *enabled) {
        bool on = false;
        int found = mc_route_upgrade_at(route, i, type, &on);
        *enabled = on;
        return found;
    }
    """
    int route_upgrade_at(const mc_route *route, uint32_t i, mc_slice *type, int *enabled)


cdef extern from "route/rate_limit.h" nogil:
    ctypedef struct mc_rate_limit_entry:
        mc_slice key
        mc_slice value
    ctypedef struct mc_rate_limit_descriptor:
        const mc_rate_limit_entry *entries
        uint32_t count
        bint has_limit
        uint32_t requests_per_unit
        int unit
        bint has_hits
        uint64_t hits_addend
    ctypedef struct mc_rate_limit_descriptors:
        mc_rate_limit_descriptor *items
        uint32_t count
        uint32_t cap
    ctypedef enum mc_vh_rate_limits:
        pass
    mc_status mc_route_rate_limits(
        const mc_route_match *match,
        const mc_route_request *request,
        mc_slice local_cluster,
        uint32_t stage,
        bint stream_done,
        mc_vh_rate_limits option,
        mc_rate_limit_descriptors *out,
    )


class UpgradeMap(dict):
    """Types of upgrades, in lower case, each with whether it is allowed; asked for in any case."""

    def __getitem__(self, kind):
        return super().__getitem__(kind.lower())

    def __contains__(self, kind):
        return super().__contains__(kind.lower())

    def get(self, kind, default=None):
        return super().get(kind.lower(), default)


cdef dict flatten(mapping, str prefix, dict out, int depth=0):
    """Nested keys joined by dots, as Envoy's layers have them; a fraction is a value."""
    if depth == DEPTH:
        raise ValueError("a runtime nests too deeply")
    for key, value in mapping.items():
        name = f"{prefix}{key}"
        if hasattr(value, "items") and not {"numerator", "denominator"} & value.keys():
            flatten(value, f"{name}.", out, depth + 1)
        else:
            out[name] = value
    return out


# What a factory hands to __cinit__: without it not even __new__ makes an object that refers to
# nothing.
cdef object MADE_HERE = object()


cdef class Runtime:
    cdef mc_arena arena
    cdef mc_runtime runtime

    def __cinit__(self):
        mc_arena_init(&self.arena, NULL)
        check(mc_runtime_init(&self.runtime, NULL))

    def __init__(self, mapping):
        cdef const mc_value *values = NULL
        cdef mc_error error
        cdef mc_status status
        if not hasattr(mapping, "items"):
            raise TypeError(f"a runtime must be a mapping, not {type(mapping).__name__}")
        text = as_json("a runtime", flatten(mapping, "", {}))
        error.reason[0] = 0
        status = mc_value_parse(&self.arena, borrowed(text), &values, &error)
        if status == MC_EINVAL:
            reason = (<bytes>error.reason).decode("utf-8", "replace")
            raise ValueError(f"a runtime's keys and values: {reason}")
        check(status)
        check(mc_runtime_init(&self.runtime, values))

    def __dealloc__(self):
        mc_runtime_fini(&self.runtime)
        mc_arena_fini(&self.arena)


cdef class RouteTable:
    """A RouteConfiguration, compiled from its canonical JSON. Safe to share between threads."""

    def __cinit__(self):
        self.table = NULL

    def __init__(self, bytes config not None):
        cdef mc_slice document = borrowed(config)
        cdef mc_route_table *table = NULL
        cdef const mc_value *value = NULL
        cdef mc_arena arena
        cdef mc_error error
        cdef mc_status status
        if self.table != NULL:
            raise RuntimeError("a route table cannot be changed")
        with nogil:
            mc_arena_init(&arena, NULL)
            status = mc_value_parse(&arena, document, &value, &error)
            if status == MC_OK:
                status = mc_route_table_compile(value, &table, &error)
            mc_arena_fini(&arena)
        if status == MC_EINVAL:
            raise ConfigError(
                (<bytes>error.path).decode("utf-8", "replace"),
                (<bytes>error.reason).decode("utf-8", "replace"),
            )
        check(status)
        self.table = table

    def __dealloc__(self):
        mc_route_table_unref(self.table)

    @property
    def name(self):
        """The configuration's name."""
        return slice_str(mc_route_table_name(self.table)) if self.table != NULL else ""

    @property
    def clusters(self):
        """The names of all clusters that the table can lead to, in order of mention."""
        cdef uint32_t i
        if self.table == NULL:
            return ()
        return tuple([
            slice_str(mc_route_table_cluster_name(self.table, i))
            for i in range(mc_route_table_cluster_count(self.table))
        ])

    def match(self, headers, random_value=0, context=None, runtime=None):
        """The route that a request takes, or None.

        `headers` is a list of (name, value), or a mapping, with :authority, :path and :method;
        str or bytes. `random_value` is the number that fractions and weights are drawn with.
        `context` is what else a live stream would know, a mapping: addresses, TLS, metadata,
        filter state. `runtime` is a mapping of overrides, by key.
        """
        cdef mc_route_match found
        cdef Route route
        cdef Context known = None if context is None else read_context(context)
        cdef Runtime overrides = None if runtime is None else Runtime(runtime)
        cdef uint32_t virtual_cluster
        cdef call c
        if self.table == NULL:
            raise RuntimeError("the route table was not compiled")
        begin(&c)
        try:
            fill(&c, headers)
            c.request.random = PyLong_AsUnsignedLongLongMask(random_value)
            if overrides is not None:
                c.request.runtime = &overrides.runtime
            if known is not None:
                know(&c, known)
            check(mc_route_table_match(self.table, &c.request, &found))
            if found.route == NULL and not found.tls_redirect:
                return None
            route = Route.__new__(Route, MADE_HERE)
            route.table = self
            route.found = found
            route.cluster = slice_str(found.cluster)
            route.cluster_octets = slice_bytes(found.cluster)
            route.found.cluster = bytes_slice(route.cluster_octets)
            route.context = known
            if found.virtual_host.virtual_cluster_count > 0:
                check(mc_virtual_host_cluster(found.virtual_host, &c.headers, &virtual_cluster))
                route.virtual_cluster = slice_str(
                    found.virtual_host.virtual_clusters[virtual_cluster].name
                )
            return route
        finally:
            end(&c)


@cython.final
cdef class Route:
    """What a request matched. Immutable, safe to share between threads; keeps its table alive.

    `cluster` is the name of the cluster it goes to, of weighted ones the chosen one, "" for none;
    `virtual_cluster` the name of the request's virtual cluster, "other" for none of those that the
    virtual host has, None when it has none. Times are whole milliseconds.

    A virtual host that requires TLS answers with a Route of its own, which has no name and
    no cluster, only a redirect.
    """

    cdef RouteTable table
    cdef mc_route_match found
    cdef readonly str cluster
    cdef bytes cluster_octets  # what `found` names
    # The name of the request's virtual cluster, "other" for none of them, None without any.
    cdef readonly str virtual_cluster
    cdef Context context

    def __cinit__(self, key=None):
        if key is not MADE_HERE:
            raise TypeError("a Route comes from RouteTable.match")

    def __repr__(self):
        return f"<Route {self.name or self.cluster!r} of {self.virtual_host.name!r}>"

    @property
    def name(self):
        """The route's name, or an empty string."""
        return slice_str(self.found.route.name) if self.found.route != NULL else ""

    @property
    def virtual_host(self):
        """The virtual host: `name`, `require_tls`, `metadata`, `cors_policy` and more."""
        cdef const mc_virtual_host *host = self.found.virtual_host
        return VirtualHost(
            slice_str(host.name),
            TLS[host.require_tls],
            bool(host.include_attempt_count_request),
            bool(host.include_attempt_count_response),
            bool(host.include_is_timeout_retry),
            metadata_object(host.metadata),
            cors_policy_object(host.cors, self.table),
        )

    @property
    def include_attempt_count_in_request(self):
        """Whether upstreams are told the number of the try, in x-envoy-attempt-count."""
        return bool(self.found.virtual_host.include_attempt_count_request)

    @property
    def include_attempt_count_in_response(self):
        """Whether clients are told how many tries there were."""
        return bool(self.found.virtual_host.include_attempt_count_response)

    @property
    def include_is_timeout_retry_header(self):
        """Whether upstreams are told that a try follows a timeout."""
        return bool(self.found.virtual_host.include_is_timeout_retry)

    @property
    def cluster_header(self):
        """The header that names the cluster, or an empty string."""
        return slice_str(self.found.route.cluster_header) if self.found.route != NULL else ""

    @property
    def cluster_not_found_response_code(self):
        """The status when there is no such cluster: 503, 404 or 500."""
        return self.found.route.cluster_not_found_status if self.forwards() else 503

    @property
    def timeout_ms(self):
        """Milliseconds that the whole response may take, as configured; 0 means no limit.

        It does not count where `using_new_timeouts` holds.
        """
        return self.found.route.timeout_ms if self.forwards() else 0

    @property
    def idle_timeout_ms(self):
        """Milliseconds without activity, 0 for no limit; None leaves it to the listener."""
        if self.forwards() and self.found.route.has_idle_timeout:
            return self.found.route.idle_timeout_ms
        return None

    @property
    def max_stream_duration_ms(self):
        """Milliseconds that a stream may last, 0 for no limit; None leaves it to the listener."""
        if self.forwards() and self.found.route.has_stream_duration:
            return self.found.route.max_stream_duration_ms
        return None

    @property
    def priority(self):
        """ "DEFAULT" or "HIGH"."""
        return "HIGH" if self.found.route != NULL and self.found.route.high_priority else "DEFAULT"

    @property
    def auto_host_rewrite(self):
        """Whether the host becomes the chosen endpoint's name."""
        return bool(self.found.route != NULL and self.found.route.auto_host_rewrite)

    @property
    def append_x_forwarded_host(self):
        """Whether a host that is rewritten is kept in x-forwarded-host."""
        return bool(self.found.route != NULL and self.found.route.append_x_forwarded_host)

    @property
    def retry_policy(self):
        """The route's policy, else its virtual host's, else None."""
        if not self.forwards():
            return None
        return retry_policy_object(self.found.route.retry_policy, self.table)

    @property
    def hedge_policy(self):
        """The route's policy, else its virtual host's, else None."""
        return hedge_policy_object(self.found.route.hedge_policy) if self.forwards() else None

    @property
    def shadow_policies(self):
        """Copies of the request to other clusters, of the nearest level that has any."""
        return shadow_policy_objects(&self.found.route.mirrors) if self.forwards() else ()

    @property
    def internal_redirect_policy(self):
        """Which redirects of upstreams are followed here; None: all go to the client."""
        return internal_redirect_object(self.found.route.redirects) if self.forwards() else None

    @property
    def cors_policy(self):
        """The route's policy, else its virtual host's, else None."""
        if not self.forwards():
            return None
        if self.found.route.cors != NULL:
            return cors_policy_object(self.found.route.cors, self.table)
        return cors_policy_object(self.found.virtual_host.cors, self.table)

    @property
    def metadata(self):
        """Namespace to object."""
        return metadata_object(self.found.route.metadata if self.found.route != NULL else NULL)

    @property
    def metadata_match_criteria(self):
        """What hosts must say of themselves in "envoy.lb", or None."""
        return value_object(mc_route_match_metadata(&self.found))

    @property
    def typed_per_filter_config(self):
        """The filters' configurations of the most specific level that has one, by filter."""
        out = {}
        for level in (
            value_object(mc_route_table_filter_configs(self.table.table)),
            value_object(self.found.virtual_host.filter_configs),
            value_object(self.found.route.filter_configs if self.found.route != NULL else NULL),
            value_object(
                self.found.weighted.filter_configs if self.found.weighted != NULL else NULL
            ),
        ):
            out.update(level or {})
        return out

    @property
    def request_body_buffer_limit(self):
        """Bytes of a request kept for retries and redirects; None leaves it to the listener."""
        if not self.forwards() or self.found.route.body_buffer_limit == <uint64_t>-1:
            return None
        return self.found.route.body_buffer_limit

    @property
    def flush_timeout_ms(self):
        """Milliseconds that writing to the client may stall, 0 for no limit, or None."""
        return self.found.route.flush_timeout_ms if (
            self.forwards() and self.found.route.has_flush_timeout
        ) else None

    @property
    def grpc_timeout_header_max_ms(self):
        """The most that grpc-timeout may ask for, 0 for no limit; None: it is not looked at."""
        return self.grpc_timeout_max(True)

    @property
    def grpc_timeout_header_offset_ms(self):
        """What is taken off grpc-timeout."""
        cdef const mc_route *route = self.found.route
        return route.grpc_timeout_offset_ms if (
            self.forwards() and route.has_max_stream_duration and route.has_grpc_timeout_offset
        ) else None

    @property
    def max_grpc_timeout_ms(self):
        """As grpc_timeout_header_max_ms, of the older field."""
        return self.grpc_timeout_max(False)

    cdef object grpc_timeout_max(self, bint of_stream_duration):
        cdef const mc_route *route = self.found.route
        return route.grpc_timeout_max_ms if (
            self.forwards()
            and route.has_max_stream_duration == of_stream_duration
            and route.has_grpc_timeout_max
        ) else None

    @property
    def grpc_timeout_offset_ms(self):
        """As grpc_timeout_header_offset_ms, of the older field."""
        return self.found.route.grpc_timeout_offset_ms if (
            self.forwards()
            and not self.found.route.has_max_stream_duration
            and self.found.route.has_grpc_timeout_offset
        ) else None

    @property
    def tracing(self):
        """The share of requests that is traced, as the route has it, or None."""
        return tracing_object(self.found.route.tracing if self.found.route != NULL else NULL)

    @property
    def decorator(self):
        """How spans of this route are named, or None."""
        return decorator_object(self.found.route.decorator if self.found.route != NULL else NULL)

    @property
    def stat_prefix(self):
        """Under what the route's statistics stand, or an empty string."""
        return slice_str(self.found.route.stat_prefix) if self.found.route != NULL else ""

    @property
    def include_virtual_host_rate_limits(self):
        """Whether the virtual host's rate limits apply besides the route's own."""
        return bool(self.forwards() and self.found.route.include_virtual_host_rate_limits)

    def rate_limit_descriptors(
        self,
        headers,
        *,
        stage=0,
        local_cluster="",
        context=None,
        apply_on_stream_done=False,
        vh_rate_limits="OVERRIDE",
    ):
        """What the rate limits of the route and its virtual host say of a request.

        A list of (entries, limit, hits_addend): entries are (key, value) pairs, limit is
        (requests, unit) or None. `context` takes the place of the match's.
        """
        cdef Context known = self.scene(context)
        cdef mc_rate_limit_descriptors found
        cdef uint32_t i, j
        cdef bytes cluster = local_cluster.encode()
        cdef call c
        memset(&found, 0, sizeof(found))
        begin(&c)
        try:
            fill(&c, headers)
            know(&c, known)
            known.info.request = &c.headers
            check(mc_route_rate_limits(
                &self.found, &c.request, borrowed(cluster), stage, apply_on_stream_done,
                <mc_vh_rate_limits>(<int>VH_RATE_LIMITS.index(vh_rate_limits)), &found,
            ))
            return [
                RateLimitDescriptor(
                    [
                        (slice_str(found.items[i].entries[j].key),
                         slice_str(found.items[i].entries[j].value))
                        for j in range(found.items[i].count)
                    ],
                    (found.items[i].requests_per_unit, UNITS[found.items[i].unit])
                    if found.items[i].has_limit else None,
                    found.items[i].hits_addend if found.items[i].has_hits else None,
                )
                for i in range(found.count)
            ]
        finally:
            known.info.request = &known.request
            end(&c)

    @property
    def hash_policy(self):
        """How requests are hashed to hosts, or None."""
        cdef HashPolicy policy
        if not self.forwards() or self.found.route.hash_policy_count == 0:
            return None
        policy = HashPolicy.__new__(HashPolicy, MADE_HERE)
        policy.route = self
        return policy

    @property
    def upgrade_map(self):
        """Upgrade types that the route decides about: True allowed, False refused."""
        cdef mc_slice kind
        cdef int enabled
        cdef uint32_t i = 0
        out = {}
        while self.found.route != NULL and route_upgrade_at(self.found.route, i, &kind, &enabled):
            out[slice_str(kind).lower()] = bool(enabled)
            i += 1
        return UpgradeMap(out)

    @property
    def connect_config(self):
        """How CONNECT ends here and its payload goes on; None: it does not end here."""
        if self.found.route == NULL or self.found.route.connect == NULL:
            return None
        return ConnectConfig(bool(self.found.route.connect.allow_post))

    @property
    def using_new_timeouts(self):
        """Whether `max_stream_duration` is configured: `timeout` then says nothing."""
        return bool(self.forwards() and self.found.route.has_max_stream_duration)

    @property
    def direct_response(self):
        """(status, body) when the route answers by itself, else None."""
        cdef const mc_direct_response *response
        if self.found.route == NULL or self.found.route.direct_response == NULL:
            return None
        response = self.found.route.direct_response
        return DirectResponse(response.status, slice_bytes(response.body))

    @property
    def response_code(self):
        """The status of a redirect or direct response, else None."""
        if self.redirects():
            return mc_route_redirect_status(&self.found)
        return None if self.direct_response is None else self.direct_response.status

    def redirect(self, headers):
        """The location that this request is sent to; None when the route is no redirect."""
        cdef mc_slice location
        cdef call c
        if not self.redirects():
            return None
        begin(&c)
        try:
            fill(&c, headers)
            if self.context is not None:
                know(&c, self.context)
            check(mc_route_redirect_location(&self.found, &c.request, &location))
            return slice_str(location)
        finally:
            end(&c)

    cdef Context scene(self, object context):
        """What formats in header values read: the context, and this match where it says nothing."""
        cdef Context known = self.context if context is None else read_context(context)
        cdef mc_stream_info *info
        known = read_context(None) if known is None else known
        info = &known.info
        if self.found.route != NULL:
            if info.route_name.p == NULL:
                info.route_name = self.found.route.name
            if info.virtual_host_name.p == NULL:
                info.virtual_host_name = self.found.virtual_host.name
            if info.upstream_cluster.n == 0:
                info.upstream_cluster = info.upstream_cluster_raw = self.found.cluster
            if info.route_metadata == NULL:
                info.route_metadata = self.found.route.metadata
            if info.virtual_host_metadata == NULL:
                info.virtual_host_metadata = self.found.virtual_host.metadata
        return known

    def finalize_request(self, headers, *, context=None, suppress_envoy_headers=False):
        """The headers as they go upstream: mutations, host and path rewritten.

        A new list of (name, value); bytes if the first name given was bytes. `context` is what
        formats in header values read besides the headers.
        """
        cdef Context known = self.scene(context)
        cdef call c
        begin(&c)
        try:
            fill(&c, headers)
            know(&c, known)
            check(mc_route_finalize_request(
                self.table.table, &self.found, &c.request, &c.headers, suppress_envoy_headers
            ))
            return result(&c)
        finally:
            end(&c)

    def finalize_response(self, headers, request_headers=None, *, context=None):
        """The response headers after the route's mutations, as a new list.

        `request_headers` and `context` are what formats in header values read besides.
        """
        cdef Context known = self.scene(context)
        cdef Context asked = known if request_headers is None else read_context(None)
        cdef call c
        begin(&c)
        try:
            fill(&c, headers)
            know(&c, known)
            if request_headers is not None:
                add_headers(&asked.request, request_headers)
            c.request.headers = &asked.request
            check(mc_route_finalize_response(
                self.table.table, &self.found, &c.request, &c.headers
            ))
            return result(&c)
        finally:
            end(&c)

    cdef bint forwards(self):
        return (
            self.found.route != NULL
            and self.found.route.redirect == NULL
            and self.found.route.direct_response == NULL
        )

    cdef bint redirects(self):
        return self.found.tls_redirect or (
            self.found.route != NULL and self.found.route.redirect != NULL
        )


@cython.final
cdef class HashPolicy:
    """The hash policies of a route, evaluated in order."""

    cdef Route route

    def __cinit__(self, key=None):
        if key is not MADE_HERE:
            raise TypeError("a HashPolicy comes from a Route")

    def generate_hash(
        self, headers, remote_address=None, local_address=None, *, set_cookies=None, context=None
    ):
        """The hash of a request, or None when no policy yields one.

        Addresses are those of the client's connection, "ip:port" or (ip, port). The values of
        set-cookie headers that the response must carry are appended to the list `set_cookies`.
        `context` takes the place of the match's: filter state, and addresses not given here.
        """
        cdef Context known = self.route.context if context is None else read_context(context)
        cdef mc_request_hash out
        cdef uint32_t i
        cdef call c
        begin(&c)
        try:
            fill(&c, headers)
            if known is not None:
                know(&c, known)
            connect(&c, remote_address, local_address)
            check(mc_route_hash(self.route.found.route, &c.request, &out))
            if set_cookies is not None:
                for i in range(out.set_cookie_count):
                    set_cookies.append(slice_str(out.set_cookies[i]))
            return out.hash if out.has_hash else None
        finally:
            end(&c)
