/* Outlier detection, the workers' half: outcomes become counters (rules OD-2 to OD-4). */
#include "health/outlier.h"

static void bump(_Atomic uint32_t *counter) { atomic_fetch_add_explicit(counter, 1, memory_order_relaxed); }

static void reset(_Atomic uint32_t *counter) {
    /* Nearly always zero already: spare the cache line. */
    if (atomic_load_explicit(counter, memory_order_relaxed) != 0) {
        atomic_store_explicit(counter, 0, memory_order_relaxed);
    }
}

/* The report bit of `type` when this failure is the one that reaches the threshold. */
static unsigned count_failure(_Atomic uint32_t *counter, uint32_t threshold, mc_outlier_type type) {
    uint32_t count = atomic_fetch_add_explicit(counter, 1, memory_order_relaxed) + 1;
    return count == threshold ? 1u << type : 0;
}

/* Takes the degree one step up or down, between 0 and the threshold, which may have been greater. */
static unsigned put_degree(mc_outlier_host *host, uint32_t threshold, bool failed) {
    uint32_t degree = atomic_load_explicit(&host->degree, memory_order_relaxed), next;
    do {
        next = !failed ? degree - (degree > 0) : degree < threshold ? degree + 1 : threshold;
    } while (next != degree && !atomic_compare_exchange_weak(&host->degree, &degree, next));
    return failed && next != degree && next == threshold ? 1u << MC_OUTLIER_HEALTH_DEGREE : 0;
}

/* OD-2. */
static unsigned put_code(mc_outlier_host *host, const mc_outlier_config *config, unsigned code) {
    unsigned reports = 0;
    const bool failed = code >= 500 && code <= 599;
    bump(&host->external.total);
    if (config->degree_threshold != 0) {
        reports = put_degree(host, config->degree_threshold, failed);
    }
    if (!failed) {
        bump(&host->external.success);
        reset(&host->consecutive_5xx);
        reset(&host->consecutive_gateway);
        return reports;
    }
    if (code >= 502 && code <= 504) {
        reports |= count_failure(&host->consecutive_gateway, config->consecutive_gateway,
                                 MC_OUTLIER_CONSECUTIVE_GATEWAY_FAILURE);
    } else {
        reset(&host->consecutive_gateway);
    }
    return reports | count_failure(&host->consecutive_5xx, config->consecutive_5xx, MC_OUTLIER_CONSECUTIVE_5XX);
}

static unsigned put_local(mc_outlier_host *host, const mc_outlier_config *config, bool success) {
    bump(&host->local.total);
    if (!success) {
        unsigned reports = config->degree_threshold == 0 ? 0 : put_degree(host, config->degree_threshold, true);
        return reports | count_failure(&host->consecutive_local, config->consecutive_local,
                                       MC_OUTLIER_CONSECUTIVE_LOCAL_ORIGIN_FAILURE);
    }
    bump(&host->local.success);
    reset(&host->consecutive_local);
    return 0;
}

/* OD-3: the code that stands for an event without one; 0: the event does not count. */
static unsigned code_of(mc_outlier_event event) {
    switch (event) {
    case MC_OUTLIER_CONNECT_SUCCESS: return 0;
    case MC_OUTLIER_CONNECT_SUCCESS_FINAL:
    case MC_OUTLIER_REQUEST_SUCCESS:
    case MC_OUTLIER_REQUEST_DEGRADED: return 200;
    case MC_OUTLIER_CONNECT_FAILED: return 503;
    case MC_OUTLIER_TIMEOUT: return 504;
    case MC_OUTLIER_REQUEST_FAILED: return 500;
    }
    return 0;
}

/* OD-4. */
static unsigned put_split(mc_outlier_host *host, const mc_outlier_config *config, mc_outlier_event event,
                          unsigned code) {
    switch (event) {
    case MC_OUTLIER_CONNECT_SUCCESS:
    case MC_OUTLIER_CONNECT_SUCCESS_FINAL: return put_local(host, config, true);
    case MC_OUTLIER_TIMEOUT:
    case MC_OUTLIER_CONNECT_FAILED: return put_local(host, config, false);
    case MC_OUTLIER_REQUEST_FAILED: return put_code(host, config, code != 0 ? code : 503);
    case MC_OUTLIER_REQUEST_SUCCESS:
    case MC_OUTLIER_REQUEST_DEGRADED: return put_code(host, config, code != 0 ? code : 200);
    }
    return 0;
}

unsigned mc_outlier_put(mc_outlier_host *host, const mc_outlier_config *config, mc_outlier_event event, unsigned code) {
    unsigned degraded = event == MC_OUTLIER_REQUEST_DEGRADED && config->detect_degraded ? 1u << MC_OUTLIER_DEGRADED : 0;
    if (config->split) {
        return degraded | put_split(host, config, event, code);
    }
    code = code != 0 ? code : code_of(event);
    return code != 0 ? degraded | put_code(host, config, code) : 0;
}
