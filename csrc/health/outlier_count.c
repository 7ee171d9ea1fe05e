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

/* OD-2. */
static unsigned put_code(mc_outlier_host *host, const mc_outlier_config *config, unsigned code) {
    unsigned reports = 0;
    bump(&host->external.total);
    if (code < 500 || code > 599) {
        bump(&host->external.success);
        reset(&host->consecutive_5xx);
        reset(&host->consecutive_gateway);
        return 0;
    }
    if (code >= 502 && code <= 504) {
        reports = count_failure(&host->consecutive_gateway, config->consecutive_gateway,
                                MC_OUTLIER_CONSECUTIVE_GATEWAY_FAILURE);
    } else {
        reset(&host->consecutive_gateway);
    }
    return reports | count_failure(&host->consecutive_5xx, config->consecutive_5xx, MC_OUTLIER_CONSECUTIVE_5XX);
}

static unsigned put_local(mc_outlier_host *host, const mc_outlier_config *config, bool success) {
    bump(&host->local.total);
    if (!success) {
        return count_failure(&host->consecutive_local, config->consecutive_local,
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
    case MC_OUTLIER_REQUEST_SUCCESS: return 200;
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
    case MC_OUTLIER_REQUEST_SUCCESS: return put_code(host, config, code != 0 ? code : 200);
    }
    return 0;
}

unsigned mc_outlier_put(mc_outlier_host *host, const mc_outlier_config *config, mc_outlier_event event, unsigned code) {
    if (config->split) {
        return put_split(host, config, event, code);
    }
    code = code != 0 ? code : code_of(event);
    return code != 0 ? put_code(host, config, code) : 0;
}
