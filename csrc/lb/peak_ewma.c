#include "lb/peak_ewma.h"

#include <math.h>

#include "lb/balancer.h"

/* --- the average ------------------------------------------------------------------------------------------------------------ */

/* No bits at all: the host has no estimate yet. One that has fallen to zero is kept as minus zero. */
static double load_double(const _Atomic uint64_t *bits) {
    uint64_t raw = atomic_load_explicit(bits, memory_order_relaxed);
    double value;
    memcpy(&value, &raw, sizeof value);
    return fabs(value);
}

static void store(mc_host *host, double estimate, uint64_t now_ns) {
    const double kept = estimate == 0 ? -0.0 : estimate;
    uint64_t raw;
    memcpy(&raw, &kept, sizeof raw);
    atomic_store_explicit(&host->peak_bits, raw, memory_order_relaxed);
    atomic_store_explicit(&host->peak_updated_ns, now_ns, memory_order_relaxed);
}

/* Workers' clocks are a moment apart: time never runs back. */
static double decay_since(const mc_host *host, const mc_peak_config *config, uint64_t now_ns) {
    uint64_t updated = atomic_load_explicit(&host->peak_updated_ns, memory_order_relaxed);
    return now_ns <= updated ? 1.0 : exp(-(double)(now_ns - updated) / (double)config->decay_ns);
}

void mc_peak_start(mc_host *host, const mc_peak_config *config, uint64_t now_ns) {
    if (atomic_load_explicit(&host->peak_bits, memory_order_relaxed) == 0) {
        store(host, (double)config->default_rtt_ns, now_ns);
    }
}

double mc_peak_estimate(const mc_host *host, const mc_peak_config *config, uint64_t now_ns) {
    return load_double(&host->peak_bits) * decay_since(host, config, now_ns);
}

/* PE-3. */
static void observe(mc_host *host, const mc_peak_config *config, double rtt, uint64_t now_ns) {
    const double estimate = load_double(&host->peak_bits), d = decay_since(host, config, now_ns);
    store(host, estimate < rtt ? rtt : estimate * d + rtt * (1.0 - d), now_ns);
}

/* PE-7: peaks against what the estimate has fallen to; what is not newer is dropped. */
static void add_peak(mc_host *host, const mc_peak_config *config, double rtt, uint64_t now_ns) {
    if (now_ns <= atomic_load_explicit(&host->peak_updated_ns, memory_order_relaxed)) {
        return;
    }
    const double estimate = load_double(&host->peak_bits), d = decay_since(host, config, now_ns);
    store(host, estimate * d < rtt ? rtt : estimate * d + rtt * (1.0 - d), now_ns);
}

double mc_peak_load(mc_host *host, const mc_peak_config *config, uint64_t now_ns) {
    if (config->penalty_ns == 0) {
        observe(host, config, 0, now_ns);
    }
    const uint32_t pending = atomic_load_explicit(&host->pending, memory_order_relaxed);
    return mc_peak_estimate(host, config, now_ns) * ((double)pending + 1);
}

void mc_peak_observe(mc_host *host, const mc_peak_config *config, uint64_t rtt_ns, uint64_t now_ns) {
    mc_peak_start(host, config, now_ns);
    if (config->penalty_ns == 0) {
        observe(host, config, (double)rtt_ns, now_ns);
    } else {
        add_peak(host, config, (double)rtt_ns, now_ns);
    }
}

/* --- failures ------------------------------------------------------------------------------------------------------------------ */

/* Failures by which a server may say when to come back: 429, 503, RESOURCE_EXHAUSTED, UNAVAILABLE. */
static bool hinted(const mc_peak_answer *answer) {
    return answer->status == 429 || answer->status == 503 || answer->grpc_status == 8 || answer->grpc_status == 14;
}

/* The others: no answer at all, 5xx, UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, DATA_LOSS. */
static bool failed(const mc_peak_answer *answer) {
    switch (answer->grpc_status) {
    case 2:
    case 4:
    case 13:
    case 15: return true;
    default: return answer->status == 0 || answer->status >= 500;
    }
}

enum { MAX_PENALTY_MS = 300 * 1000 };

/* What a failure costs; 0: it is none. */
static uint64_t penalty_of(const mc_peak_config *config, const mc_peak_answer *answer) {
    static const uint64_t ms = 1000000;
    if (!hinted(answer)) {
        return failed(answer) ? config->penalty_ns : 0;
    }
    const uint64_t asked = answer->has_retry_after ? answer->retry_after_ms : 0;
    const uint64_t asked_ns = (asked < MAX_PENALTY_MS ? asked : MAX_PENALTY_MS) * ms;
    return asked_ns > config->penalty_ns ? asked_ns : config->penalty_ns;
}

bool mc_peak_is_failure(const mc_peak_config *config, const mc_peak_answer *answer) {
    return config->penalty_ns != 0 && penalty_of(config, answer) != 0;
}

void mc_peak_answered(mc_host *host, const mc_peak_config *config, const mc_peak_answer *answer, uint64_t rtt_ns,
                      uint64_t now_ns) {
    const uint64_t penalty = config->penalty_ns == 0 ? 0 : penalty_of(config, answer);
    if (penalty == 0) {
        mc_peak_observe(host, config, rtt_ns, now_ns);
        return;
    }
    mc_peak_start(host, config, now_ns);
    add_peak(host, config, fmax((double)penalty, mc_peak_estimate(host, config, now_ns)), now_ns);
}

/* --- the policy: the better of two ------------------------------------------------------------------------------------------- */

static uint64_t now_ns(const mc_lb *lb) { return lb->now_ms * 1000000; }

/* PE-1. */
static mc_host *pick(mc_lb *lb, mc_lb_priority *priority, size_t source, uint64_t draw) {
    const mc_host_list list = priority->sources[source].list;
    const mc_peak_config *config = &lb->config.peak;
    if (list.count == 1) {
        return list.items[0];
    }
    uint64_t a = mc_random_next(lb->random) % list.count, b = mc_random_next(lb->random) % (list.count - 1);
    b += b >= a;
    return mc_peak_load(list.items[a], config, now_ns(lb)) <= mc_peak_load(list.items[b], config, now_ns(lb))
               ? list.items[a]
               : list.items[b];
}

static void see(mc_lb *lb, mc_host_list list) {
    for (size_t i = 0; i < list.count; i++) {
        mc_peak_start(list.items[i], &lb->config.peak, now_ns(lb));
    }
}

const mc_policy mc_policy_peak_ewma = {.pick = pick, .see = see};
