from meshcore._core.cengine cimport mc_filter_type


cdef class Binding:
    """A Python filter as one entry of a chain: what the worker calls, and where coroutines run."""

    cdef object on_request, on_response
    cdef bint async_request, async_response
    cdef public object loop


cdef const mc_filter_type *filter_type(Binding binding)
