"""csrc/base as its bindings see it, and strings across the border."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t


cdef extern from "base/alloc.h" nogil:
    void mc_free(void *block)

cdef extern from "<stdbool.h>" nogil:
    ctypedef bint c_bool "bool"

cdef extern from "base/status.h" nogil:
    ctypedef enum mc_status:
        MC_OK
        MC_ENOMEM
        MC_EINVAL
        MC_AGAIN
        MC_EOF
        MC_ERESET
        MC_EPROTO
        MC_ELIMIT
        MC_ENOTFOUND
        MC_EEXIST
        MC_ESYS
        MC_ECLOSED

cdef extern from "base/slice.h" nogil:
    ctypedef struct mc_slice:
        const char *p
        size_t n
    mc_slice mc_slice_of(const void *p, size_t n)
    bint mc_slice_ieq(mc_slice a, mc_slice b)

cdef extern from "base/hash.h" nogil:
    uint64_t mc_xxh64(const void *data, size_t n, uint64_t seed)
    uint64_t mc_murmur64(const void *data, size_t n, uint64_t seed)
    enum: MC_MURMUR_STD_SEED

cdef extern from "base/random.h" nogil:
    ctypedef struct mc_random:
        uint64_t (*draw)(void *ctx) noexcept nogil
        void *ctx
    void mc_random_seed(mc_random *random, uint64_t seed)
    uint64_t mc_random_next(mc_random *random)

cdef extern from "base/text.h" nogil:
    ctypedef struct mc_text:
        char *p
        size_t n
        bint failed
    void mc_text_init(mc_text *text)
    void mc_text_fini(mc_text *text)

cdef extern from "base/arena.h" nogil:
    ctypedef struct mc_arena:
        char *at
        char *end
    ctypedef struct mc_block_pool:
        pass
    void mc_block_pool_init(mc_block_pool *pool, size_t keep)
    void mc_arena_init(mc_arena *arena, mc_block_pool *pool)
    void mc_arena_fini(mc_arena *arena)

cdef extern from "base/error.h" nogil:
    ctypedef struct mc_error:
        char path[512]
        char reason[256]

cdef extern from "base/value.h" nogil:
    ctypedef enum mc_value_kind:
        MC_NULL
        MC_BOOL
        MC_NUMBER
        MC_STRING
        MC_LIST
        MC_OBJECT
    ctypedef struct mc_value:
        mc_value_kind kind
        bint boolean
        double number
        mc_slice string
        const mc_value *items
        const mc_slice *names
        size_t count
    mc_status mc_value_parse(mc_arena *arena, mc_slice json, const mc_value **out, mc_error *error)
    const mc_value *mc_value_get(const mc_value *object, const char *name)

cdef extern from "base/runtime.h" nogil:
    ctypedef struct mc_runtime:
        pass
    ctypedef struct mc_fraction:
        uint32_t numerator
        uint32_t denominator
        mc_slice runtime_key
    mc_status mc_runtime_init(mc_runtime *runtime, const mc_value *values)
    void mc_runtime_fini(mc_runtime *runtime)

cdef extern from "base/address.h" nogil:
    enum: MC_ADDRESS_TEXT
    ctypedef struct mc_address:
        uint32_t length
    mc_status mc_address_parse(mc_address *out, mc_slice ip, uint16_t port)
    size_t mc_address_text(const mc_address *address, char *out)
    size_t mc_address_ip(const mc_address *address, char *out)
    uint16_t mc_address_port(const mc_address *address)


cdef inline bytes slice_bytes(mc_slice s):
    return PyBytes_FromStringAndSize(s.p, <Py_ssize_t>s.n)


cdef inline str slice_str(mc_slice s):
    """Bytes that are not UTF-8 survive a round trip as lone surrogates."""
    return PyUnicode_DecodeUTF8(s.p, <Py_ssize_t>s.n, "surrogateescape") if s.n else ""


cdef inline mc_slice bytes_slice(bytes b):
    """Borrowed from the object: keep it alive."""
    return mc_slice_of(<const char *>b, <size_t>len(b))
