"""The one file that takes the GIL on a worker: Python filters, plain and asynchronous.

A plain method runs on the worker's thread with the GIL for that call alone. A coroutine function
gets a copy of the headers, runs on the control loop while the stream is stopped, and what it
changed is applied when its message reaches the worker. The stream may be gone by then: the handle
between the two sides then points nowhere, and the result is dropped.
"""

cimport cython
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from meshcore._core.cbase cimport (
    MC_ADDRESS_TEXT,
    MC_OK,
    c_bool,
    mc_address_ip,
    mc_slice,
    mc_slice_of,
    mc_status,
    slice_bytes,
)
from meshcore._core.cengine cimport (
    MC_FILTER_CONTINUE,
    MC_FILTER_STOP,
    mc_filter,
    mc_filter_clear_route,
    mc_filter_continue_decoding,
    mc_filter_continue_encoding,
    mc_filter_get_config,
    mc_filter_get_state,
    mc_filter_loop,
    mc_filter_remote,
    mc_filter_reply,
    mc_filter_request_headers,
    mc_filter_response_headers,
    mc_filter_set_state,
    mc_filter_status,
    mc_filter_type,
    mc_loop,
    mc_mailbox_post,
    mc_message,
    mc_reply,
)
from meshcore._core.chttp cimport (
    mc_header,
    mc_headers,
    mc_headers_add,
    mc_headers_remove,
    mc_headers_set,
)

import _thread
import inspect

from meshcore.filters.http import Headers, Request, Response

from meshcore._log import logger as log


cdef struct Handle:
    # Two sides hold it: the stream (until its filter closes) and the coroutine (until its message
    # ran). Only the worker's thread reads `filter`; the count changes under the GIL.
    mc_filter *filter
    int refs


cdef struct Resume:
    mc_message message
    Handle *handle
    PyObject *request
    PyObject *reply
    bint response_side


@cython.final
cdef class Binding:
    def __cinit__(self, on_request, on_response, loop=None):
        self.on_request = on_request
        self.on_response = on_response
        self.async_request = inspect.iscoroutinefunction(on_request)
        self.async_response = inspect.iscoroutinefunction(on_response)
        self.loop = loop


cdef list load_headers(mc_headers *headers):
    cdef list out = []
    cdef mc_header *item
    cdef uint32_t i
    for i in range(headers.count):
        item = &headers.items[i]
        if not item.removed:
            out.append((text(item.name), text(item.value)))
    return out


cdef str text(mc_slice s):
    # HTTP field values are bytes; Latin-1 maps each to one character and back (RFC 9110, 5.5).
    return slice_bytes(s).decode("latin-1")


cdef mc_slice borrowed(bytes data):
    return mc_slice_of(<const char *>data, <size_t>len(data))


cdef int apply_changes(mc_headers *headers, list changes) except -1:
    cdef bytes name, value
    cdef mc_status status = MC_OK
    headers.unchecked = True  # nobody has looked at these names and values
    for kind, key, new in changes:
        name = key.encode("latin-1")
        if kind == "remove":
            mc_headers_remove(headers, borrowed(name))
            continue
        value = new.encode("latin-1")
        if kind == "set":
            status = mc_headers_set(headers, borrowed(name), borrowed(value))
        else:
            status = mc_headers_add(headers, borrowed(name), borrowed(value))
        if status != MC_OK:
            raise MemoryError()
    return 0


cdef int send_reply(mc_filter *filter, reply) except -1:
    """A local reply out of a meshcore.Response."""
    cdef list pairs = [
        (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers
    ]
    cdef bytes body = reply.body
    cdef mc_header *items = <mc_header *>calloc(len(pairs) + 1, sizeof(mc_header))
    cdef mc_reply out
    cdef Py_ssize_t i
    if items == NULL:
        raise MemoryError()
    for i in range(len(pairs)):
        items[i].name = borrowed(pairs[i][0])
        items[i].value = borrowed(pairs[i][1])
    memset(&out, 0, sizeof(out))
    out.status = reply.status
    out.body = borrowed(body)
    out.details = "python_filter"
    out.headers = items
    out.header_count = len(pairs)
    mc_filter_reply(filter, &out)
    free(items)
    return 0


cdef str name_of(method):
    return getattr(method, "__qualname__", repr(method))


# What goes out when a method gave no answer: a filter that fails lets nothing pass.
cdef object REFUSAL = Response(500, body="the gateway's filter failed")


cdef object failed(method):
    log.exception("the filter method %s failed; the request is answered 500", name_of(method))
    return REFUSAL


cdef object checked(method, reply):
    """What a method may return: None, a Response or its status."""
    if reply is None or isinstance(reply, Response):
        return reply
    if isinstance(reply, int) and not isinstance(reply, bool):
        return Response(reply)
    kind = type(reply).__name__
    if inspect.iscoroutine(reply):
        reply.close()
        kind += " that was not awaited"
    raise TypeError(
        f"{name_of(method)} must return None, a meshcore.Response or a status, not a {kind}"
    )


cdef object make_request(mc_filter *filter, bint response_side):
    cdef char address[MC_ADDRESS_TEXT]
    cdef size_t n = mc_address_ip(mc_filter_remote(filter), address)
    request = Request(load_headers(mc_filter_request_headers(filter)), address[:n].decode("ascii"))
    if response_side:
        request.response = Headers(load_headers(mc_filter_response_headers(filter)))
    return request


cdef int finish_call(mc_filter *filter, request, reply, bint response_side) except -1:
    """Applies what a method did. 1: it answered the request itself."""
    if reply is not None:
        send_reply(filter, reply)
        return 1
    if response_side:
        apply_changes(mc_filter_response_headers(filter), request.response.changes)
    else:
        apply_changes(mc_filter_request_headers(filter), request.headers.changes)
        if request.route_cleared:
            mc_filter_clear_route(filter)
    return 0


# --- asynchronous ------------------------------------------------------------------------------


cdef void handle_put(Handle *handle) noexcept:
    handle.refs -= 1
    if handle.refs == 0:
        free(handle)


cdef class _Call:
    """One pause of one stream, as the coroutine's side sees it."""

    cdef Handle *handle
    cdef mc_loop *worker
    cdef object request, method
    cdef bint response_side

    async def run(self):
        reply = REFUSAL  # of a method that is cancelled
        try:
            reply = checked(
                self.method,
                await (
                    self.method(self.request, self.request.response)
                    if self.response_side
                    else self.method(self.request)
                ),
            )
        except Exception:
            reply = failed(self.method)
        finally:
            self.resume(reply)

    cdef int resume(self, reply) except -1:
        cdef Resume *resume = <Resume *>calloc(1, sizeof(Resume))
        if resume == NULL:
            raise MemoryError()
        resume.message.run = resume_run
        resume.message.drop = resume_drop
        resume.handle = self.handle
        resume.response_side = self.response_side
        Py_INCREF(self.request)
        Py_INCREF(reply)
        resume.request = <PyObject *>self.request
        resume.reply = <PyObject *>reply
        self.handle = NULL
        mc_mailbox_post(self.worker, &resume.message)
        return 0

    def __dealloc__(self):
        if self.handle != NULL:
            handle_put(self.handle)


cdef void resume_free(Resume *resume) noexcept:
    request, reply = <object>resume.request, <object>resume.reply
    Py_DECREF(request)
    Py_DECREF(reply)
    handle_put(resume.handle)
    free(resume)


cdef void resume_run(mc_message *message, mc_loop *loop) noexcept with gil:
    cdef Resume *resume = <Resume *>message
    cdef mc_filter *filter = resume.handle.filter
    cdef bint answered = True
    cdef bint response_side = resume.response_side
    if filter != NULL:
        mc_filter_set_state(filter, NULL)
        resume.handle.filter = NULL
        handle_put(resume.handle)
        try:
            answered = finish_call(
                filter, <object>resume.request, <object>resume.reply, response_side)
        except Exception:
            try:
                send_reply(filter, failed("resume"))
            except Exception:
                log.exception("a failed filter could not answer")
    resume_free(resume)
    if not answered:
        with nogil:
            if response_side:
                mc_filter_continue_encoding(filter)
            else:
                mc_filter_continue_decoding(filter)


cdef void resume_drop(mc_message *message) noexcept with gil:
    resume_free(<Resume *>message)


def _spawn(_Call call):
    """On the control loop's thread."""
    task = _running_loop().create_task(call.run())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


def _running_loop():
    import asyncio

    return asyncio.get_running_loop()


_tasks = set()


cdef int pause(mc_filter *filter, Binding binding, method, bint response_side) except -1:
    cdef Handle *handle
    cdef _Call call = _Call.__new__(_Call)
    if binding.loop is None or binding.loop.is_closed():
        raise RuntimeError("no control loop runs the gateway's coroutines")
    call.request = make_request(filter, response_side)
    call.method = method
    call.response_side = response_side
    call.worker = mc_filter_loop(filter)
    handle = <Handle *>calloc(1, sizeof(Handle))
    if handle == NULL:
        raise MemoryError()
    handle.filter = filter
    handle.refs = 2
    call.handle = handle
    mc_filter_set_state(filter, handle)
    binding.loop.call_soon_threadsafe(_spawn, call)
    return 0


# --- what the worker calls ---------------------------------------------------------------------


cdef mc_filter_status call_method(mc_filter *filter, bint response_side) noexcept with gil:
    cdef Binding binding = <Binding>mc_filter_get_config(filter)
    method = binding.on_response if response_side else binding.on_request
    try:
        if binding.async_response if response_side else binding.async_request:
            pause(filter, binding, method, response_side)
            return MC_FILTER_STOP
        request = make_request(filter, response_side)
        reply = method(request, request.response) if response_side else method(request)
        if finish_call(filter, request, checked(method, reply), response_side):
            return MC_FILTER_STOP
    except BaseException as error:  # one that left through C would end the process
        reply = failed(method)
        if isinstance(error, KeyboardInterrupt):
            _thread.interrupt_main()
        try:
            send_reply(filter, reply)
        except Exception:
            log.exception("a failed filter could not answer")
        return MC_FILTER_STOP
    return MC_FILTER_CONTINUE


cdef mc_filter_status decode_headers(
    mc_filter *filter, mc_headers *headers, c_bool end_stream
) noexcept nogil:
    return call_method(filter, False)


cdef mc_filter_status encode_headers(
    mc_filter *filter, mc_headers *headers, c_bool end_stream
) noexcept nogil:
    return call_method(filter, True)


cdef void forget(Handle *handle) noexcept with gil:
    handle.filter = NULL
    handle_put(handle)


cdef void close_filter(mc_filter *filter) noexcept nogil:
    cdef Handle *handle = <Handle *>mc_filter_get_state(filter)
    if handle != NULL:
        mc_filter_set_state(filter, NULL)
        forget(handle)


# The four shapes of a chain entry: a filter without a response method never takes the GIL for
# responses.
cdef mc_filter_type types[4]


cdef void fill_types() noexcept:
    cdef int shape
    for shape in range(4):
        types[shape].name = "meshcore.python"
        if shape & 1:
            types[shape].decode_headers = decode_headers
        if shape & 2:
            types[shape].encode_headers = encode_headers
        types[shape].close = close_filter


fill_types()


cdef const mc_filter_type *filter_type(Binding binding):
    cdef int shape = 1 if binding.on_request is not None else 0
    return &types[shape | (2 if binding.on_response is not None else 0)]
