"""What is known of a request, out of a mapping: see docs/access-logs.md for the keys."""

from meshcore._core.route cimport mc_arena, mc_headers


cdef extern from "base/random.h" nogil:
    ctypedef struct mc_random:
        pass
    void mc_random_seed(mc_random *random, unsigned long long seed)

cdef extern from "http/stream_info.h" nogil:
    ctypedef struct mc_stream_info:
        const mc_headers *request
        const mc_headers *response
        const mc_headers *response_trailers
        unsigned long long stream_id
        mc_random *random
    void mc_stream_info_init(mc_stream_info *info)


cdef class Context:
    """Owns all that its `info` names."""
    cdef mc_arena arena
    cdef mc_headers request, response, trailers
    cdef mc_random random
    cdef mc_stream_info info


# From a mapping, or None for nothing. Raises TypeError and ValueError, which name the key.
cdef Context read_context(object mapping)
# Appends (name, value) pairs, a list or a mapping of str or bytes.
cdef int add_headers(mc_headers *headers, object pairs) except -1
