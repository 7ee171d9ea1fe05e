"""What is known of a request, out of a mapping: see docs/access-logs.md for the keys."""

cimport cython

from libc.stdint cimport uint64_t

from meshcore._core.cbase cimport mc_arena, mc_random, mc_slice
from meshcore._core.chttp cimport mc_headers
from meshcore._core.route cimport mc_stream_info


@cython.final
cdef class Context:
    """Owns all that its `info` names."""
    cdef mc_arena arena
    cdef mc_headers request, response, trailers
    cdef mc_random random
    cdef mc_stream_info info


# From a mapping, or None for nothing. Raises TypeError and ValueError, which name the key.
cdef Context read_context(object mapping)
# What HTTP/1 calls the authority, and whether headers call it by its name.
cdef bint is_host(mc_slice name) noexcept
cdef bint has_authority(headers) except -1
# Appends (name, value) pairs, a list or a mapping of str or bytes.
cdef int add_headers(mc_headers *headers, object pairs) except -1
# Of pairs or a mapping: each value by itself. TypeError for what is neither.
cpdef list header_list(object headers)
