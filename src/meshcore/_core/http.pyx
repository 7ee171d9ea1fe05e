"""Paths, hosts, queries and gRPC's dialect of HTTP: the face of csrc/http."""

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from meshcore._core.cbase cimport (
    MC_EINVAL,
    MC_OK,
    mc_address,
    mc_address_ip,
    mc_arena,
    mc_arena_fini,
    mc_arena_init,
    mc_slice,
    mc_slice_of,
    mc_status,
    slice_bytes,
)

__all__ = [
    "authority_valid",
    "choose_coding",
    "grpc_content_type",
    "grpc_from_http",
    "grpc_timeout_parse",
    "grpc_timeout_write",
    "grpc_to_http",
    "host_normalize",
    "http_date",
    "parse_absolute",
    "path_normalize",
    "percent_decode",
    "percent_encode",
    "port_start",
    "reason",
    "referer_valid",
    "xff_address",
]

cdef extern from "http/uri.h" nogil:
    ctypedef struct mc_uri_path_options:
        bint normalize
        bint merge_slashes
        bint unescape_slashes
        bint reject_escaped_slashes
    ctypedef struct mc_uri_host_options:
        bint strip_trailing_dot
        bint strip_any_port
        uint16_t strip_port
    ctypedef struct mc_uri_absolute:
        mc_slice scheme
        mc_slice authority
        mc_slice path
        bint has_userinfo
    mc_status mc_uri_host_normalize(
        mc_slice host, const mc_uri_host_options *options, mc_arena *arena, mc_slice *out
    )
    size_t mc_uri_port_start(mc_slice host)
    bint mc_uri_authority_valid(mc_slice authority)
    bint mc_uri_referer_valid(mc_slice referer)
    mc_status mc_uri_parse_absolute(mc_slice url, mc_uri_absolute *out)
    mc_status mc_percent_decode(mc_slice s, mc_arena *arena, mc_slice *out)
    mc_status mc_percent_encode(mc_slice s, mc_slice reserved, mc_arena *arena, mc_slice *out)
    size_t mc_http_date(int64_t unix_seconds, char *out)

cdef extern from *:
    """
    #include "http/uri.h"
    /* Cython knows no pointer to a C bool. */
    static inline int uri_path_normalize(mc_slice path, const mc_uri_path_options *options,
                                         mc_arena *arena, mc_slice *out, int *had_escaped) {
        bool had = false;
        int status = mc_uri_path_normalize(path, options, arena, out, &had);
        *had_escaped = had;
        return status;
    }
    """
    int uri_path_normalize(
        mc_slice path,
        const mc_uri_path_options *options,
        mc_arena *arena,
        mc_slice *out,
        int *had_escaped,
    ) nogil

cdef extern from "http/codes.h" nogil:
    mc_slice mc_http_reason(uint16_t status)

cdef extern from "http/grpc.h" nogil:
    enum: MC_GRPC_TIMEOUT_TEXT
    bint mc_grpc_content_type(mc_slice type)
    unsigned mc_grpc_from_http(uint16_t status)
    uint16_t mc_grpc_to_http(uint64_t grpc_status)
    mc_status mc_grpc_timeout_parse(mc_slice text, uint64_t *ms)
    size_t mc_grpc_timeout_write(uint64_t ms, char *out)

cdef extern from "http/forwarded.h" nogil:
    mc_status mc_xff_address(mc_slice xff, uint32_t skip, mc_address *out)

cdef extern from "http/coding.h" nogil:
    ctypedef struct mc_coding:
        mc_slice name
        bint choose_first
    enum: MC_CODING_MAX
    ctypedef enum mc_coding_reason:
        pass
    int mc_coding_choose(
        mc_slice accept, const mc_coding *codings, unsigned count, mc_coding_reason *reason
    )


cdef inline mc_slice slice_of(bytes b):
    """Borrowed from the object: keep it alive."""
    return mc_slice_of(<const char *>b, <size_t>len(b))


cdef int check(mc_status status) except -1:
    if status != MC_OK:
        raise MemoryError()
    return 0


def path_normalize(
    bytes path not None,
    bint normalize=False,
    bint merge_slashes=False,
    bint unescape_slashes=False,
    bint reject_escaped_slashes=False,
):
    """The path and whether it had escaped slashes; None when it is refused (HC-30 to HC-32)."""
    cdef mc_uri_path_options options
    cdef mc_arena arena
    cdef mc_slice out
    cdef int had = 0
    options.normalize = normalize
    options.merge_slashes = merge_slashes
    options.unescape_slashes = unescape_slashes
    options.reject_escaped_slashes = reject_escaped_slashes
    mc_arena_init(&arena, NULL)
    try:
        status = uri_path_normalize(slice_of(path), &options, &arena, &out, &had)
        if status == MC_EINVAL:
            return None
        check(<mc_status>status)
        return slice_bytes(out), bool(had)
    finally:
        mc_arena_fini(&arena)


def host_normalize(
    bytes host not None, bint strip_trailing_dot=False, bint strip_any_port=False, uint16_t port=0
):
    """Without the dot behind its name, or its port: any, or `port` alone (HC-33)."""
    cdef mc_uri_host_options options
    cdef mc_arena arena
    cdef mc_slice out
    options.strip_trailing_dot = strip_trailing_dot
    options.strip_any_port = strip_any_port
    options.strip_port = port
    mc_arena_init(&arena, NULL)
    try:
        check(mc_uri_host_normalize(slice_of(host), &options, &arena, &out))
        return slice_bytes(out)
    finally:
        mc_arena_fini(&arena)


def port_start(bytes host not None):
    """The index of the colon before the port, or the length (HC-34)."""
    return mc_uri_port_start(slice_of(host))


def authority_valid(bytes authority not None):
    """Whether all its characters may stand in an authority."""
    return bool(mc_uri_authority_valid(slice_of(authority)))


def referer_valid(bytes referer not None):
    """HC-10."""
    return bool(mc_uri_referer_valid(slice_of(referer)))


def parse_absolute(bytes url not None):
    """(scheme, authority, path and query, has userinfo), or None."""
    cdef mc_uri_absolute out
    if mc_uri_parse_absolute(slice_of(url), &out) != MC_OK:
        return None
    return (
        slice_bytes(out.scheme),
        slice_bytes(out.authority),
        slice_bytes(out.path),
        bool(out.has_userinfo),
    )


def percent_decode(bytes text not None):
    cdef mc_arena arena
    cdef mc_slice out
    mc_arena_init(&arena, NULL)
    try:
        check(mc_percent_decode(slice_of(text), &arena, &out))
        return slice_bytes(out)
    finally:
        mc_arena_fini(&arena)


def percent_encode(bytes text not None, bytes reserved not None=b"%"):
    cdef mc_arena arena
    cdef mc_slice out
    mc_arena_init(&arena, NULL)
    try:
        check(mc_percent_encode(slice_of(text), slice_of(reserved), &arena, &out))
        return slice_bytes(out)
    finally:
        mc_arena_fini(&arena)


def http_date(int64_t unix_seconds):
    cdef char[32] text
    return slice_bytes(mc_slice_of(text, mc_http_date(unix_seconds, text))).decode()


def reason(uint16_t status):
    return slice_bytes(mc_http_reason(status)).decode()


def grpc_content_type(bytes value not None):
    return bool(mc_grpc_content_type(slice_of(value)))


def grpc_from_http(uint16_t status):
    return mc_grpc_from_http(status)


def grpc_to_http(uint64_t status):
    return mc_grpc_to_http(status)


def grpc_timeout_parse(bytes text not None):
    """Milliseconds, or None (HC-38)."""
    cdef uint64_t ms
    return ms if mc_grpc_timeout_parse(slice_of(text), &ms) == MC_OK else None


def grpc_timeout_write(uint64_t ms):
    cdef char[16] text
    return slice_bytes(mc_slice_of(text, mc_grpc_timeout_write(ms, text))).decode()


def xff_address(bytes xff not None, uint32_t skip=0):
    """The address `skip` entries from the right, or None."""
    cdef mc_address address
    cdef char[64] text
    if mc_xff_address(slice_of(xff), skip, &address) != MC_OK:
        return None
    return slice_bytes(mc_slice_of(text, mc_address_ip(&address, text))).decode()


def choose_coding(bytes accept, names, choose_first):
    """The index among `names` that a response takes, -1 for none (FL-42)."""
    cdef mc_coding[16] codings
    cdef unsigned count = 0
    if len(names) > MC_CODING_MAX:
        raise ValueError(f"at most {MC_CODING_MAX} codings")
    for name, first in zip(names, choose_first):
        codings[count].name = slice_of(name)
        codings[count].choose_first = first
        count += 1
    return mc_coding_choose(
        slice_of(accept) if accept is not None else mc_slice_of(NULL, 0), codings, count, NULL
    )
