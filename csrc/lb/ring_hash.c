#include "lb/ring_hash.h"

#include <math.h>

#include "base/alloc.h"
#include "base/hash.h"

enum { INDEX_TEXT = 21, KEY_ON_STACK = 256, RADIX = 256 };

typedef struct point {
    uint64_t hash;
    uint32_t host;
} point;

/* Stable, so equal hashes keep the order of building. */
static void radix_pass(const point *from, point *to, size_t count, unsigned shift) {
    size_t start[RADIX] = {0}, sum = 0;
    for (size_t i = 0; i < count; i++) {
        start[(from[i].hash >> shift) & (RADIX - 1)]++;
    }
    for (size_t i = 0; i < RADIX; i++) {
        size_t n = start[i];
        start[i] = sum;
        sum += n;
    }
    for (size_t i = 0; i < count; i++) {
        to[start[(from[i].hash >> shift) & (RADIX - 1)]++] = from[i];
    }
}

/* An even number of passes: the result is in `points` again. */
static void sort(point *points, point *spare, size_t count) {
    for (unsigned shift = 0; shift < 64; shift += 16) {
        radix_pass(points, spare, count, shift);
        radix_pass(spare, points, count, shift + 8);
    }
}

/* `text` has the key and '_' in front and room for the digits of `index`. */
static uint64_t point_hash(char *text, size_t prefix, uint64_t index, bool murmur) {
    size_t n = prefix + mc_format_u64(text + prefix, index);
    return murmur ? mc_murmur64(text, n, MC_MURMUR_STD_SEED) : mc_xxh64(text, n, 0);
}

static size_t longest_key(const mc_hash_host *hosts, size_t count) {
    size_t longest = 0;
    for (size_t i = 0; i < count; i++) {
        longest = hosts[i].key.n > longest ? hosts[i].key.n : longest;
    }
    return longest;
}

/* RH-4: fractions of a point carry from host to host. */
static void place(mc_ring *ring, point *points, const mc_hash_host *hosts, size_t count, double scale, bool murmur,
                  char *text) {
    double current = 0.0, target = 0.0;
    ring->min_per_host = ring->size;
    for (size_t i = 0; i < count; i++) {
        size_t prefix = hosts[i].key.n;
        if (prefix > 0) {
            memcpy(text, hosts[i].key.p, prefix);
        }
        text[prefix++] = '_';
        target += scale * hosts[i].share;
        uint64_t index = 0;
        for (; current < target; current += 1.0, index++) {
            points[ring->count++] = (point){point_hash(text, prefix, index, murmur), (uint32_t)i};
        }
        ring->min_per_host = index < ring->min_per_host ? index : ring->min_per_host;
        ring->max_per_host = index > ring->max_per_host ? index : ring->max_per_host;
    }
}

/* About one point to each start, so that a lookup scans one or two points whatever the size of the ring. */
static mc_status index_points(mc_ring *ring) {
    unsigned bits = 1;
    while (((size_t)1 << bits) < ring->count) {
        bits++;
    }
    ring->shift = 64 - bits;
    ring->starts = mc_malloc(((size_t)1 << bits) * sizeof *ring->starts);
    if (ring->starts == NULL) {
        return MC_ENOMEM;
    }
    size_t at = 0;
    for (size_t i = 0; i < (size_t)1 << bits; i++) {
        while (at < ring->count && ring->hashes[at] >> ring->shift < i) {
            at++;
        }
        ring->starts[i] = (uint32_t)at;
    }
    return MC_OK;
}

static mc_status settle(mc_ring *ring, const point *points) {
    ring->hashes = mc_malloc(ring->count * sizeof *ring->hashes);
    ring->hosts = mc_malloc(ring->count * sizeof *ring->hosts);
    if (ring->hashes == NULL || ring->hosts == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < ring->count; i++) {
        ring->hashes[i] = points[i].hash;
        ring->hosts[i] = points[i].host;
    }
    return index_points(ring);
}

static mc_status fill(mc_ring *ring, const mc_hash_host *hosts, size_t count, double scale, bool murmur) {
    /* The sum of rounded shares may pass `scale` by a little, hence one point more. */
    size_t room = (size_t)ring->size + 1;
    size_t text_size = longest_key(hosts, count) + 1 + INDEX_TEXT;
    char on_stack[KEY_ON_STACK], *text = text_size <= sizeof on_stack ? on_stack : mc_malloc(text_size);
    point *points = mc_malloc(2 * room * sizeof *points);
    mc_status status = MC_ENOMEM;
    if (text != NULL && points != NULL) {
        place(ring, points, hosts, count, scale, murmur, text);
        sort(points, points + room, ring->count);
        status = settle(ring, points);
    }
    mc_free(points);
    if (text != on_stack) {
        mc_free(text);
    }
    return status;
}

mc_status mc_ring_build(const mc_hash_host *hosts, size_t count, const mc_ring_options *options, mc_ring **out) {
    mc_ring *ring = mc_calloc(1, sizeof *ring);
    if (ring == NULL) {
        return MC_ENOMEM;
    }
    if (count > 0 && options->min_size > 0 && options->max_size > 0) { /* else it is empty, and picks nobody */
        double min = mc_share_min(hosts, count);
        double scale = fmin(ceil(min * (double)options->min_size) / min, (double)options->max_size);
        ring->size = (uint64_t)ceil(scale);
        mc_status status = fill(ring, hosts, count, scale, options->murmur);
        if (status != MC_OK) {
            mc_ring_free(ring);
            return status;
        }
    }
    *out = ring;
    return MC_OK;
}

void mc_ring_free(mc_ring *ring) {
    if (ring != NULL) {
        mc_free(ring->hashes);
        mc_free(ring->hosts);
        mc_free(ring->starts);
        mc_free(ring);
    }
}

size_t mc_ring_pick(const mc_ring *ring, uint64_t hash, uint32_t attempt) {
    if (ring->count == 0) {
        return SIZE_MAX;
    }
    size_t at = ring->starts[hash >> ring->shift];
    while (at < ring->count && ring->hashes[at] < hash) {
        at++;
    }
    at = at == ring->count ? 0 : at;
    return ring->hosts[MC_LIKELY(attempt == 0) ? at : (at + attempt) % ring->count];
}
