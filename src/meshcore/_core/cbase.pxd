"""What every binding needs of csrc/base: statuses, slices, and strings across the border."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint64_t


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

cdef extern from "base/hash.h" nogil:
    uint64_t mc_xxh64(const void *data, size_t n, uint64_t seed)
    uint64_t mc_murmur64(const void *data, size_t n, uint64_t seed)
    enum: MC_MURMUR_STD_SEED

cdef extern from "base/random.h" nogil:
    ctypedef struct mc_random:
        uint64_t (*draw)(void *ctx) noexcept nogil
        void *ctx
    void mc_random_seed(mc_random *random, uint64_t seed)

cdef extern from "base/text.h" nogil:
    ctypedef struct mc_text:
        char *p
        size_t n
        bint failed
    void mc_text_init(mc_text *text)
    void mc_text_fini(mc_text *text)


cdef inline bytes slice_bytes(mc_slice s):
    return PyBytes_FromStringAndSize(s.p, <Py_ssize_t>s.n)


cdef inline str slice_str(mc_slice s):
    """Bytes that are not UTF-8 survive a round trip as lone surrogates."""
    return PyUnicode_DecodeUTF8(s.p, <Py_ssize_t>s.n, "surrogateescape") if s.n else ""


cdef inline mc_slice bytes_slice(bytes b):
    """Borrowed from the object: keep it alive."""
    return mc_slice_of(<const char *>b, <size_t>len(b))
