"""Matchers as objects."""

from meshcore._core.cbase cimport mc_arena, mc_value
from meshcore._core.route cimport mc_matcher


cdef class Matcher:
    cdef mc_arena arena
    cdef bint ready

    # Compiles the configuration into the arena; called once.
    cdef int compile(self, const mc_value *config) except -1
    # Raises unless `__init__` has run.
    cdef int use(self) except -1


cdef class HeaderMatcher(Matcher):
    cdef const mc_matcher *matcher
    cdef mc_matcher own
    cdef object owner

    # A matcher that `owner` keeps alive.
    @staticmethod
    cdef HeaderMatcher of(const mc_matcher *matcher, object owner)
