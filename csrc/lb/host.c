#include "lb/host.h"

#include <stdio.h>

#include "base/alloc.h"

static const uint32_t UNHEALTHY_FLAGS =
    MC_FAILED_ACTIVE_HC | MC_FAILED_OUTLIER_CHECK | MC_FAILED_EDS_HEALTH | MC_EDS_STATUS_DRAINING;
static const uint32_t DEGRADED_FLAGS = MC_DEGRADED_ACTIVE_HC | MC_DEGRADED_EDS_HEALTH | MC_DEGRADED_OUTLIER_DETECTION;
static const uint32_t EXCLUDED_FLAGS =
    MC_PENDING_ACTIVE_HC | MC_EXCLUDED_VIA_IMMEDIATE_HC_FAIL | MC_EDS_STATUS_DRAINING;
static const uint32_t EDS_FLAGS = MC_FAILED_EDS_HEALTH | MC_DEGRADED_EDS_HEALTH | MC_EDS_STATUS_DRAINING;

/* HS-1: bit i is called FLAG_NAMES[i]. */
static const char *const FLAG_NAMES[] = {
    "failed_active_hc",    "failed_outlier_check",    "failed_eds_health",         "degraded_active_hc",
    "degraded_eds_health", "pending_dynamic_removal", "pending_active_hc",         "excluded_via_immediate_hc_fail",
    "active_hc_timeout",   "eds_status_draining",     "degraded_outlier_detection"};

/* Index is mc_eds_status; the flag as HS-3. */
static const struct {
    mc_slice name;
    uint32_t flag;
} EDS_STATUSES[] = {
    {MC_SLICE_INIT("UNKNOWN"), 0},
    {MC_SLICE_INIT("HEALTHY"), 0},
    {MC_SLICE_INIT("UNHEALTHY"), MC_FAILED_EDS_HEALTH},
    {MC_SLICE_INIT("DRAINING"), MC_EDS_STATUS_DRAINING},
    {MC_SLICE_INIT("TIMEOUT"), MC_FAILED_EDS_HEALTH},
    {MC_SLICE_INIT("DEGRADED"), MC_DEGRADED_EDS_HEALTH},
};

mc_health mc_health_of(uint32_t flags) {
    return flags & UNHEALTHY_FLAGS ? MC_UNHEALTHY : flags & DEGRADED_FLAGS ? MC_DEGRADED : MC_HEALTHY;
}

bool mc_health_excluded(uint32_t flags) { return (flags & EXCLUDED_FLAGS) != 0; }

mc_eds_status mc_health_reported(uint32_t flags, mc_eds_status eds_status) {
    if (flags & (MC_FAILED_ACTIVE_HC | MC_FAILED_OUTLIER_CHECK)) {
        return MC_EDS_UNHEALTHY;
    }
    switch (eds_status) {
    case MC_EDS_UNHEALTHY:
    case MC_EDS_DRAINING:
    case MC_EDS_TIMEOUT: return eds_status;
    case MC_EDS_UNKNOWN:
    case MC_EDS_HEALTHY:
    case MC_EDS_DEGRADED: break;
    }
    return flags & MC_DEGRADED_ACTIVE_HC ? MC_EDS_DEGRADED : eds_status;
}

mc_health mc_host_health(const mc_host *host) {
    return mc_health_of(atomic_load_explicit(&host->health_flags, memory_order_relaxed));
}

size_t mc_host_flags_text(uint32_t flags, char *out, size_t n) {
    size_t at = 0;
    if (n == 0) {
        return 0;
    }
    out[0] = '\0';
    for (size_t i = 0; i < sizeof FLAG_NAMES / sizeof *FLAG_NAMES && at < n - 1; i++) {
        if (flags & (1u << i)) {
            at += (size_t)snprintf(out + at, n - at, "/%s", FLAG_NAMES[i]);
        }
    }
    if (flags == 0) {
        at = (size_t)snprintf(out, n, "healthy");
    }
    return at < n ? at : n - 1;
}

mc_status mc_eds_status_parse(mc_slice name, mc_eds_status *out) {
    for (size_t i = 0; i < sizeof EDS_STATUSES / sizeof *EDS_STATUSES; i++) {
        if (mc_slice_eq(name, EDS_STATUSES[i].name)) {
            *out = (mc_eds_status)i;
            return MC_OK;
        }
    }
    return MC_EINVAL;
}

static mc_slice put(char **at, mc_slice text) {
    mc_slice copy = {*at, text.n};
    if (text.n > 0) {
        memcpy(*at, text.p, text.n);
    }
    (*at)[text.n] = '\0';
    *at += text.n + 1;
    return copy;
}

static void register_stats(mc_host *host, mc_slice cluster_name, mc_stats *stats) {
    char prefix[512];
    int n = snprintf(prefix, sizeof prefix, "~host.%.*s.%.*s.", MC_SLICE_ARG(cluster_name),
                     MC_SLICE_ARG(host->address_text));
    mc_slice under = mc_slice_of(prefix, (size_t)n < sizeof prefix ? (size_t)n : sizeof prefix - 1);
#define COUNTER(name) host->stats.name = mc_stats_scoped(stats, MC_COUNTER, under, MC_SLICE(#name));
#define GAUGE(name)   host->stats.name = mc_stats_scoped(stats, MC_GAUGE, under, MC_SLICE(#name));
    MC_HOST_STATS(COUNTER, GAUGE)
#undef COUNTER
#undef GAUGE
    host->stats_store = mc_stats_ref(stats);
}

/* With the host goes the last that counted for it, unless another host of the same address does. */
static void release_stats(mc_host *host) {
#define RELEASE(name) mc_stats_release(host->stats_store, host->stats.name);
    MC_HOST_STATS(RELEASE, RELEASE)
#undef RELEASE
    mc_stats_unref(host->stats_store);
}

mc_host *mc_host_new(const mc_host_spec *spec, const mc_lb_config *config, mc_slice cluster_name, mc_stats *stats) {
    size_t text =
        spec->address_text.n + spec->hostname.n + spec->region.n + spec->zone.n + spec->sub_zone.n + spec->check.n + 6;
    mc_host *host = mc_calloc(1, sizeof *host + text);
    if (host == NULL) {
        return NULL;
    }
    char *at = (char *)(host + 1);
    atomic_init(&host->refs, 1);
    host->address = spec->address;
    host->address_text = put(&at, spec->address_text);
    host->hostname = put(&at, spec->hostname);
    host->region = put(&at, spec->region);
    host->zone = put(&at, spec->zone);
    host->sub_zone = put(&at, spec->sub_zone);
    host->check = put(&at, spec->check);
    atomic_init(&host->health_flags, spec->initial_flags);
    if (spec->address_count > 0) {
        host->addresses = mc_address_list_new(spec->addresses, spec->address_count, config->happy_first_family,
                                              config->happy_first_count);
        if (host->addresses == NULL) {
            mc_free(host);
            return NULL;
        }
    }
    if (stats != NULL) {
        register_stats(host, cluster_name, stats);
    }
    return host;
}

mc_host *mc_host_ref(mc_host *host) {
    atomic_fetch_add_explicit(&host->refs, 1, memory_order_relaxed);
    return host;
}

void mc_host_unref(mc_host *host) {
    if (host != NULL && atomic_fetch_sub_explicit(&host->refs, 1, memory_order_acq_rel) == 1) {
        if (host->outlier != NULL) {
            host->outlier_free(host->outlier);
        }
        if (host->stats_store != NULL) {
            release_stats(host);
        }
        mc_lb_metadata_unref(host->metadata);
        mc_address_list_unref(host->addresses);
        mc_free(host);
    }
}

bool mc_host_fits(const mc_host *host, const mc_host_spec *spec) {
    return mc_slice_eq(host->hostname, spec->hostname) && mc_slice_eq(host->region, spec->region) &&
           mc_slice_eq(host->zone, spec->zone) && mc_slice_eq(host->sub_zone, spec->sub_zone) &&
           mc_slice_eq(host->check, spec->check);
}

static bool same_metadata(const mc_lb_metadata *a, const mc_lb_metadata *b) {
    return a == NULL || b == NULL ? a == b : mc_slice_eq(a->text, b->text);
}

static mc_slice hash_key_of(const mc_lb_metadata *metadata) {
    const mc_value *key = metadata == NULL ? NULL : mc_lb_field(&metadata->object, MC_SLICE("hash_key"));
    return key != NULL && key->kind == MC_STRING ? key->string : MC_SLICE_NONE;
}

/* Nobody waits or fails while holding it, so spinning is short. */
static void lock_metadata(mc_host *host) {
    while (atomic_exchange_explicit(&host->metadata_locked, true, memory_order_acquire)) {
    }
}

static void unlock_metadata(mc_host *host) {
    atomic_store_explicit(&host->metadata_locked, false, memory_order_release);
}

mc_lb_metadata *mc_host_metadata(mc_host *host) {
    lock_metadata(host);
    mc_lb_metadata *metadata = host->metadata;
    if (metadata != NULL) {
        atomic_fetch_add_explicit(&metadata->refs, 1, memory_order_relaxed);
    }
    unlock_metadata(host);
    return metadata;
}

static void replace_metadata(mc_host *host, mc_lb_metadata *metadata) {
    lock_metadata(host);
    mc_lb_metadata *old = host->metadata;
    host->metadata = metadata;
    unlock_metadata(host);
    host->hash_key = hash_key_of(metadata);
    mc_lb_metadata_unref(old);
}

void mc_host_apply(mc_host *host, const mc_host_spec *spec, mc_lb_metadata *metadata) {
    const bool same = same_metadata(host->metadata, metadata);
    host->revision += !same || host->weight != spec->weight || host->locality_weight != spec->locality_weight ||
                      host->canary != spec->canary;
    if (same) {
        mc_lb_metadata_unref(metadata);
    } else {
        replace_metadata(host, metadata);
    }
    host->locality_weight = spec->locality_weight;
    host->weight = spec->weight;
    host->priority = spec->priority;
    host->canary = spec->canary;
    host->eds_status = (uint8_t)spec->eds_status;
    /* Other bits may be changing at the same time, and nobody may see the status between old and new. */
    uint32_t flags = atomic_load(&host->health_flags);
    const uint32_t wanted =
        EDS_STATUSES[spec->eds_status].flag | (spec->pending_removal ? MC_PENDING_DYNAMIC_REMOVAL : 0);
    while (!atomic_compare_exchange_weak(&host->health_flags, &flags,
                                         (flags & ~(EDS_FLAGS | (uint32_t)MC_PENDING_DYNAMIC_REMOVAL)) | wanted)) {
    }
}

bool mc_host_set_weight(mc_host *host, uint32_t weight) {
    const bool changed = host->weight != weight;
    host->weight = weight;
    host->revision += changed;
    return changed;
}
