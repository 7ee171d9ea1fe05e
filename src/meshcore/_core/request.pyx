"""The headers of one call as the core sees them, and what else it knows of a request."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport uint32_t
from libc.string cimport memset

from meshcore._core.cbase cimport (
    MC_OK,
    mc_address,
    mc_address_parse,
    mc_arena_fini,
    mc_arena_init,
    mc_slice,
    mc_slice_of,
    mc_status,
    slice_bytes,
    slice_str,
)
from meshcore._core.chttp cimport mc_header, mc_headers_add, mc_headers_init
from meshcore._core.context cimport Context, has_authority, header_list, is_host

__all__ = []

cdef extern from "Python.h":
    bint PyUnicode_Check(object value)
    bint PyUnicode_IS_ASCII(object value)


cdef int check(mc_status status) except -1:
    if status != MC_OK:
        raise MemoryError()
    return 0


cdef void begin(call *c) noexcept:
    mc_arena_init(&c.arena, NULL)
    c.arena.at = <char *>c.room
    c.arena.end = c.arena.at + sizeof(c.room)
    mc_headers_init(&c.headers, &c.arena)
    memset(&c.request, 0, sizeof(c.request))
    c.request.headers = &c.headers
    c.request.arena = &c.arena
    c.as_bytes = False


cdef void end(call *c) noexcept:
    mc_arena_fini(&c.arena)


cdef int fill(call *c, headers) except -1:
    cdef mc_slice name_slice, value_slice
    cdef list pairs = header_list(headers)
    for name, value in pairs:
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
        if is_host(name_slice) and not has_authority(pairs):
            name_slice = mc_slice_of(":authority", 10)
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


cdef void know(call *c, Context context) noexcept:
    """What a live stream would know, for one call."""
    c.request.info = &context.info
    c.request.remote = context.info.downstream_remote
    c.request.local = context.info.downstream_local


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


cdef mc_slice borrowed(object value):
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
