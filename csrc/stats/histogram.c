#include "stats/histogram.h"

#include <math.h>

#include "base/alloc.h"

const double mc_quantiles[MC_QUANTILES] = {0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1};
const double mc_default_bounds[MC_DEFAULT_BOUNDS] = {
    0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000,
};

static const uint64_t pow10_u64[MC_DECADES] = {
    1u,
    10u,
    100u,
    1000u,
    10000u,
    100000u,
    1000000u,
    10000000u,
    100000000u,
    1000000000u,
    10000000000u,
    100000000000u,
    1000000000000u,
    10000000000000u,
    100000000000000u,
    1000000000000000u,
    10000000000000000u,
    100000000000000000u,
    1000000000000000000u,
    10000000000000000000u,
};

/* floor(log10(value)), value > 0: 1233/4096 is log10(2) closely enough for 64 bits, then one correction. */
static unsigned decade_of(uint64_t value) {
    unsigned bits = 64u - (unsigned)__builtin_clzll(value);
    unsigned decade = bits * 1233u >> 12;
    return decade - (value < pow10_u64[decade]);
}

uint32_t mc_bin_id(uint64_t value) {
    if (value == 0) {
        return 0;
    }
    unsigned decade = decade_of(value);
    uint64_t mantissa = decade == 0 ? value * 10 : value / pow10_u64[decade - 1];
    return 1 + decade * MC_DECADE_BINS + (uint32_t)(mantissa - 10);
}

double mc_bin_left(uint32_t id) {
    if (id == 0) {
        return 0;
    }
    double mantissa = (double)((id - 1) % MC_DECADE_BINS + 10);
    return mantissa / 10.0 * (double)pow10_u64[(id - 1) / MC_DECADE_BINS];
}

double mc_bin_width(uint32_t id) { return id == 0 ? 0 : (double)pow10_u64[(id - 1) / MC_DECADE_BINS] / 10.0; }

mc_bins *mc_bins_new(void) { return mc_calloc(1, sizeof(mc_bins)); }

void mc_bins_free(mc_bins *bins) {
    for (unsigned i = 0; bins != NULL && i < MC_DECADES; i++) {
        mc_free(atomic_load_explicit(&bins->decades[i], memory_order_relaxed));
    }
    mc_free(bins);
}

static void add(_Atomic(uint64_t) *cell, uint64_t n) {
    atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + n, memory_order_relaxed);
}

void mc_bins_record(mc_bins *bins, uint64_t value) {
    uint32_t id = mc_bin_id(value);
    if (id == 0) {
        add(&bins->zero, 1);
        return;
    }
    unsigned at = (id - 1) / MC_DECADE_BINS;
    _Atomic(uint64_t) *decade = atomic_load_explicit(&bins->decades[at], memory_order_relaxed);
    if (MC_UNLIKELY(decade == NULL)) {
        decade = mc_calloc(MC_DECADE_BINS, sizeof *decade);
        if (decade == NULL) {
            return;
        }
        /* Release: a reader that sees the pointer sees the zeroed bins. */
        atomic_store_explicit(&bins->decades[at], decade, memory_order_release);
    }
    add(&decade[(id - 1) % MC_DECADE_BINS], 1);
}

void mc_bins_fold(mc_bins *to, mc_bins *from) {
    add(&to->zero, atomic_load_explicit(&from->zero, memory_order_relaxed));
    for (unsigned i = 0; i < MC_DECADES; i++) {
        _Atomic(uint64_t) *source = atomic_load_explicit(&from->decades[i], memory_order_relaxed);
        _Atomic(uint64_t) *target = atomic_load_explicit(&to->decades[i], memory_order_relaxed);
        if (source == NULL) {
            continue;
        }
        if (target == NULL) {
            atomic_store_explicit(&to->decades[i], source, memory_order_release);
            atomic_store_explicit(&from->decades[i], NULL, memory_order_relaxed);
            continue;
        }
        for (unsigned bin = 0; bin < MC_DECADE_BINS; bin++) {
            add(&target[bin], atomic_load_explicit(&source[bin], memory_order_relaxed));
        }
    }
    mc_bins_free(from);
}

void mc_bins_sum(const mc_bins *bins, uint64_t counts[MC_BIN_COUNT]) {
    counts[0] += atomic_load_explicit(&bins->zero, memory_order_relaxed);
    for (unsigned i = 0; i < MC_DECADES; i++) {
        const _Atomic(uint64_t) *decade = atomic_load_explicit(&bins->decades[i], memory_order_acquire);
        for (unsigned bin = 0; decade != NULL && bin < MC_DECADE_BINS; bin++) {
            counts[1 + i * MC_DECADE_BINS + bin] += atomic_load_explicit(&decade[bin], memory_order_relaxed);
        }
    }
}

void mc_histogram_quantiles(const mc_histogram *histogram, const double *q, size_t count, double *out) {
    size_t at = 0;
    double below = 0; /* samples in the bins before this one */
    for (size_t i = 0; i < count; i++) {
        if (histogram->samples == 0) {
            out[i] = NAN;
            continue;
        }
        double rank = fmax(1, ceil(q[i] * (double)histogram->samples));
        while (below + (double)histogram->bins[at].count < rank && at + 1 < histogram->bin_count) {
            below += (double)histogram->bins[at++].count;
        }
        const mc_bin *bin = &histogram->bins[at];
        out[i] = mc_bin_left(bin->id) + mc_bin_width(bin->id) * ((rank - below) / ((double)bin->count + 1));
    }
}

double mc_histogram_sum(const mc_histogram *histogram) {
    double sum = 0;
    for (size_t i = 0; i < histogram->bin_count; i++) {
        double left = mc_bin_left(histogram->bins[i].id), right = left + mc_bin_width(histogram->bins[i].id);
        if (right > 0) {
            sum += (double)histogram->bins[i].count * (2 * left * right / (left + right));
        }
    }
    return sum;
}

uint64_t mc_bucket_upto(mc_bucket_walk *walk, double bound) {
    const mc_histogram *histogram = walk->histogram;
    while (walk->at < histogram->bin_count && mc_bin_left(histogram->bins[walk->at].id) <= bound * walk->scale) {
        walk->running += histogram->bins[walk->at++].count;
    }
    return walk->running;
}
