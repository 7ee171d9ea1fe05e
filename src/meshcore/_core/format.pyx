"""Formatter: the face of csrc/route/format.h."""

cimport cython
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
    mc_text,
    mc_text_fini,
    mc_text_init,
    mc_value,
    mc_value_parse,
)
from meshcore._core.context cimport Context, read_context
from meshcore._core.route cimport mc_stream_info

from cpython.unicode cimport PyUnicode_DecodeUTF8

import json
from collections.abc import Mapping

from meshcore.errors import ConfigError

__all__ = ["Formatter"]

cdef extern from "route/format.h" nogil:
    ctypedef struct mc_format:
        pass
    const char *mc_format_default
    mc_status mc_format_compile_text(
        mc_arena *arena, mc_slice text, bint omit_empty, const mc_format **out, mc_error *error
    )
    mc_status mc_format_compile_json(
        mc_arena *arena, const mc_value *tree, bint omit_empty, const mc_format **out,
        mc_error *error,
    )
    void mc_format_run(const mc_format *format, const mc_stream_info *info, mc_text *out)


@cython.final
cdef class Formatter:
    """An Envoy substitution format, compiled once.

    `format` is text with operators ("%REQ(:path)% took %DURATION% ms"), a mapping whose values are
    such text (the result is then a line of JSON, with a newline at its end), or None for the
    default format of access logs. With `omit_empty` what is absent is "" instead of "-" in text;
    JSON keeps every key. Immutable, safe to share between threads.

    :raises ConfigError: an operator is not known, or is written wrongly.
    """

    cdef mc_arena arena
    cdef const mc_format *program
    cdef readonly object source

    def __cinit__(self):
        mc_arena_init(&self.arena, NULL)

    def __init__(self, format=None, *, bint omit_empty=False):
        cdef mc_error error
        cdef mc_status status
        cdef bytes text
        cdef const mc_value *tree = NULL
        from meshcore.config.process import with_process_values

        if self.program != NULL:
            raise RuntimeError("a formatter cannot be changed")
        if format is None:
            format = (<bytes>mc_format_default).decode()
        if not isinstance(format, (str, Mapping)):
            raise TypeError(f"a format is a str or a mapping, not {type(format).__name__}")
        self.source = format
        try:
            settled = with_process_values(format)
            text = settled.encode("utf-8", "surrogateescape") if isinstance(
                settled, str) else json.dumps(settled).encode()
        except RecursionError:
            raise ConfigError("", "nests too deeply") from None
        error.path[0] = 0
        error.reason[0] = 0
        if isinstance(settled, str):
            status = mc_format_compile_text(
                &self.arena, bytes_slice(text), omit_empty, &self.program, &error)
        else:
            status = mc_value_parse(&self.arena, bytes_slice(text), &tree, &error)
            if status == MC_OK:
                status = mc_format_compile_json(
                    &self.arena, tree, omit_empty, &self.program, &error)
        if status == MC_EINVAL:
            raise ConfigError(
                (<bytes>error.path).decode("utf-8", "replace"),
                (<bytes>error.reason).decode("utf-8", "replace"),
            )
        if status != MC_OK:
            raise MemoryError()

    def __dealloc__(self):
        mc_arena_fini(&self.arena)

    def format(self, context=None):
        """The line for one request.

        `context` maps the operators' names in lower case to what they yield, and `request_headers`,
        `response_headers`, `response_trailers` to lists of (name, value) or mappings; what is not
        given is absent. ValueError or TypeError for a key that is not known and a value that cannot
        be; they name the key.
        """
        cdef Context read = read_context(context)
        cdef mc_text out
        if self.program == NULL:
            raise RuntimeError("the format was not compiled")
        mc_text_init(&out)
        try:
            mc_format_run(self.program, &read.info, &out)
            if out.failed:
                raise MemoryError()
            if out.n == 0:
                return ""
            return PyUnicode_DecodeUTF8(out.p, <Py_ssize_t>out.n, "surrogateescape")
        finally:
            mc_text_fini(&out)
