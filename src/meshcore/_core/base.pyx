"""Hashes, token bucket and back-off: the face of csrc/base."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.long cimport PyLong_AsUnsignedLongLongMask
from libc.stdint cimport UINT64_MAX, uint64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from meshcore._core.cbase cimport (
    MC_MURMUR_STD_SEED,
    MC_OK,
    mc_murmur64,
    mc_random,
    mc_random_seed,
    mc_xxh64,
)

import os


cdef extern from "base/token_bucket.h" nogil:
    ctypedef struct mc_token_bucket:
        pass
    int mc_token_bucket_init(
        mc_token_bucket *bucket,
        uint64_t now,
        double max_tokens,
        double tokens_per_fill,
        uint64_t fill_interval,
    )
    bint mc_token_bucket_consume(mc_token_bucket *bucket, uint64_t now, double n)
    double mc_token_bucket_tokens(const mc_token_bucket *bucket, uint64_t now)
    uint64_t mc_token_bucket_wait(const mc_token_bucket *bucket, uint64_t now, double n)

cdef extern from "base/backoff.h" nogil:
    ctypedef struct mc_backoff:
        uint64_t base
        uint64_t max
        uint64_t interval
    int mc_backoff_init(mc_backoff *backoff, uint64_t base, uint64_t max)
    uint64_t mc_backoff_next(mc_backoff *backoff, mc_random *random)
    void mc_backoff_reset(mc_backoff *backoff)

__all__ = ["BackOff", "TokenBucket", "murmur64", "xxh64"]

cdef enum:
    LONG = 65536  # bytes from which hashing is worth giving up the GIL for

ctypedef uint64_t (*hash_function)(const void *data, size_t n, uint64_t seed) noexcept nogil


cdef uint64_t _hash(hash_function function, object data, uint64_t seed) except? 0:
    cdef Py_buffer view
    cdef uint64_t result
    if PyBytes_CheckExact(data) and PyBytes_GET_SIZE(data) < LONG:
        return function(PyBytes_AS_STRING(data), <size_t>PyBytes_GET_SIZE(data), seed)
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    if view.len < LONG:
        result = function(view.buf, <size_t>view.len, seed)
    else:
        with nogil:
            result = function(view.buf, <size_t>view.len, seed)
    PyBuffer_Release(&view)
    return result


def xxh64(data, uint64_t seed=0):
    """XXH64 of bytes, bytearray or memoryview (contiguous), as an int below 2**64."""
    return _hash(mc_xxh64, data, seed)


def murmur64(data, uint64_t seed=MC_MURMUR_STD_SEED):
    """64-bit MurmurHash2 of bytes, bytearray or memoryview, as an int below 2**64.

    With the default seed it is libstdc++'s std::hash<std::string>, which Envoy calls MURMUR_HASH_2.
    """
    return _hash(mc_murmur64, data, seed)


cdef uint64_t nanoseconds(double seconds) noexcept:
    return <uint64_t>(seconds * 1e9) if seconds > 0 else 0


@cython.final
cdef class TokenBucket:
    """A token bucket that refills continuously, as Envoy's local rate limit does.

    It starts full with `max_tokens`, and gets `tokens_per_fill` back each `fill_interval` seconds,
    evenly over that time. `clock` returns seconds and does not go back; the default is the
    monotonic clock. Safe to share between threads.
    """

    cdef mc_token_bucket bucket
    cdef readonly double max_tokens
    cdef readonly double tokens_per_fill
    cdef readonly double fill_interval
    cdef object clock

    def __init__(
        self,
        double max_tokens,
        double tokens_per_fill=1,
        double fill_interval=1,
        *,
        clock=None,
        now=None,
    ):
        if not 0 < max_tokens < float("inf"):
            raise ValueError("max_tokens must be above zero")
        if not 0 < tokens_per_fill < float("inf"):
            raise ValueError("tokens_per_fill must be above zero")
        if not 1e-9 <= fill_interval <= 1e9:
            raise ValueError("fill_interval must be above zero seconds, and at most 1e9")
        self.clock = clock
        self.max_tokens = max_tokens
        self.tokens_per_fill = tokens_per_fill
        self.fill_interval = fill_interval
        cdef int status = mc_token_bucket_init(
            &self.bucket, self.at(now), max_tokens, tokens_per_fill, nanoseconds(fill_interval)
        )
        if status != MC_OK:
            raise ValueError("invalid token bucket")

    def __repr__(self):
        return f"TokenBucket({self.max_tokens:g}, {self.tokens_per_fill:g}, {self.fill_interval:g})"

    cdef uint64_t at(self, now) except? 0:
        cdef timespec t
        if now is None:
            if self.clock is None:
                clock_gettime(CLOCK_MONOTONIC, &t)
                return <uint64_t>t.tv_sec * 1000000000 + <uint64_t>t.tv_nsec
            now = self.clock()
        return nanoseconds(now)

    def consume(self, double n=1, now=None):
        """Take n tokens and return True; or take none and return False when fewer are left.

        `now` (seconds) stands in for the clock.
        """
        if not n >= 0:
            raise ValueError("n must not be negative")
        return bool(mc_token_bucket_consume(&self.bucket, self.at(now), n))

    def tokens(self, now=None):
        """How many tokens there are, fractions included."""
        return mc_token_bucket_tokens(&self.bucket, self.at(now))

    def wait(self, double n=1, now=None):
        """Seconds until n tokens will be there if nobody takes any; infinite above max_tokens."""
        cdef uint64_t wait = mc_token_bucket_wait(&self.bucket, self.at(now), n)
        return float("inf") if wait == UINT64_MAX else wait / 1e9


cdef uint64_t given(void *ctx) noexcept nogil:
    return (<uint64_t *>ctx)[0]


@cython.final
cdef class BackOff:
    """Exponential back-off with full jitter, as Envoy's retries and DNS failures have it.

    `next()` is a random number below the interval, which starts at `base_interval` and doubles each
    time up to `max_interval` (ten times the base by default). Both are whole numbers of any unit,
    milliseconds as a rule. `random` returns a non-negative integer, of which the remainder is
    taken; the default is a generator of its own. Use one object from one thread at a time.
    """

    cdef mc_backoff backoff
    cdef mc_random generator
    cdef object random

    def __init__(self, base_interval, max_interval=None, *, random=None):
        if not 1 <= base_interval <= UINT64_MAX:
            raise ValueError("base_interval must be at least 1")
        if max_interval is None:
            max_interval = 0
        elif not base_interval <= max_interval <= UINT64_MAX:
            raise ValueError("max_interval must not be below base_interval")
        if mc_backoff_init(&self.backoff, base_interval, max_interval) != MC_OK:
            raise ValueError("invalid back-off")
        self.random = random
        mc_random_seed(&self.generator, int.from_bytes(os.urandom(8), "little"))

    def __repr__(self):
        return f"BackOff({self.backoff.base}, {self.backoff.max})"

    @property
    def interval(self):
        """What the next wait stays below."""
        return self.backoff.interval

    def next(self):
        """The next wait."""
        cdef mc_random drawn
        cdef uint64_t value
        if self.backoff.base == 0:
            raise TypeError("BackOff.__init__ was not called")
        if self.random is None:
            return mc_backoff_next(&self.backoff, &self.generator)
        value = PyLong_AsUnsignedLongLongMask(self.random())
        drawn.draw = given
        drawn.ctx = &value
        return mc_backoff_next(&self.backoff, &drawn)

    def reset(self):
        """Back to the base interval, after a success."""
        mc_backoff_reset(&self.backoff)
