"""Matchers as objects: HeaderMatcher, StringMatcher, PathMatcher and the like, compiled once from
their canonical JSON. The face of csrc/route/matcher.h."""

from meshcore._core.cbase cimport (
    MC_EINVAL,
    MC_OK,
    bytes_slice,
    mc_arena,
    mc_arena_fini,
    mc_arena_init,
    mc_error,
    mc_slice,
    mc_status,
    mc_value,
    mc_value_get,
    mc_value_parse,
    slice_str,
)
from meshcore._core.request cimport begin, call, end, fill
from meshcore._core.route cimport mc_route_request

from meshcore._context import as_json
from meshcore.errors import ConfigError

__all__ = [
    "HeaderMatcher",
    "MetadataMatcher",
    "PathMatcher",
    "QueryParameterMatcher",
    "StringMatcher",
]

cdef extern from "route/matcher.h" nogil:
    ctypedef struct mc_match_input:
        const mc_route_request *request
    ctypedef struct mc_string_match:
        pass
    int mc_matchers_test(const void *matchers, const mc_match_input *input)
    mc_status mc_string_match_compile(
        mc_arena *arena, const mc_value *value, mc_string_match *out, mc_error *error
    )
    int mc_string_match_test(const mc_string_match *match, mc_slice value)
    mc_status mc_match_header_compile(
        mc_arena *arena, const mc_value *value, mc_matcher *out, mc_error *error
    )
    mc_slice mc_match_header_name(const mc_matcher *matcher)
    mc_status mc_match_query_compile(
        mc_arena *arena, const mc_value *value, mc_matcher *out, mc_error *error
    )
    mc_slice mc_match_query_name(const mc_matcher *matcher)
    int mc_match_query_value(const mc_matcher *matcher, bint present, mc_slice value)

cdef extern from "route/match_metadata.h" nogil:
    ctypedef struct mc_metadata_match:
        pass
    mc_status mc_metadata_match_compile(
        mc_arena *arena, const mc_value *value, mc_metadata_match *out, mc_error *error
    )
    int mc_metadata_match_test(const mc_metadata_match *match, const mc_value *metadata)

cdef extern from "http/uri.h" nogil:
    bint mc_query_get(mc_slice query, mc_slice name, mc_slice *value)

cdef extern from *:
    """
    static inline int match_one(const mc_matcher *matcher, const mc_route_request *request) {
        const mc_match_input input = {.request = request};
        return matcher->match(matcher->self, &input);
    }
    """
    int match_one(const mc_matcher *matcher, const mc_route_request *request)


cdef bytes octets(object value, str what):
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    raise TypeError(f"{what} must be str or bytes, not {type(value).__name__}")


cdef bint answer(int holds) except -1:
    if holds < 0:
        raise MemoryError()
    return holds == 1


cdef int refuse(mc_status status, mc_error *error, str under="") except -1:
    if status == MC_OK:
        return 0
    if status != MC_EINVAL:
        raise MemoryError()
    path = (<bytes>error.path).decode("utf-8", "replace")
    raise ConfigError(
        f"{under}.{path}" if under and path else under or path,
        (<bytes>error.reason).decode("utf-8", "replace"),
    )


cdef const mc_value *parse(mc_arena *arena, bytes config) except NULL:
    cdef mc_slice text = bytes_slice(config)
    cdef const mc_value *value = NULL
    cdef mc_error error
    refuse(mc_value_parse(arena, text, &value, &error), &error)
    return value


cdef class Matcher:
    """What all have: an arena that the compiled condition lives in, once `__init__` has run."""

    def __cinit__(self):
        mc_arena_init(&self.arena, NULL)

    def __init__(self, bytes config not None):
        if self.ready:
            raise RuntimeError("a matcher cannot be changed")
        self.compile(parse(&self.arena, config))
        self.ready = True

    def __dealloc__(self):
        mc_arena_fini(&self.arena)

    def matches(self, value):
        """As `match`."""
        return self.match(value)

    cdef int compile(self, const mc_value *config) except -1:
        raise TypeError("not a matcher by itself")

    cdef int use(self) except -1:
        if not self.ready:
            raise RuntimeError("a matcher without __init__")
        return 0


cdef class HeaderMatcher(Matcher):
    """One condition on the headers of a request or response."""

    cdef int compile(self, const mc_value *config) except -1:
        cdef mc_error error
        refuse(mc_match_header_compile(&self.arena, config, &self.own, &error), &error)
        self.matcher = &self.own
        return 0

    @staticmethod
    cdef HeaderMatcher of(const mc_matcher *matcher, object owner):
        cdef HeaderMatcher made = HeaderMatcher.__new__(HeaderMatcher)
        made.matcher = matcher
        made.owner = owner
        made.ready = True
        return made

    @property
    def name(self):
        """The header, in lower case."""
        self.use()
        return slice_str(mc_match_header_name(self.matcher))

    def match(self, headers):
        """Whether these headers, a list of (name, value) or a mapping, meet the condition."""
        cdef call c
        self.use()
        begin(&c)
        try:
            fill(&c, headers)
            return answer(match_one(self.matcher, &c.request))
        finally:
            end(&c)


cdef class StringMatcher(Matcher):
    """A condition on a text."""

    cdef mc_string_match string

    cdef int compile(self, const mc_value *config) except -1:
        cdef mc_error error
        return refuse(
            mc_string_match_compile(&self.arena, config, &self.string, &error), &error
        )

    def match(self, value):
        """Whether the text, str or bytes, meets the condition."""
        cdef bytes text = octets(value, "a value")
        self.use()
        return answer(mc_string_match_test(&self.string, bytes_slice(text)))


cdef class PathMatcher(Matcher):
    """A condition on a path: what stands before its query and fragment."""

    cdef mc_string_match string

    cdef int compile(self, const mc_value *config) except -1:
        cdef mc_error error
        cdef const mc_value *path = mc_value_get(config, b"path")
        if path == NULL:
            raise ConfigError("path", "is required")
        return refuse(
            mc_string_match_compile(&self.arena, path, &self.string, &error), &error, "path"
        )

    def match(self, path):
        """Whether the path, with or without query and fragment, meets the condition."""
        cdef bytes text = octets(path, "a path")
        self.use()
        text = text.partition(b"?")[0].partition(b"#")[0]
        return answer(mc_string_match_test(&self.string, bytes_slice(text)))


cdef class QueryParameterMatcher(Matcher):
    """A condition on one parameter of a query."""

    cdef mc_matcher matcher

    cdef int compile(self, const mc_value *config) except -1:
        cdef mc_error error
        return refuse(
            mc_match_query_compile(&self.arena, config, &self.matcher, &error), &error
        )

    @property
    def name(self):
        """The parameter."""
        self.use()
        return slice_str(mc_match_query_name(&self.matcher))

    def match(self, query):
        """Whether a query meets the condition.

        `query` is text ("a=1&b=2", also behind a path and "?"), or a mapping, or a list of pairs.
        The first value of the parameter counts, as it is written.
        """
        cdef bytes text
        cdef mc_slice value
        cdef bint present
        self.use()
        value.p = NULL
        value.n = 0
        if isinstance(query, (str, bytes)):
            text = octets(query, "a query")
            head, mark, tail = text.partition(b"?")
            text = (tail if mark else head).partition(b"#")[0]
            present = mc_query_get(
                bytes_slice(text), mc_match_query_name(&self.matcher), &value
            )
            return answer(mc_match_query_value(&self.matcher, present, value))
        pairs = query.items() if hasattr(query, "items") else query
        name = self.name
        for key, item in pairs:
            if octets(key, "a parameter").decode("utf-8", "surrogateescape") == name:
                text = octets(
                    item[0] if isinstance(item, (list, tuple)) and item else item or "", "a value"
                )
                return answer(mc_match_query_value(&self.matcher, True, bytes_slice(text)))
        return answer(mc_match_query_value(&self.matcher, False, value))


cdef class MetadataMatcher(Matcher):
    """A condition on a value in metadata."""

    cdef mc_metadata_match metadata

    cdef int compile(self, const mc_value *config) except -1:
        cdef mc_error error
        return refuse(
            mc_metadata_match_compile(&self.arena, config, &self.metadata, &error), &error
        )

    def match(self, metadata):
        """Whether metadata, a mapping from namespace to mapping, meet the condition."""
        cdef mc_arena arena
        cdef bytes text
        self.use()
        if not hasattr(metadata, "items"):
            raise TypeError(f"metadata must be a mapping, not {type(metadata).__name__}")
        if list(metadata) == ["filter_metadata"]:  # the message
            metadata = metadata["filter_metadata"]
        text = as_json("metadata", metadata)
        mc_arena_init(&arena, NULL)
        try:
            return answer(mc_metadata_match_test(&self.metadata, parse(&arena, text)))
        finally:
            mc_arena_fini(&arena)
