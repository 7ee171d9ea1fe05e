/* Log-linear histograms: 90 bins to a decade (mantissa 1.0 to 9.9, two significant digits) and one for zero
 * (STAT-5).
 *
 * mc_bins is the recording side: one per (thread, histogram), written by its thread alone, growing only,
 * decades allocated when first touched. mc_histogram is the reading side: a merged, sorted, immutable list of
 * the bins that hold something.
 *
 * Bin ids are dense and ordered by value: 0 is the zero bin, 1 + 90*e + (m - 10) holds [m/10 * 10^e, (m+1)/10
 * * 10^e). */
#ifndef MC_STATS_HISTOGRAM_H
#define MC_STATS_HISTOGRAM_H

#include <stdatomic.h>

#include "base/slice.h"

enum { MC_DECADES = 20, MC_DECADE_BINS = 90, MC_BIN_COUNT = 1 + MC_DECADES * MC_DECADE_BINS };

typedef struct mc_bins {
    _Atomic(uint64_t) zero;
    _Atomic(uint64_t) *_Atomic decades[MC_DECADES];
} mc_bins;

MC_MUST_CHECK mc_bins *mc_bins_new(void);
void mc_bins_free(mc_bins *bins);
/* Owner only. The sample is dropped when a new decade cannot be allocated. */
void mc_bins_record(mc_bins *bins, uint64_t value);
/* Moves all counts of `from` into `to`; nobody may be writing to either. Never fails, frees `from`. */
void mc_bins_fold(mc_bins *to, mc_bins *from);
/* Adds the counts to `counts`, indexed by bin id; any thread. */
void mc_bins_sum(const mc_bins *bins, uint64_t counts[MC_BIN_COUNT]);

typedef struct mc_bin {
    uint64_t count; /* never 0 */
    uint32_t id;
} mc_bin;

typedef struct mc_histogram {
    mc_bin *bins; /* ascending ids */
    size_t bin_count;
    uint64_t samples; /* sum of the counts */
} mc_histogram;

uint32_t mc_bin_id(uint64_t value);
double mc_bin_left(uint32_t id);
double mc_bin_width(uint32_t id);

/* out[i] = quantile q[i] of the histogram, q ascending in [0, 1]; NaN when there is no sample. That is the
 * value of the ceil(q * samples)-th sample, where the n samples of a bin stand at 1/(n+1), 2/(n+1) ... of its
 * width: one sample of 157 reads as 155 at every quantile. */
void mc_histogram_quantiles(const mc_histogram *histogram, const double *q, size_t count, double *out);
/* Approximate: each sample counts as the harmonic middle of its bin (STAT-6). */
double mc_histogram_sum(const mc_histogram *histogram);
/* Cumulative bucket counts, bound by bound: start with {.histogram = h, .scale = 1} and ask for ascending
 * bounds. */
typedef struct mc_bucket_walk {
    const mc_histogram *histogram;
    double scale; /* bounds are multiplied by it: MC_PERCENT_SCALE for percent samples */
    size_t at;
    uint64_t running; /* samples so far */
} mc_bucket_walk;

/* Samples in the bins that begin at or below the bound: a sample on a bound counts into it, and a bin that a
 * bound cuts counts whole. */
uint64_t mc_bucket_upto(mc_bucket_walk *walk, double bound);

/* The quantiles of STAT-6 and the default bucket bounds of STAT-7. */
enum { MC_QUANTILES = 10, MC_DEFAULT_BOUNDS = 19 };
extern const double mc_quantiles[MC_QUANTILES];
extern const double mc_default_bounds[MC_DEFAULT_BOUNDS];

#endif
