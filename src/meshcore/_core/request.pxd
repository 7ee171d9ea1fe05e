"""The headers of one call as the core sees them."""

from libc.stdint cimport uint64_t

from meshcore._core.cbase cimport mc_address, mc_arena, mc_slice, mc_status
from meshcore._core.chttp cimport mc_headers
from meshcore._core.context cimport Context
from meshcore._core.route cimport mc_route_request


cdef struct call:
    # On the stack; the arena starts with `room`.
    mc_arena arena
    mc_headers headers
    mc_route_request request
    mc_address remote
    mc_address local
    bint as_bytes
    uint64_t[256] room


cdef int check(mc_status status) except -1
cdef void begin(call *c) noexcept
cdef void end(call *c) noexcept
# From a list of (name, value), or a mapping.
cdef int fill(call *c, headers) except -1
# Addresses as "ip", "ip:port", "[ip]:port" or (ip, port); None is none.
cdef int connect(call *c, remote, local) except -1
# What a live stream would know.
cdef void know(call *c, Context context) noexcept
cdef list result(call *c)
# Of an ASCII str or of bytes.
cdef mc_slice borrowed(object value)
