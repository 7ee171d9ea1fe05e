# cython: embedsignature=True, embedsignature.format=clinic
"""Consistent-hash tables and the EDF scheduler: the face of csrc/lb, no gateway needed."""

from collections.abc import Mapping

cimport cython
from cpython.exc cimport PyErr_Clear, PyErr_Occurred
from libc.math cimport INFINITY
from libc.stdint cimport UINT32_MAX, UINT64_MAX, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc

from meshcore._core.cbase cimport MC_ENOTFOUND, MC_OK, mc_slice, mc_slice_of, mc_status

__all__ = ["EdfScheduler", "Maglev", "RingHash"]


cdef extern from "Python.h":
    # Declared without an exception value: the caller looks for the error.
    unsigned long PyLong_AsUnsignedLong(object number) noexcept

cdef extern from "base/defaults.h" nogil:
    const uint64_t MC_MAX_RING_MINIMUM_SIZE
    const uint64_t MC_MAX_RING_MAXIMUM_SIZE
    const uint64_t MC_MAX_MAGLEV_TABLE_SIZE

cdef extern from "lb/weights.h" nogil:
    ctypedef struct mc_hash_host:
        mc_slice key
        double share
    double mc_share(uint32_t weight, double locality_share, uint64_t sum)

cdef extern from "lb/ring_hash.h" nogil:
    ctypedef struct mc_ring:
        size_t count
    ctypedef struct mc_ring_options:
        uint64_t min_size
        uint64_t max_size
        bint murmur
    mc_status mc_ring_build(
        const mc_hash_host *hosts, size_t count, const mc_ring_options *options, mc_ring **out
    )
    void mc_ring_free(mc_ring *ring)
    size_t mc_ring_pick(const mc_ring *ring, uint64_t hash, uint32_t attempt)

cdef extern from "lb/maglev.h" nogil:
    ctypedef struct mc_maglev:
        uint64_t size
    bint mc_maglev_size_ok(uint64_t size)
    mc_status mc_maglev_build(
        const mc_hash_host *hosts, size_t count, uint64_t size, mc_maglev **out
    )
    void mc_maglev_free(mc_maglev *maglev)
    uint32_t mc_maglev_at(const mc_maglev *maglev, uint64_t slot)
    size_t mc_maglev_pick(const mc_maglev *maglev, uint64_t hash, uint32_t attempt)

cdef extern from "lb/edf.h" nogil:
    ctypedef double (*mc_edf_weight)(void *ctx, uint32_t item) noexcept nogil
    ctypedef struct mc_edf:
        size_t count
    void mc_edf_init(mc_edf *edf)
    void mc_edf_fini(mc_edf *edf)
    mc_status mc_edf_add(mc_edf *edf, double weight, uint32_t item)
    mc_status mc_edf_seed(
        mc_edf *edf, size_t count, mc_edf_weight weight, void *ctx, uint64_t seed
    )
    bint mc_edf_pick(mc_edf *edf, mc_edf_weight weight, void *ctx, uint32_t *item)
    mc_status mc_edf_peek(mc_edf *edf, mc_edf_weight weight, void *ctx, uint32_t *item)


cdef int check(mc_status status) except -1:
    if status != MC_OK:
        raise MemoryError()
    return 0


def _weight(value):
    """The value as a float; ValueError unless finite and above 0."""
    try:
        weight = float(value)
    except (TypeError, ValueError):
        weight = 0.0
    if not 0.0 < weight < INFINITY:
        raise ValueError(f"weight must be a finite number above 0, not {value!r}")
    return weight


def _integer(value, name, low, high):
    """The value, an int between the bounds; ValueError names the argument."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"{name} must be an integer between {low} and {high}, not {value!r}")
    return value


@cython.final
cdef class _Fleet:
    """The hosts of a table as the core wants them; keeps their bytes alive."""

    cdef tuple hosts
    cdef list keys
    cdef mc_hash_host *table
    cdef size_t count

    def __cinit__(self, hosts):
        if isinstance(hosts, Mapping):
            hosts = hosts.items()
        if isinstance(hosts, str):
            raise ValueError(f"hosts must be a list of pairs (address, weight), not {hosts!r}")
        self.hosts = tuple([self.checked(i, host) for i, host in enumerate(hosts)])
        self.count = len(self.hosts)
        if self.count == 0:
            raise ValueError("hosts must not be empty")
        total = sum([weight for _, weight in self.hosts])
        if total > 0xFFFFFFFF:
            raise ValueError(f"hosts: the weights must add up to at most 4294967295, not {total}")
        self.table = <mc_hash_host *>malloc(self.count * sizeof(mc_hash_host))
        if self.table == NULL:
            raise MemoryError()
        self.keys = [address.encode("utf-8", "surrogateescape") for address, _ in self.hosts]
        for i in range(self.count):
            key = self.keys[i]
            self.table[i].key = mc_slice_of(<const char *><bytes>key, len(<bytes>key))
            self.table[i].share = mc_share(self.hosts[i][1], 1.0, total)

    def __dealloc__(self):
        free(self.table)

    cdef checked(self, index, host):
        if isinstance(host, str):
            return host, 1
        if isinstance(host, Mapping) and "address" in host:
            host = host["address"], host.get("weight", 1)
        try:
            address, weight = host
        except (TypeError, ValueError):
            raise ValueError(
                f"hosts[{index}] must be a pair (address, weight), not {host!r}"
            ) from None
        if not isinstance(address, str):
            raise ValueError(f"hosts[{index}]: the address must be a str, not {address!r}")
        return address, _integer(weight, f"hosts[{index}]: the weight", 1, 0xFFFFFFFF)


cdef inline uint64_t as_unsigned(value, name, uint64_t high) except? 0:
    """The usual int is converted in one step; whatever cannot be is explained out of line."""
    cdef unsigned long number = PyLong_AsUnsignedLong(value)
    if number > high or (number == <unsigned long>-1 and PyErr_Occurred() != NULL):
        PyErr_Clear()
        _integer(value, name, 0, high)
    return number


@cython.final
cdef class RingHash:
    """RingHash(hosts, *, minimum_ring_size=1024, maximum_ring_size=8388608,
    hash_function="XX_HASH")

    A ketama ring that picks the host Envoy's RING_HASH picks for the same hosts and hash.

    Each host owns points on a circle of 64-bit hashes, in proportion to its weight; a request
    goes to the owner of the first point at or after its own hash. Envoy hashes a request with
    `meshcore.xxh64` of, say, a header's value.

    hosts: pairs (address, weight), addresses alone, or a mapping of addresses to weights. The
        address, such as "10.0.0.1:8080", is what is hashed; the weight is an integer of at least 1.
        At least one host; the weights add up to at most 2**32 - 1.
    minimum_ring_size: points the ring has at least, 1 to 8388608. More points spread the load more
        evenly; each takes 12 bytes.
    maximum_ring_size: points the ring has at most, minimum_ring_size to 8388608.
    hash_function: "XX_HASH" or "MURMUR_HASH_2", of the points.

    Building releases the GIL. The ring never changes afterwards and may be shared by any number
    of threads. `len(ring)` is its number of points. ValueError names the argument that is wrong.

    Rules: Envoy's `envoy.config.cluster.v3.Cluster.RingHashLbConfig`.
    """

    cdef mc_ring *ring
    cdef _Fleet fleet

    def __init__(
        self,
        hosts,
        *,
        minimum_ring_size=1024,
        maximum_ring_size=8388608,
        hash_function="XX_HASH",
    ):
        if self.ring != NULL:
            raise TypeError("a RingHash is built once")
        cdef mc_ring_options options
        cdef mc_status status
        cdef mc_ring *ring = NULL
        options.min_size = _integer(
            minimum_ring_size, "minimum_ring_size", 1, MC_MAX_RING_MINIMUM_SIZE
        )
        options.max_size = _integer(
            maximum_ring_size, "maximum_ring_size", minimum_ring_size, MC_MAX_RING_MAXIMUM_SIZE
        )
        if hash_function not in ("XX_HASH", "MURMUR_HASH_2"):
            raise ValueError(
                f'hash_function must be "XX_HASH" or "MURMUR_HASH_2", not {hash_function!r}'
            )
        options.murmur = hash_function == "MURMUR_HASH_2"
        cdef _Fleet fleet = _Fleet(hosts)
        with nogil:
            status = mc_ring_build(fleet.table, fleet.count, &options, &ring)
        check(status)
        self.fleet = fleet
        self.ring = ring

    cdef int built(self) except -1:
        if self.ring == NULL:
            raise TypeError("RingHash.__init__ was not called")
        return 0

    def __dealloc__(self):
        mc_ring_free(self.ring)

    def __len__(self):
        self.built()
        return self.ring.count

    @property
    def hosts(self):
        """The (address, weight) pairs the ring was built of, by index."""
        self.built()
        return self.fleet.hosts

    @cython.binding(False)
    def pick(self, hash, attempt=0):
        """The index, in the hosts given, of the host for a 64-bit hash.

        attempt: 1, 2, ... for the host to try when those of the earlier attempts are refused (it
            may be the same one again).
        """
        self.built()
        return mc_ring_pick(
            self.ring,
            as_unsigned(hash, "hash", UINT64_MAX),
            <uint32_t>as_unsigned(attempt, "attempt", UINT32_MAX),
        )

    def host(self, hash, attempt=0):
        """The address of the host that `pick` picks.
        """
        return self.fleet.hosts[self.pick(hash, attempt)][0]


@cython.final
cdef class Maglev:
    """Maglev(hosts, *, table_size=65537)

    A Maglev table that picks the host Envoy's MAGLEV picks for the same hosts and hash.

    The table gives each host slots in proportion to its weight; a request takes the slot of its
    hash. A pick costs one memory access whatever the number of hosts, and the load is spread more
    evenly than by a ring; when a host leaves, a few more requests move than its own.

    hosts: pairs (address, weight), addresses alone, or a mapping of addresses to weights. The
        address, such as "10.0.0.1:8080", is what is hashed; the weight is an integer of at least 1.
        At least one host; the weights add up to at most 2**32 - 1.
    table_size: number of slots, a prime between 2 and 5000011. Take at least a hundred times the
        number of hosts.

    Building releases the GIL. The table never changes afterwards and may be shared by any number
    of threads. `len(maglev)` is its number of slots. ValueError names the argument that is wrong.

    Rules: Envoy's `envoy.config.cluster.v3.Cluster.MaglevLbConfig`.
    """

    cdef mc_maglev *maglev
    cdef _Fleet fleet

    def __init__(self, hosts, *, table_size=65537):
        if self.maglev != NULL:
            raise TypeError("a Maglev is built once")
        cdef mc_status status
        cdef mc_maglev *maglev = NULL
        cdef uint64_t size = _integer(table_size, "table_size", 2, MC_MAX_MAGLEV_TABLE_SIZE)
        if not mc_maglev_size_ok(size):
            raise ValueError(f"table_size must be a prime number, not {size}")
        cdef _Fleet fleet = _Fleet(hosts)
        with nogil:
            status = mc_maglev_build(fleet.table, fleet.count, size, &maglev)
        check(status)
        self.fleet = fleet
        self.maglev = maglev

    cdef int built(self) except -1:
        if self.maglev == NULL:
            raise TypeError("Maglev.__init__ was not called")
        return 0

    def __dealloc__(self):
        mc_maglev_free(self.maglev)

    def __len__(self):
        self.built()
        return self.maglev.size

    @property
    def hosts(self):
        """The (address, weight) pairs the table was built of, by index."""
        self.built()
        return self.fleet.hosts

    @property
    def table(self):
        """The whole table, a new list: the host's index for each slot."""
        cdef uint64_t slot
        self.built()
        return [mc_maglev_at(self.maglev, slot) for slot in range(self.maglev.size)]

    @cython.binding(False)
    def pick(self, hash, attempt=0):
        """The index, in the hosts given, of the host for a 64-bit hash.

        attempt: 1, 2, ... for the host to try when those of the earlier attempts are refused (it
            may be the same one again).
        """
        self.built()
        return mc_maglev_pick(
            self.maglev,
            as_unsigned(hash, "hash", UINT64_MAX),
            <uint32_t>as_unsigned(attempt, "attempt", UINT32_MAX),
        )

    def host(self, hash, attempt=0):
        """The address of the host that `pick` picks.
        """
        return self.fleet.hosts[self.pick(hash, attempt)][0]


cdef double weight_of(void *ctx, uint32_t item) noexcept nogil:
    return (<const double *>ctx)[item]


@cython.final
cdef class EdfScheduler:
    """EdfScheduler(items=(), *, seed=None)

    Earliest-deadline-first scheduler: picks each item in proportion to its weight, in the order of
    Envoy's weighted round robin. Adding and picking take time logarithmic in the number of items.

    items: pairs (weight, item) to start with. Weights are finite numbers above 0.
    seed: an integer from 0 to 2**64 - 1: the scheduler starts as if a number of picks derived from
        it had been made, so that many schedulers over the same items do not all begin with the
        same one (Envoy draws one for each worker). None: start at the beginning.

    `len(scheduler)` is its number of items. Each method is atomic, with the GIL and without it, so
    threads may share a scheduler; each pick goes to one of them. ValueError names the argument that
    is wrong.
    """

    cdef mc_edf edf
    cdef double *weights
    cdef size_t cap
    cdef list items

    def __cinit__(self):
        mc_edf_init(&self.edf)
        self.items = []

    def __init__(self, items=(), *, seed=None):
        if self.items:
            raise TypeError("an EdfScheduler is built once")
        if seed is None:
            for weight, item in items:
                self.add(weight, item)
            return
        cdef uint64_t start = _integer(seed, "seed", 0, 0xFFFFFFFFFFFFFFFF)
        for weight, item in items:
            self.keep(weight, item)
        check(mc_edf_seed(&self.edf, len(self.items), weight_of, self.weights, start))

    def __dealloc__(self):
        mc_edf_fini(&self.edf)
        free(self.weights)

    cdef int keep(self, weight, item) except -1:
        """Stores an item and its weight as the next index, not yet scheduled."""
        cdef double value = _weight(weight)
        cdef size_t count = len(self.items)
        cdef double *grown
        if count == self.cap:
            grown = <double *>realloc(self.weights, (2 * count + 8) * sizeof(double))
            if grown == NULL:
                raise MemoryError()
            self.weights = grown
            self.cap = 2 * count + 8
        self.weights[count] = value
        self.items.append(item)
        return 0

    def __len__(self):
        return self.edf.count

    @cython.critical_section
    def add(self, weight, item):
        """Puts an item in; it is due 1 / weight after now.

        weight: a finite number above 0.
        item: any object; adding one twice makes it two items.
        """
        self.keep(weight, item)
        cdef size_t index = len(self.items) - 1
        if mc_edf_add(&self.edf, self.weights[index], <uint32_t>index) != MC_OK:
            self.items.pop()
            raise MemoryError()

    @cython.binding(False)
    @cython.critical_section
    def pick(self):
        """The next item, which is put back at once; IndexError when there is none.

        Items that were peeked come first, in the order of peeking.
        """
        cdef uint32_t index = 0
        if not mc_edf_pick(&self.edf, weight_of, self.weights, &index):
            raise IndexError("pick from an empty EdfScheduler")
        return self.items[index]

    @cython.binding(False)
    @cython.critical_section
    def peek(self):
        """The item of the next pick; of the one after it when called again, and so on.

        IndexError when there is none.
        """
        cdef uint32_t index = 0
        cdef mc_status status = mc_edf_peek(&self.edf, weight_of, self.weights, &index)
        if status == MC_ENOTFOUND:
            raise IndexError("peek into an empty EdfScheduler")
        check(status)
        return self.items[index]
