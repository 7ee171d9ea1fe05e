"""Route tables and the routes they match: the face of csrc/route."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.long cimport PyLong_AsUnsignedLongLongMask
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from meshcore._core.cbase cimport (
    MC_EINVAL,
    MC_OK,
    mc_slice,
    mc_slice_of,
    mc_status,
    slice_bytes,
    slice_str,
)

from meshcore._core.context cimport Context, add_headers, read_context

from collections import namedtuple

from meshcore.errors import ConfigError

__all__ = ["DirectResponse", "HashPolicy", "RetryPolicy", "Route", "RouteTable", "VirtualHost"]

DirectResponse = namedtuple("DirectResponse", "status body")
RetryPolicy = namedtuple(
    "RetryPolicy",
    "retry_on num_retries per_try_timeout_ms per_try_idle_timeout_ms base_interval_ms "
    "max_interval_ms retriable_status_codes host_selection_retry_max_attempts",
)
VirtualHost = namedtuple(
    "VirtualHost",
    "name require_tls include_request_attempt_count include_attempt_count_in_response "
    "include_is_timeout_retry_header",
)

TLS = ("NONE", "EXTERNAL_ONLY", "ALL")

cdef extern from "Python.h":
    bint PyUnicode_Check(object value)
    bint PyUnicode_IS_ASCII(object value)

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


cdef int check(mc_status status) except -1:
    if status != MC_OK:
        raise MemoryError()
    return 0


cdef struct call:
    # The headers of one call as the core sees them, on the stack; the arena starts with `room`.
    mc_arena arena
    mc_headers headers
    mc_route_request request
    mc_address remote
    mc_address local
    bint as_bytes
    uint64_t[256] room


cdef inline void begin(call *c) noexcept:
    mc_arena_init(&c.arena, NULL)
    c.arena.at = <char *>c.room
    c.arena.end = c.arena.at + sizeof(c.room)
    mc_headers_init(&c.headers, &c.arena)
    memset(&c.request, 0, sizeof(c.request))
    c.request.headers = &c.headers
    c.request.arena = &c.arena
    c.as_bytes = False


cdef inline void end(call *c) noexcept:
    mc_arena_fini(&c.arena)


cdef int fill(call *c, headers) except -1:
    cdef mc_slice name_slice, value_slice
    if not isinstance(headers, list) and hasattr(headers, "items"):
        headers = headers.items()
    for name, value in headers:
        if c.headers.count == 0:
            c.as_bytes = isinstance(name, bytes)
        if not PyUnicode_Check(name) or not PyUnicode_IS_ASCII(name):
            name = octets(name, "a header name")
        if not PyUnicode_Check(value) or not PyUnicode_IS_ASCII(value):
            value = octets(value, "a header value")
        name_slice = borrowed(name)
        value_slice = borrowed(value)
        if name_slice.n == 0:
            raise ValueError("a header name must not be empty")
        check(mc_headers_add(&c.headers, name_slice, value_slice))
    return 0


cdef int connect(call *c, remote, local) except -1:
    if remote is not None:
        parse_address(&c.remote, remote)
        c.request.remote = &c.remote
    if local is not None:
        parse_address(&c.local, local)
        c.request.local = &c.local
    return 0


cdef list result(call *c):
    cdef uint32_t i
    cdef const mc_header *header
    cdef list out = []
    for i in range(c.headers.count):
        header = &c.headers.items[i]
        if header.removed:
            continue
        if c.as_bytes:
            out.append((slice_bytes(header.name), slice_bytes(header.value)))
        else:
            out.append((slice_str(header.name), slice_str(header.value)))
    return out


cdef object octets(value, what):
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    raise TypeError(f"{what} must be str or bytes, not {type(value).__name__}")


cdef inline mc_slice borrowed(object value):
    """Of an ASCII str or of bytes."""
    cdef Py_ssize_t n
    cdef const char *p
    if PyUnicode_Check(value):
        p = PyUnicode_AsUTF8AndSize(value, &n)
        return mc_slice_of(p, <size_t>n)
    return mc_slice_of(PyBytes_AS_STRING(value), <size_t>PyBytes_GET_SIZE(value))


cdef int parse_address(mc_address *out, address) except -1:
    """From "ip", "ip:port", "[ip]:port" or (ip, port)."""
    host, port = address, 0
    if isinstance(address, tuple):
        host, port = address[0], address[1]
    elif isinstance(address, str) and (address.startswith("[") or address.count(":") == 1):
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
    number = int(port)
    encoded = str(host).encode()
    if not 0 <= number <= 65535 or mc_address_parse(out, borrowed(encoded), number) != MC_OK:
        raise ValueError(f"not an IP address and port: {address!r}")
    return 0


cdef class RouteTable:
    """A RouteConfiguration, compiled from its canonical JSON. Safe to share between threads."""

    def __cinit__(self):
        self.table = NULL

    def __init__(self, bytes config not None):
        cdef mc_slice json = borrowed(config)
        cdef mc_route_table *table = NULL
        cdef const mc_value *value = NULL
        cdef mc_arena arena
        cdef mc_error error
        cdef mc_status status
        if self.table != NULL:
            raise RuntimeError("a route table cannot be changed")
        with nogil:
            mc_arena_init(&arena, NULL)
            status = mc_value_parse(&arena, json, &value, &error)
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

    def match(self, headers, random_value=0):
        """The route that a request takes, or None.

        `headers` is a list of (name, value), or a mapping, with :authority, :path and :method;
        str or bytes. `random_value` is the number that fractions and weights are drawn with.
        """
        cdef mc_route_match found
        cdef Route route
        cdef call c
        if self.table == NULL:
            raise RuntimeError("the route table was not compiled")
        begin(&c)
        try:
            fill(&c, headers)
            c.request.random = PyLong_AsUnsignedLongLongMask(random_value)
            check(mc_route_table_match(self.table, &c.request, &found))
            if found.route == NULL and not found.tls_redirect:
                return None
            route = Route.__new__(Route)
            route.table = self
            route.found = found
            route.cluster = slice_str(found.cluster)
            route.found.cluster = mc_slice_of(NULL, 0)
            return route
        finally:
            end(&c)


@cython.final
cdef class Route:
    """What a request matched. Immutable; keeps its table alive.

    A virtual host that requires TLS answers with a Route of its own, which has no name and
    no cluster, only a redirect.
    """

    cdef RouteTable table
    cdef mc_route_match found
    cdef readonly str cluster

    def __init__(self):
        raise TypeError("a Route comes from RouteTable.match")

    def __repr__(self):
        return f"<Route {self.name or self.cluster!r} of {self.virtual_host.name!r}>"

    @property
    def name(self):
        return slice_str(self.found.route.name) if self.found.route != NULL else ""

    @property
    def virtual_host(self):
        cdef const mc_virtual_host *host = self.found.virtual_host
        return VirtualHost(
            slice_str(host.name),
            TLS[host.require_tls],
            bool(host.include_attempt_count_request),
            bool(host.include_attempt_count_response),
            bool(host.include_is_timeout_retry),
        )

    @property
    def include_attempt_count_in_request(self):
        return bool(self.found.virtual_host.include_attempt_count_request)

    @property
    def include_attempt_count_in_response(self):
        return bool(self.found.virtual_host.include_attempt_count_response)

    @property
    def include_is_timeout_retry_header(self):
        return bool(self.found.virtual_host.include_is_timeout_retry)

    @property
    def cluster_header(self):
        """The header that names the cluster, or an empty string."""
        return slice_str(self.found.route.cluster_header) if self.found.route != NULL else ""

    @property
    def cluster_not_found_response_code(self):
        return self.found.route.cluster_not_found_status if self.forwards() else 503

    @property
    def timeout_ms(self):
        """Milliseconds that the whole response may take; 0 means no limit."""
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
        if self.forwards() and self.found.route.has_max_stream_duration:
            return self.found.route.max_stream_duration_ms
        return None

    @property
    def priority(self):
        """ "DEFAULT" or "HIGH"."""
        return "HIGH" if self.found.route != NULL and self.found.route.high_priority else "DEFAULT"

    @property
    def auto_host_rewrite(self):
        return bool(self.found.route != NULL and self.found.route.auto_host_rewrite)

    @property
    def append_x_forwarded_host(self):
        return bool(self.found.route != NULL and self.found.route.append_x_forwarded_host)

    @property
    def retry_policy(self):
        """The route's policy, else its virtual host's, else None."""
        cdef const mc_retry_policy *policy
        if not self.forwards() or self.found.route.retry_policy == NULL:
            return None
        policy = self.found.route.retry_policy
        return RetryPolicy(
            slice_str(policy.retry_on_text),
            policy.num_retries,
            policy.per_try_timeout_ms,
            policy.per_try_idle_timeout_ms,
            policy.base_interval_ms,
            policy.max_interval_ms,
            tuple([policy.retriable_status_codes[i] for i in range(policy.retriable_status_count)]),
            policy.host_selection_retry_max_attempts,
        )

    @property
    def hash_policy(self):
        """How requests are hashed to hosts, or None."""
        cdef HashPolicy policy
        if not self.forwards() or self.found.route.hash_policy_count == 0:
            return None
        policy = HashPolicy.__new__(HashPolicy)
        policy.route = self
        return policy

    @property
    def upgrade_map(self):
        """Upgrade types (lower-case) that the route decides about: True allowed, False refused."""
        cdef mc_slice kind
        cdef int enabled
        cdef uint32_t i = 0
        cdef dict out = {}
        while self.found.route != NULL and route_upgrade_at(self.found.route, i, &kind, &enabled):
            out[slice_str(kind).lower()] = bool(enabled)
            i += 1
        return out

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
            check(mc_route_redirect_location(&self.found, &c.request, &location))
            return slice_str(location)
        finally:
            end(&c)

    def finalize_request(self, headers, *, context=None, suppress_envoy_headers=False):
        """The headers as they go upstream: mutations, host and path rewritten.

        A new list of (name, value); bytes if the first name given was bytes. `context` is what
        formats in header values read besides the headers.
        """
        cdef Context known = None if context is None else read_context(context)
        cdef call c
        begin(&c)
        try:
            fill(&c, headers)
            if known is not None:
                c.request.info = &known.info
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
        cdef Context known = None
        cdef call c
        if context is not None or request_headers is not None:
            known = read_context(context)
        begin(&c)
        try:
            fill(&c, headers)
            if request_headers is not None:
                add_headers(&known.request, request_headers)
            if known is not None:
                c.request.headers = &known.request
                c.request.info = &known.info
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

    def __init__(self):
        raise TypeError("a HashPolicy comes from a Route")

    def generate_hash(self, headers, *, remote_address=None, local_address=None, set_cookies=None):
        """The hash of a request, or None when no policy yields one.

        Addresses are those of the client's connection, "ip:port" or (ip, port). The values of
        set-cookie headers that the response must carry are appended to the list `set_cookies`.
        """
        cdef mc_request_hash out
        cdef uint32_t i
        cdef call c
        begin(&c)
        try:
            fill(&c, headers)
            connect(&c, remote_address, local_address)
            check(mc_route_hash(self.route.found.route, &c.request, &out))
            if set_cookies is not None:
                for i in range(out.set_cookie_count):
                    set_cookies.append(slice_str(out.set_cookies[i]))
            return out.hash if out.has_hash else None
        finally:
            end(&c)
