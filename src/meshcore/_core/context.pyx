"""What is known of a request, out of a mapping: the face of csrc/route/context.h."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from meshcore._core.cbase cimport (
    MC_EINVAL,
    MC_OK,
    bytes_slice,
    mc_arena,
    mc_arena_fini,
    mc_arena_init,
    mc_error,
    mc_random_seed,
    mc_slice,
    mc_slice_ieq,
    mc_slice_of,
    mc_status,
    mc_value,
    mc_value_parse,
)
from meshcore._core.chttp cimport mc_headers, mc_headers_add, mc_headers_init
from meshcore._core.route cimport mc_stream_info, mc_stream_info_init

import itertools
import os

from meshcore._context import encode, unknown_key

__all__ = []

SEED = int.from_bytes(os.urandom(7), "little")
COUNT = itertools.count()

cdef extern from "route/context.h" nogil:
    mc_status mc_stream_info_read(
        mc_arena *arena, const mc_value *object, mc_stream_info *info, mc_error *error
    )
    const char *mc_stream_info_operator(size_t i)


@cython.final
cdef class Context:
    def __cinit__(self):
        mc_arena_init(&self.arena, NULL)
        mc_headers_init(&self.request, &self.arena)
        mc_headers_init(&self.response, &self.arena)
        mc_headers_init(&self.trailers, &self.arena)
        mc_random_seed(&self.random, <unsigned long long>(SEED + next(COUNT)))
        mc_stream_info_init(&self.info)
        self.info.request = &self.request
        self.info.response = &self.response
        self.info.response_trailers = &self.trailers
        self.info.random = &self.random

    def __dealloc__(self):
        mc_arena_fini(&self.arena)


cdef bytes octets(object value, str what):
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    raise TypeError(f"{what} must be str or bytes, not {type(value).__name__}")


cpdef list header_list(object headers):
    """Headers as a list of pairs; in a mapping, a list holds the values of one header."""
    cdef list out
    if isinstance(headers, (list, tuple)):
        out = list(headers)
    elif hasattr(headers, "items"):
        out = []
        for name, value in headers.items():
            if isinstance(value, (list, tuple)):
                out += [(name, each) for each in value]
            else:
                out.append((name, value))
    elif hasattr(headers, "__iter__") and not isinstance(headers, (str, bytes)):
        out = list(headers)
    else:
        raise TypeError(
            "headers must be pairs of name and value, or a mapping, "
            f"not {type(headers).__name__}"
        )
    for pair in out:
        if not is_pair(pair):
            raise TypeError(f"a header must be a pair of name and value, not {pair!r}")
    return out


cdef bint is_pair(object item) except -1:
    """Not what would come apart into two of something else, such as letters."""
    if isinstance(item, (tuple, list)):
        return len(item) == 2
    if isinstance(item, (str, bytes, dict, set, frozenset)) or not hasattr(item, "__len__"):
        return False
    return len(item) == 2


cdef bint is_host(mc_slice name) noexcept:
    """What HTTP/1 calls the authority."""
    return name.n == 4 and mc_slice_ieq(name, mc_slice_of("host", 4))


cdef bint has_authority(headers) except -1:
    for pair in headers:
        name = pair[0] if isinstance(pair, (tuple, list)) and pair else None
        if isinstance(name, (str, bytes)) and name.lower() in (":authority", b":authority"):
            return True
    return False


cdef int add_headers(mc_headers *headers, object pairs) except -1:
    cdef bytes name, value
    pairs = header_list(pairs)
    for key, text in pairs:
        name = octets(key, "a header name")
        value = octets(text, "a header value")
        if not name:
            raise ValueError("a header name must not be empty")
        if is_host(bytes_slice(name)) and not has_authority(pairs):
            name = b":authority"
        if mc_headers_add(
            headers,
            mc_slice_of(PyBytes_AS_STRING(name), <size_t>PyBytes_GET_SIZE(name)),
            mc_slice_of(PyBytes_AS_STRING(value), <size_t>PyBytes_GET_SIZE(value)),
        ) != MC_OK:
            raise MemoryError()
    return 0


def operators():
    """Those that a context may hold, in lower case."""
    cdef size_t i = 0
    cdef const char *name = mc_stream_info_operator(0)
    while name != NULL:
        yield (<bytes>name).decode().lower()
        i += 1
        name = mc_stream_info_operator(i)


cdef Context read_context(object mapping):
    cdef Context context = Context.__new__(Context)
    cdef mc_error error
    cdef const mc_value *value = NULL
    cdef mc_status status
    cdef bytes text
    cdef mc_slice json_slice
    if mapping is None:
        return context
    headers, text = encode(mapping)
    for key, pairs in headers.items():
        add_headers(
            &context.request if key == "request_headers"
            else &context.response if key == "response_headers"
            else &context.trailers,
            pairs,
        )
    if not text:
        return context
    json_slice = bytes_slice(text)
    error.path[0] = 0
    error.reason[0] = 0
    status = mc_value_parse(&context.arena, json_slice, &value, &error)
    if status == MC_OK:
        status = mc_stream_info_read(&context.arena, value, &context.info, &error)
    if status == MC_EINVAL:
        path = (<bytes>error.path).decode("utf-8", "replace")
        reason = (<bytes>error.reason).decode("utf-8", "replace")
        if reason == "is not known of a request":
            reason += unknown_key(path, operators())
        raise ValueError(f"context key {path!r} {reason}" if path else f"context {reason}")
    if status != MC_OK:
        raise MemoryError()
    return context
