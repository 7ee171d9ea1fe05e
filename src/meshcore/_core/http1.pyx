# cython: embedsignature=True, embedsignature.format=clinic
"""HTTP/1 parsing and encoding: the face of csrc/h1, no gateway needed."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_Occurred
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport uint8_t, uint32_t

from meshcore._core.cbase cimport (
    MC_ENOMEM,
    MC_OK,
    bytes_slice,
    mc_arena,
    mc_arena_fini,
    mc_arena_init,
    mc_block_pool,
    mc_block_pool_init,
    mc_slice,
    mc_slice_of,
    mc_status,
    slice_bytes,
)
from meshcore._core.ch1 cimport *
from meshcore._core.chttp cimport (
    MC_H_AUTHORITY,
    MC_H_AUTHORIZATION,
    MC_H_CONTENT_LENGTH,
    MC_H_COOKIE,
    MC_H_DATE,
    MC_H_HOST,
    MC_H_METHOD,
    MC_H_PATH,
    MC_H_SET_COOKIE,
    MC_H_STATUS,
    MC_H_TRACEPARENT,
    MC_H_UNKNOWN,
    MC_H_X_CLIENT_TRACE_ID,
    MC_H_X_REQUEST_ID,
    MC_H__COUNT,
    mc_header_id,
    mc_header_name,
    mc_headers,
    mc_headers_add,
    mc_headers_add_known,
    mc_headers_get,
    mc_headers_get_known,
    mc_headers_has,
    mc_headers_init,
)
from meshcore._core.context cimport header_list

from meshcore.errors import ProtocolError

__all__ = [
    "Request",
    "RequestParser",
    "Response",
    "ResponseParser",
    "encode_chunk",
    "encode_last_chunk",
    "encode_request",
    "encode_response",
]


cdef extern from "h1_decode.h":
    """
    #ifdef Py_GIL_DISABLED
    #define H1_SHARED 0
    #else
    #define H1_SHARED 1
    #endif
    """
    const bint H1_SHARED
    ctypedef struct h1_table:
        pass
    ctypedef struct h1_names:
        void *header
        void *trailer
        void *names[]
        unsigned char kept[]
    object h1_header_list(h1_table *table, const h1_names *names, const mc_headers *headers)
    object h1_event_list(
        h1_table *table, const h1_names *names, const mc_headers *headers, tuple first
    )
    void h1_table_clear(h1_table *table)


# Interned for the life of the process, as names are.
cdef h1_names names
cdef tuple name_objects = ()
cdef h1_table shared_table
cdef mc_block_pool shared_pool
cdef dict methods = {
    name: name for name in b"GET HEAD POST PUT DELETE OPTIONS PATCH CONNECT TRACE".split()
}
cdef bytes V11 = b"1.1", V10 = b"1.0"
cdef tuple HEADERS_COMPLETE = ("headers_complete", None)
cdef tuple COMPLETE = ("complete", None)
cdef tuple UPGRADE = ("upgrade", None)


cdef int intern_names() except -1:
    global name_objects
    cdef int i, count = <int>MC_H__COUNT
    made = []
    for i in range(count):
        made.append(slice_bytes(mc_header_name(<mc_header_id>i)))
        names.kept[i] = i not in (
            MC_H_UNKNOWN, MC_H_AUTHORIZATION, MC_H_COOKIE, MC_H_DATE, MC_H_SET_COOKIE,
            MC_H_TRACEPARENT, MC_H_X_CLIENT_TRACE_ID, MC_H_X_REQUEST_ID,
        )
    made[<int>MC_H_AUTHORITY] = made[<int>MC_H_HOST]
    for i in range(count):
        names.names[i] = <void *>made[i]
    made += ["header", "trailer"]
    names.header, names.trailer = <void *>made[-2], <void *>made[-1]
    name_objects = tuple(made)
    mc_block_pool_init(&shared_pool, 64)
    return 0


intern_names()


cdef class Decoder:
    """The table of events, shared or a parser's own (see h1_decode.h)."""

    cdef h1_table *table

    def __cinit__(self):
        if H1_SHARED:
            self.table = &shared_table
            return
        self.table = <h1_table *>PyMem_Calloc(1, sizeof(h1_table))
        if self.table == NULL:
            raise MemoryError

    def __dealloc__(self):
        if not H1_SHARED and self.table != NULL:
            h1_table_clear(self.table)
            PyMem_Free(self.table)


cdef Decoder shared_decoder = Decoder()


cdef inline bytes version_bytes(const mc_h1_head *head):
    cdef const char *p = head.version.p
    if head.version.n == 3 and p[0] == c"1" and p[1] == c".":
        if p[2] == c"1":
            return V11
        if p[2] == c"0":
            return V10
    return slice_bytes(head.version) if head.version.n else b"0.9"


cdef inline bytes method_bytes(const mc_headers *headers):
    cdef bytes method = slice_bytes(mc_headers_get_known(headers, MC_H_METHOD))
    return methods.get(method, method)


# --- messages -------------------------------------------------------------------------------------


@cython.freelist(64)
@cython.no_gc
cdef class Message:
    """What a request and a response have in common. Made by parsers only."""

    cdef mc_arena arena
    cdef mc_headers fields
    cdef mc_h1_head head
    cdef Decoder decoder
    cdef list decoded
    cdef list pieces
    cdef list after
    cdef bint whole

    def __cinit__(self):
        mc_arena_init(&self.arena, &shared_pool if H1_SHARED else NULL)
        mc_headers_init(&self.fields, &self.arena)

    def __dealloc__(self):
        mc_arena_fini(&self.arena)

    @property
    def headers(self):
        """All headers in order, as `(name, value)` of bytes; names are lower-case."""
        if self.decoded is None:
            self.decoded = h1_header_list(self.decoder.table, &names, &self.fields)
        return self.decoded

    @property
    def trailers(self):
        """Trailers in order, as headers; empty until the message is complete."""
        return [] if self.after is None else self.after

    @property
    def version(self):
        """The HTTP version as sent: `b"1.1"`."""
        return version_bytes(&self.head)

    @property
    def keep_alive(self):
        """Whether another message may follow on the connection."""
        return self.head.keep_alive

    @property
    def chunked(self):
        """Whether the body comes in chunks."""
        return self.head.chunked

    @property
    def content_length(self):
        """The announced length of the body, or None."""
        return self.head.content_length if self.head.has_length else None

    @property
    def upgrade(self):
        """Whether the connection leaves HTTP after this head, should both sides agree."""
        return self.head.upgrade

    @property
    def complete(self):
        """Whether the whole message, body and trailers included, has been parsed."""
        return self.whole

    @property
    def body(self):
        """What has arrived of the body and was not taken by `read`."""
        if self.pieces is None:
            return b""
        if len(self.pieces) > 1:
            self.pieces = [b"".join(self.pieces)]
        return self.pieces[0]

    def read(self):
        """Takes what has arrived of the body: each byte is returned once."""
        body = self.body
        self.pieces = None
        return body

    def get(self, name, default=None):
        """The first value of a header, named in any case, or `default`."""
        cdef bytes key = as_bytes(name, "name")
        cdef mc_slice value
        if key.lower() == b"host" and isinstance(self, Request):
            value = mc_headers_get_known(&self.fields, MC_H_AUTHORITY)
        elif key[:1] == b":":
            return default
        else:
            value = mc_headers_get(&self.fields, bytes_slice(key))
        return default if value.p == NULL else slice_bytes(value)


@cython.final
cdef class Request(Message):
    """A request whose head is complete; its body may still be arriving.

    `method`, `target` (as sent) and header values are bytes. Headers are decoded when they are
    first asked for. A request keeps its head's bytes, some 4 KB, as long as it lives.
    """

    @property
    def method(self):
        """The method, `b"GET"`."""
        return method_bytes(&self.fields)

    @property
    def target(self):
        """The request target as sent: `b"/path?query"`, an absolute URL, `b"*"`, or `host:port`."""
        return slice_bytes(mc_headers_get_known(&self.fields, MC_H_PATH))

    @property
    def expect_continue(self):
        """Whether the client waits for `100 Continue` before it sends the body."""
        return self.head.expect_continue

    def __repr__(self):
        return f"<Request {self.method.decode('latin-1')} {self.target.decode('latin-1')}>"


@cython.final
cdef class Response(Message):
    """A response whose head is complete; its body may still be arriving. See `Request`."""

    @property
    def status(self):
        """The status code, 100 to 999."""
        return self.head.status

    @property
    def reason(self):
        """The reason phrase as sent, possibly empty."""
        return slice_bytes(self.head.reason)

    def __repr__(self):
        return f"<Response {self.status}>"


# --- parsers --------------------------------------------------------------------------------------


cdef enum Form:
    UNBUILT
    UNDECIDED
    EVENTS
    MESSAGES


cdef uint32_t limit(value, str name) except 0:
    if not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}")
    if not 1 <= value <= 0xFFFFFFFF:
        raise ValueError(f"{name} must be from 1 to 4294967295, not {value}")
    return value


@cython.internal
cdef class Parser:
    cdef mc_h1_parser parser
    cdef mc_h1_limits limits
    cdef mc_h1_role role
    cdef Form form
    cdef bint feeding
    cdef Decoder decoder
    cdef list out       # what the running call returns
    cdef Message message  # the one being parsed
    cdef bytes rest     # bytes after an upgrade

    def __cinit__(self):
        self.decoder = shared_decoder if H1_SHARED else Decoder()
        self.rest = b""

    cdef int start(self, mc_h1_role role, max_headers_count, max_headers_bytes) except -1:
        if self.form != UNBUILT:
            raise TypeError("a parser is built once")
        self.form = UNDECIDED
        self.role = role
        self.limits.max_headers_count = limit(max_headers_count, "max_headers_count")
        self.limits.max_headers_bytes = limit(max_headers_bytes, "max_headers_bytes")
        self.limits.as_sent = True
        mc_h1_parser_init(&self.parser, role, &self.limits, &handler, <void *>self)
        return 0

    cdef list run(self, Form form, data):
        if self.form != form:
            if self.form == UNBUILT:
                raise ValueError("the parser was not initialised")
            if self.form != UNDECIDED:
                raise ValueError("a parser is used in one form: feed() or messages()")
            self.form = form
        if self.feeding:
            raise ValueError("the parser is being fed")
        self.feeding = True
        self.out = []
        try:
            self.take(data)
        finally:
            self.feeding = False
            out, self.out = self.out, None
        return out

    cdef int take(self, data) except -1:
        cdef Py_buffer view
        if type(data) is bytes:
            return self.take_slice(bytes_slice(<bytes>data))
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            return self.take_slice(mc_slice_of(view.buf, <size_t>view.len))
        finally:
            PyBuffer_Release(&view)

    cdef int take_slice(self, mc_slice data) except -1:
        cdef long taken = mc_h1_parser_feed(&self.parser, data)
        if taken < 0:
            self.fail(<mc_status>taken)
        elif <size_t>taken < data.n:
            self.rest += data.p[taken:data.n]
        return 0

    cdef int fail(self, mc_status status) except -1:
        if PyErr_Occurred():
            return -1
        if status == MC_ENOMEM or self.parser.error.details == NULL:
            raise MemoryError
        error = ProtocolError(self.parser.error.details.decode(), self.parser.error.reply_code)
        error.events = self.out
        raise error

    cdef list end(self):
        if self.form == UNBUILT or self.feeding:
            raise ValueError("the parser is being fed")
        self.feeding = True
        self.out = []
        cdef mc_status status
        try:
            status = mc_h1_parser_eof(&self.parser)
            if status != MC_OK:
                self.fail(status)
        finally:
            self.feeding = False
            out, self.out = self.out, None
        return out if self.form != MESSAGES else []

    def feed(self, data):
        """Parses bytes; returns the events they complete, as a list of `(event, value)`.

        The pieces may be cut anywhere. Malformed input raises ProtocolError, whose `events` holds
        what came before the fault; after that every call raises.
        """
        with cython.critical_section(self):
            return self.run(EVENTS, data)

    def messages(self, data):
        """Parses bytes; returns the messages whose heads they complete.

        A body that has not arrived yet is added to its message by later calls: see `complete`,
        `body` and `read`. Malformed input raises ProtocolError, whose `events` holds the messages
        that came before the fault.
        """
        with cython.critical_section(self):
            return self.run(MESSAGES, data)

    def eof(self):
        """Says that the peer closed; returns the events which that completes.

        In the middle of a message it raises ProtocolError.
        """
        with cython.critical_section(self):
            return self.end()

    @property
    def idle(self):
        """Whether the parser is between messages."""
        return mc_h1_parser_idle(&self.parser)

    @property
    def trailing(self):
        """The bytes that followed an upgrade's head: they are not HTTP."""
        return self.rest

    cdef int add_head(self, const mc_h1_head *head) except -1:
        cdef Message message = self.message
        message.head = head[0]
        message.decoder = self.decoder
        if self.form == MESSAGES:
            self.out.append(message)
            return 0
        cdef list events = h1_event_list(
            self.decoder.table, &names, &message.fields, self.start_line(message)
        )
        if self.out:
            self.out += events
        else:
            self.out = events
        self.out.append(HEADERS_COMPLETE)
        if head.upgrade:
            self.out.append(UPGRADE)
        return 0

    cdef tuple start_line(self, Message message):
        if self.role == MC_H1_REQUEST:
            return ("request", (
                method_bytes(&message.fields),
                slice_bytes(mc_headers_get_known(&message.fields, MC_H_PATH)),
                version_bytes(&message.head),
            ))
        return ("response", (
            message.head.status, slice_bytes(message.head.reason), version_bytes(&message.head),
        ))

    cdef int add_body(self, mc_slice data) except -1:
        piece = slice_bytes(data)
        if self.form == MESSAGES:
            if self.message.pieces is None:
                self.message.pieces = []
            self.message.pieces.append(piece)
        else:
            self.out.append(("body", piece))
        return 0

    cdef int add_trailers(self, const mc_headers *trailers) except -1:
        cdef uint32_t i
        found = []
        for i in range(trailers.count):
            name = slice_bytes(trailers.items[i].name)
            found.append((name, slice_bytes(trailers.items[i].value)))
        if self.form == MESSAGES:
            self.message.after = found
        else:
            self.out += [("trailer", pair) for pair in found]
        return 0

    cdef int finish(self) except -1:
        cdef bint final = self.message.head.status >= 200
        self.message.whole = True
        self.message = None
        if final:
            (<ResponseParser>self).answered()
        if self.form != MESSAGES:
            self.out.append(COMPLETE)
        return 0


# The parser unwinds when a callback fails, and the exception is still set when it returns.


cdef mc_headers *on_begin(void *ctx) except NULL:
    cdef Parser self = <Parser>ctx
    if self.role == MC_H1_REQUEST:
        self.message = Request.__new__(Request)
    else:
        self.message = Response.__new__(Response)
    return &self.message.fields


cdef int on_headers(void *ctx, const mc_h1_head *head) except -1:
    return (<Parser>ctx).add_head(head)


cdef int on_body(void *ctx, mc_slice data) except -1:
    return (<Parser>ctx).add_body(data)


cdef int on_trailers(void *ctx, mc_headers *trailers) except -1:
    return (<Parser>ctx).add_trailers(trailers)


cdef int on_complete(void *ctx) except -1:
    return (<Parser>ctx).finish()


cdef mc_h1_handler handler = mc_h1_handler(
    on_begin, on_headers, on_body, on_trailers, on_complete
)


@cython.final
cdef class RequestParser(Parser):
    """RequestParser(*, max_headers_count=100, max_headers_bytes=61440, accept_http_10=True,
    allow_absolute_url=True, allow_chunked_length=False, allow_custom_methods=False,
    enable_trailers=True, underscores="allow")

    An incremental parser of HTTP/1.x requests, strict wherever two parsers could disagree.

    `feed(data)` returns events, the primitive form; `messages(data)` returns a `Request` for each
    head that is complete, which is several times faster. A parser uses one of the two.

    Events, in order:

        ("request", (method, target, version))      b"GET", b"/path?query" as sent, b"1.1"
        ("header", (name, value))                   name lower-case, value trimmed; `host` too
        ("headers_complete", None)
        ("upgrade", None)                           see below
        ("body", data)                              any number of pieces
        ("trailer", (name, value))
        ("complete", None)

    The events of a head come together, when it is complete: before that nothing of it is known to
    be well-formed. After a request that said `connection: close` further bytes are dropped.

    An upgrade (`connection: upgrade` with `upgrade`, other than to h2c, or CONNECT) ends the
    parsing: what follows is collected in `trailing`. To go on with HTTP instead, call
    `refuse_upgrade()`.

    Limits: at most `max_headers_count` headers and `max_headers_bytes` bytes of target, names and
    values in a head, and again in the trailers; more is refused with reply code 431. Methods
    outside the usual set are refused unless `allow_custom_methods`. A chunked request that has a
    content-length too is refused unless `allow_chunked_length`, which drops the length.
    `underscores` in header names: `"allow"`, `"drop"` (the header), or `"reject"` (the request).

    Not safe to share between threads.
    """

    def __init__(
        self,
        *,
        max_headers_count=100,
        max_headers_bytes=61440,
        accept_http_10=True,
        allow_absolute_url=True,
        allow_chunked_length=False,
        allow_custom_methods=False,
        enable_trailers=True,
        underscores="allow",
    ):
        if underscores not in ("allow", "drop", "reject"):
            raise ValueError(f"underscores must be allow, drop or reject, not {underscores!r}")
        mc_h1_limits_init(&self.limits, MC_H1_REQUEST)
        self.limits.accept_http_10 = accept_http_10
        self.limits.allow_absolute_url = allow_absolute_url
        self.limits.allow_chunked_length = allow_chunked_length
        self.limits.allow_custom_methods = allow_custom_methods
        self.limits.enable_trailers = enable_trailers
        self.limits.underscores = <uint8_t>("allow", "drop", "reject").index(underscores)
        self.start(MC_H1_REQUEST, max_headers_count, max_headers_bytes)

    def refuse_upgrade(self):
        """Goes on with HTTP after an upgrade's head, as if it had not asked.

        Returns what `feed` or `messages` would for the bytes in `trailing`.
        """
        cdef bytes rest
        with cython.critical_section(self):
            if self.feeding or self.message is None or not self.message.head.upgrade:
                raise ValueError("no upgrade is waiting for an answer")
            mc_h1_parser_refuse(&self.parser)
            rest, self.rest = self.rest, b""
            return self.run(self.form, rest)


@cython.final
cdef class ResponseParser(Parser):
    """ResponseParser(*, max_headers_count=100, max_headers_bytes=81920,
    allow_chunked_length=False, enable_trailers=True)

    An incremental parser of HTTP/1.x responses; see `RequestParser` for the two forms.

    The start is `("response", (status, reason, version))`. Informational responses (1xx) are
    messages of their own.

    What a response means depends on its request: announce each by `expect(method)`. A response
    that nobody expects, or bytes after the last one, are then errors. A parser to which nothing was
    ever announced takes every response for one to a GET. A body without length or chunks runs
    until the peer closes: call `eof()` then.

    Not safe to share between threads.
    """

    cdef list expected  # methods not answered yet; None: nothing was ever announced

    def __init__(
        self,
        *,
        max_headers_count=100,
        max_headers_bytes=81920,
        allow_chunked_length=False,
        enable_trailers=True,
    ):
        mc_h1_limits_init(&self.limits, MC_H1_RESPONSE)
        self.limits.allow_chunked_length = allow_chunked_length
        self.limits.enable_trailers = enable_trailers
        self.start(MC_H1_RESPONSE, max_headers_count, max_headers_bytes)
        mc_h1_parser_expect(&self.parser, mc_slice_of(b"GET", 3))

    def expect(self, method):
        """Announces a request: its response is parsed after those of earlier announcements."""
        cdef bytes name = as_bytes(method, "method")
        with cython.critical_section(self):
            if self.expected is None:
                self.expected = []
            self.expected.append(name)
            if len(self.expected) == 1:
                mc_h1_parser_expect(&self.parser, bytes_slice(name))

    cdef int answered(self) except -1:
        """The response to the first announced request is complete."""
        if self.expected is None:
            mc_h1_parser_expect(&self.parser, mc_slice_of(b"GET", 3))
            return 0
        del self.expected[0]
        if self.expected:
            mc_h1_parser_expect(&self.parser, bytes_slice(<bytes>self.expected[0]))
        return 0


# --- encoding -------------------------------------------------------------------------------------


cdef bytes as_bytes(value, str what):
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return (<str>value).encode("latin-1")
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    raise TypeError(f"{what} must be bytes or str, not {type(value).__name__}")


cdef int check_name(bytes name) except -1:
    if not is_token(name):
        raise ValueError(f"not a header name: {name!r}")
    return 0


cdef bint is_token(bytes s):
    cdef unsigned char c
    for c in s:
        if not (c"0" <= c <= c"9" or c"A" <= c <= c"Z" or c"a" <= c <= c"z"
                or c in b"!#$%&'*+-.^_`|~"):
            return False
    return len(s) > 0


cdef int check_text(bytes value, str what, bint spaces) except -1:
    """No control byte can start a line of its own or end one early."""
    cdef unsigned char c
    for c in value:
        if c == 0x7f or (c < 0x20 and not (spaces and c == 9)) or (c == 0x20 and not spaces):
            raise ValueError(f"{what} holds a byte that cannot be sent: {value!r}")
    return 0


cdef class Fields:
    """A header map being filled from Python."""

    cdef mc_arena arena
    cdef mc_headers map

    def __cinit__(self):
        mc_arena_init(&self.arena, NULL)
        mc_headers_init(&self.map, &self.arena)

    def __dealloc__(self):
        mc_arena_fini(&self.arena)

    cdef int known(self, mc_header_id id, bytes value) except -1:
        if mc_headers_add_known(&self.map, id, bytes_slice(value)) != MC_OK:
            raise MemoryError
        return 0

    cdef int add_all(self, headers) except -1:
        cdef bytes key, text
        for name, value in header_list(headers):
            key, text = as_bytes(name, "header name"), as_bytes(value, "header value")
            check_name(key)
            check_text(text, f"header {key.decode('latin-1')}", True)
            if mc_headers_add(&self.map, bytes_slice(key), bytes_slice(text)) != MC_OK:
                raise MemoryError
        return 0

    cdef int set_length(self, Py_ssize_t n) except -1:
        if mc_headers_has(&self.map, MC_H_CONTENT_LENGTH):
            raise ValueError("content-length is made from the body: give one of them")
        return self.known(MC_H_CONTENT_LENGTH, str(n).encode())


cdef bytes joined(Fields fields, mc_h1_encode *how, body):
    cdef bytes content = b"" if body is None else as_bytes(body, "body")
    cdef size_t room = mc_h1_head_size(&fields.map)
    cdef bytes out = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>room)
    cdef mc_h1_framing framing
    cdef size_t n
    if mc_headers_has(&fields.map, MC_H_STATUS):
        n = mc_h1_encode_response(&fields.map, how, PyBytes_AS_STRING(out), &framing)
    else:
        n = mc_h1_encode_request(&fields.map, how, PyBytes_AS_STRING(out), &framing)
    return out[:n] + content


def encode_request(method, target, headers=(), body=None, *, end_stream=True):
    """The bytes of a request: start line, headers in order with lower-case names, and framing.

    With `body` (bytes) its length is announced and it is appended. Without, `end_stream` says
    whether the request ends here; if not, its body follows by the `content-length` among the
    headers, or else in chunks (`encode_chunk`). `transfer-encoding` is never taken from `headers`.
    ValueError for what cannot be sent, such as a line break in a value.
    """
    cdef Fields fields = Fields()
    cdef mc_h1_encode how = mc_h1_encode(
        end_stream=end_stream or body is not None, http_10=False, head_request=False, upgrade=False
    )
    cdef bytes name = as_bytes(method, "method"), path = as_bytes(target, "target")
    if not is_token(name):
        raise ValueError(f"not a method: {name!r}")
    if not path:
        raise ValueError("the target is empty")
    check_text(path, "target", False)
    fields.known(MC_H_METHOD, name)
    fields.known(MC_H_PATH, path)
    fields.add_all(headers)
    if body is not None:
        fields.set_length(len(body))
    return joined(fields, &how, body)


def encode_response(
    status,
    headers=(),
    body=None,
    *,
    end_stream=True,
    request_method=b"GET",
    http_10=False,
    upgrade=False,
):
    """The bytes of a response: status line, headers in order with lower-case names, and framing.

    `body` and `end_stream` as in `encode_request`. `request_method` is that of the request: after
    HEAD the head is that of a GET and no body follows. `http_10` answers an HTTP/1.0 client, who is
    never sent chunks. `upgrade` is for 101 and for a 2xx to CONNECT: no framing is added.
    """
    cdef Fields fields = Fields()
    cdef bytes method = as_bytes(request_method, "request_method")
    cdef bint bodiless = method == b"HEAD" or status < 200 or status in (204, 304)
    cdef mc_h1_encode how = mc_h1_encode(
        end_stream=end_stream or body is not None,
        http_10=http_10,
        head_request=method == b"HEAD",
        upgrade=upgrade,
    )
    if not 100 <= status <= 999:
        raise ValueError(f"status must be 100 to 999, not {status}")
    if body and bodiless and method != b"HEAD":
        raise ValueError(f"a {status} response has no body")
    fields.known(MC_H_STATUS, str(status).encode())
    fields.add_all(headers)
    if body is not None and not (bodiless and method != b"HEAD"):
        fields.set_length(len(body))
    return joined(fields, &how, None if bodiless else body)


def encode_chunk(data):
    """One chunk of a chunked body; nothing for no data, since an empty chunk would end the body."""
    cdef char head[32]
    cdef bytes content = as_bytes(data, "data")
    cdef size_t n
    if not content:
        return b""
    n = mc_h1_chunk_head(head, <size_t>len(content))
    return head[:n] + content + b"\r\n"


def encode_last_chunk(trailers=()):
    """The end of a chunked body, with trailers if there are any."""
    cdef Fields fields = Fields()
    fields.add_all(trailers)
    cdef bytes out = PyBytes_FromStringAndSize(
        NULL, <Py_ssize_t>mc_h1_last_chunk_size(&fields.map)
    )
    return out[:mc_h1_last_chunk(&fields.map, PyBytes_AS_STRING(out))]
