"""Matchers as objects."""

from meshcore._core.cbase cimport mc_arena
from meshcore._core.route cimport mc_matcher


cdef class HeaderMatcher:
    cdef mc_arena arena
    cdef const mc_matcher *matcher
    cdef mc_matcher own
    cdef object owner

    # A matcher that `owner` keeps alive.
    @staticmethod
    cdef HeaderMatcher of(const mc_matcher *matcher, object owner)
