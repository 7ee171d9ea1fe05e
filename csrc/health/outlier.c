/* Outlier detection, the control side's half: ejecting, letting back, statistics (rules OD-6 to OD-12). */
#include "health/outlier.h"

#include <math.h>
#include <stdio.h>

#include "base/alloc.h"

#define NAME(name, stat) #name,
#define STAT(name, stat) #stat,
static const char *const TYPE_NAMES[] = {MC_OUTLIER_TYPES(NAME)};
static const char *const TYPE_STATS[] = {MC_OUTLIER_TYPES(STAT)};
#undef NAME
#undef STAT

const char *mc_outlier_type_name(mc_outlier_type type) {
    return type == MC_OUTLIER_DEGRADED ? "DEGRADED" : TYPE_NAMES[type];
}

void mc_outlier_stats_register(mc_outlier_stats *out, const mc_outlier_config *config, mc_stats *stats,
                               mc_slice stat_name, mc_slab *slab) {
    char prefix[320], name[64];
    int n = snprintf(prefix, sizeof prefix, "cluster.%.*s.outlier_detection.", MC_SLICE_ARG(stat_name));
    mc_slice under = mc_slice_of(prefix, (size_t)n < sizeof prefix ? (size_t)n : sizeof prefix - 1);
    out->slab = slab;
#define COUNTER(field) out->field = mc_stats_scoped(stats, MC_COUNTER, under, MC_SLICE(#field));
#define GAUGE(field)   out->field = mc_stats_scoped(stats, MC_GAUGE, under, MC_SLICE(#field));
    MC_OUTLIER_STATS(COUNTER, GAUGE)
#undef COUNTER
#undef GAUGE
    for (int type = 0; type < MC_OUTLIER_TYPE_COUNT; type++) {
        if (type == MC_OUTLIER_HEALTH_DEGREE && config->degree_threshold == 0) {
            out->detected[type] = out->enforced[type] = 0;
            continue;
        }
        snprintf(name, sizeof name, "ejections_detected_%s", TYPE_STATS[type]);
        out->detected[type] = mc_stats_scoped(stats, MC_COUNTER, under, mc_slice_cstr(name));
        snprintf(name, sizeof name, "ejections_enforced_%s", TYPE_STATS[type]);
        out->enforced[type] = mc_stats_scoped(stats, MC_COUNTER, under, mc_slice_cstr(name));
    }
}

void mc_outlier_stats_release(mc_outlier_stats *s) {
    if (s->slab == NULL) {
        return;
    }
#define RELEASE(field) mc_stats_release(s->slab->store, s->field);
    MC_OUTLIER_STATS(RELEASE, RELEASE)
#undef RELEASE
    for (int type = 0; type < MC_OUTLIER_TYPE_COUNT; type++) {
        mc_stats_release(s->slab->store, s->detected[type]);
        mc_stats_release(s->slab->store, s->enforced[type]);
    }
}

void mc_outlier_init(mc_outlier *o, const mc_outlier_config *config, const mc_outlier_stats *stats, mc_random *random,
                     mc_random *sampling, mc_outlier_listener listener, void *ctx) {
    *o = (mc_outlier){.config = *config,
                      .stats = *stats,
                      .random = random,
                      .sampling = sampling,
                      .listener = listener,
                      .ctx = ctx,
                      .success_rate_average = {-1, -1},
                      .success_rate_threshold = {-1, -1}};
}

static void count(const mc_outlier *o, mc_stat stat) {
    if (o->stats.slab != NULL) {
        mc_counter_inc(o->stats.slab, stat);
    }
}

static void set_active(mc_outlier *o, int64_t delta) {
    o->active += (uint64_t)delta;
    if (o->stats.slab != NULL) {
        mc_gauge_add(o->stats.slab, o->stats.ejections_active, delta);
    }
}

void mc_outlier_fini(mc_outlier *o) {
    set_active(o, -(int64_t)o->active);
    mc_hosts_unref(o->hosts);
    o->hosts = NULL;
}

static bool ejected(const mc_host *host) { return (atomic_load(&host->health_flags) & MC_FAILED_OUTLIER_CHECK) != 0; }

static void free_host(mc_outlier_host *host) { mc_free(host); }

static mc_status watch(mc_host *host) {
    if (host->outlier == NULL) {
        mc_outlier_host *state = mc_calloc(1, sizeof *state);
        if (state == NULL) {
            return MC_ENOMEM;
        }
        state->success_rate = state->local_success_rate = -1;
        host->outlier_free = free_host;
        host->outlier = state;
    }
    return MC_OK;
}

mc_status mc_outlier_set_hosts(mc_outlier *o, mc_hosts *hosts) {
    int64_t now_ejected = 0;
    for (size_t i = 0; i < mc_hosts_count(hosts); i++) {
        mc_status status = watch(mc_hosts_at(hosts, i));
        if (status != MC_OK) {
            return status;
        }
        now_ejected += ejected(mc_hosts_at(hosts, i));
    }
    /* Ejected hosts that left are no longer counted. */
    for (size_t i = 0; o->hosts != NULL && i < mc_hosts_count(o->hosts); i++) {
        now_ejected -= ejected(mc_hosts_at(o->hosts, i));
    }
    set_active(o, now_ejected);
    mc_hosts *old = o->hosts;
    o->hosts = mc_hosts_ref(hosts);
    mc_hosts_unref(old);
    return MC_OK;
}

static void tell(const mc_outlier *o, mc_host *host, mc_outlier_action action, mc_outlier_type type,
                 uint64_t since_ms) {
    if (o->listener != NULL) {
        o->listener(o->ctx, host, action, type, since_ms);
    }
}

typedef struct mc_outlier_spell spell;

/* How long a host has been back. */
static uint64_t back_for(const spell *s, uint64_t now_ms) { return s->over_ms == 0 ? UINT64_MAX : now_ms - s->over_ms; }

static void spell_begin(const mc_outlier *o, spell *s, uint64_t now_ms) {
    s->since_ms = now_ms;
    s->jitter_ms = mc_random_next(o->random) % (o->config.max_jitter_ms + 1);
    if (s->multiplier * o->config.base_ms < o->config.max_ms + o->config.base_ms) {
        s->multiplier++;
    }
}

static bool spell_due(const mc_outlier *o, const spell *s, uint64_t now_ms) {
    return now_ms - s->since_ms >= mc_outlier_ejection_ms(&o->config, s->multiplier) + s->jitter_ms;
}

/* OD-9. */
static void spell_decay(const mc_outlier *o, spell *s, uint64_t now_ms) {
    if (s->multiplier > 0 && now_ms - s->over_ms >= o->config.interval_ms) {
        s->multiplier--;
    }
}

/* Rule C-2. */
static bool sampled(mc_random *random, uint32_t percent) {
    return percent >= 100 || (percent > 0 && mc_random_next(random) % 100 < percent);
}

static bool allowed(const mc_outlier *o) {
    double percent = 100.0 * (double)(o->active + 1) / (double)mc_hosts_count(o->hosts);
    return percent <= o->config.max_ejection_percent || (o->config.always_eject_one && o->active == 0);
}

uint64_t mc_outlier_ejection_ms(const mc_outlier_config *config, uint32_t multiplier) {
    uint64_t ms = config->base_ms * multiplier;
    return ms < config->max_ms ? ms : config->max_ms;
}

static void enforce(mc_outlier *o, mc_host *host, mc_outlier_type type, uint64_t now_ms) {
    mc_outlier_host *state = host->outlier;
    set_active(o, 1);
    count(o, o->stats.ejections_enforced_total);
    count(o, o->stats.enforced[type]);
    atomic_fetch_or(&host->health_flags, MC_FAILED_OUTLIER_CHECK);
    state->ejections++;
    spell_begin(o, &state->ejection, now_ms);
    tell(o, host, MC_OUTLIER_EJECT, type, back_for(&state->ejection, now_ms));
}

/* OD-7; true when the host was ejected. */
static bool eject(mc_outlier *o, mc_host *host, mc_outlier_type type, uint64_t now_ms) {
    if (!allowed(o)) {
        count(o, o->stats.ejections_overflow);
        return false;
    }
    if (type == MC_OUTLIER_CONSECUTIVE_5XX || type == MC_OUTLIER_SUCCESS_RATE) {
        count(o, o->stats.ejections_total);
    }
    if (!sampled(o->sampling, o->config.enforcing[type])) {
        tell(o, host, MC_OUTLIER_WOULD_EJECT, type, back_for(&((mc_outlier_host *)host->outlier)->ejection, now_ms));
        return false;
    }
    enforce(o, host, type, now_ms);
    return true;
}

static bool is_member(const mc_outlier *o, const mc_host *host) {
    return o->hosts != NULL && host->outlier != NULL && mc_hosts_has(o->hosts, host);
}

static void reset_counter(mc_outlier_host *state, mc_outlier_type type) {
    switch (type) {
    case MC_OUTLIER_CONSECUTIVE_5XX: state->consecutive_5xx = 0; break;
    case MC_OUTLIER_CONSECUTIVE_GATEWAY_FAILURE: state->consecutive_gateway = 0; break;
    case MC_OUTLIER_CONSECUTIVE_LOCAL_ORIGIN_FAILURE: state->consecutive_local = 0; break;
    case MC_OUTLIER_HEALTH_DEGREE: state->degree = 0; break;
    default: break;
    }
}

static bool degraded(const mc_host *host) {
    return (atomic_load(&host->health_flags) & MC_DEGRADED_OUTLIER_DETECTION) != 0;
}

/* OD-13. */
static bool degrade(mc_outlier *o, mc_host *host, uint64_t now_ms) {
    mc_outlier_host *state = host->outlier;
    if (degraded(host)) {
        return false;
    }
    count(o, o->stats.ejections_detected_degradation);
    atomic_fetch_or(&host->health_flags, MC_DEGRADED_OUTLIER_DETECTION);
    spell_begin(o, &state->degradation, now_ms);
    tell(o, host, MC_OUTLIER_EJECT, MC_OUTLIER_DEGRADED, back_for(&state->ejection, now_ms));
    return true;
}

static bool undegrade(mc_outlier *o, mc_host *host, uint64_t now_ms) {
    mc_outlier_host *state = host->outlier;
    if (!degraded(host) || !spell_due(o, &state->degradation, now_ms)) {
        return false;
    }
    atomic_fetch_and(&host->health_flags, ~(uint32_t)MC_DEGRADED_OUTLIER_DETECTION);
    state->degradation.over_ms = now_ms;
    /* Told is when it was ejected last, if ever. */
    tell(o, host, MC_OUTLIER_UNEJECT, MC_OUTLIER_CONSECUTIVE_5XX,
         state->ejections == 0 ? UINT64_MAX : now_ms - state->ejection.since_ms);
    return true;
}

bool mc_outlier_report(mc_outlier *o, mc_host *host, mc_outlier_type type, uint64_t now_ms) {
    if (!is_member(o, host)) {
        return false;
    }
    if (type == MC_OUTLIER_DEGRADED) {
        return degrade(o, host, now_ms);
    }
    if (ejected(host)) {
        return false;
    }
    count(o, o->stats.detected[type]);
    if (type == MC_OUTLIER_CONSECUTIVE_5XX) {
        count(o, o->stats.ejections_consecutive_5xx);
    }
    bool out = eject(o, host, type, now_ms);
    reset_counter(host->outlier, type);
    return out;
}

static void uneject(mc_outlier *o, mc_host *host, uint64_t now_ms) {
    mc_outlier_host *state = host->outlier;
    set_active(o, -1);
    atomic_fetch_and(&host->health_flags, ~(uint32_t)MC_FAILED_OUTLIER_CHECK);
    state->consecutive_5xx = 0;
    state->consecutive_gateway = 0;
    state->consecutive_local = 0;
    state->degree = o->config.degree_threshold > 0 ? o->config.degree_threshold - 1 : 0;
    state->ejection.over_ms = now_ms;
    tell(o, host, MC_OUTLIER_UNEJECT, MC_OUTLIER_CONSECUTIVE_5XX, now_ms - state->ejection.since_ms);
}

bool mc_outlier_check_passed(mc_outlier *o, mc_host *host, uint64_t now_ms) {
    if (!o->config.check_unejects || !is_member(o, host) || !ejected(host) ||
        (atomic_load(&host->health_flags) & MC_FAILED_ACTIVE_HC)) {
        return false;
    }
    uneject(o, host, now_ms);
    return true;
}

/* What one host did in the interval on one channel; taken out of the live bucket (OD-11). */
typedef struct sample {
    mc_host *host;
    uint32_t total;
    double rate; /* percent; only with total > 0 */
} sample;

static sample take(mc_host *host, mc_outlier_bucket *bucket) {
    uint32_t total = atomic_exchange(&bucket->total, 0), success = atomic_exchange(&bucket->success, 0);
    return (sample){host, total, total > 0 ? 100.0 * success / total : 0};
}

static bool eject_by_success_rate(mc_outlier *o, const sample *samples, size_t n, bool local, uint64_t now_ms) {
    const mc_outlier_type type = local ? MC_OUTLIER_SUCCESS_RATE_LOCAL_ORIGIN : MC_OUTLIER_SUCCESS_RATE;
    double sum = 0, variance = 0;
    size_t candidates = 0;
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        if (samples[i].total >= o->config.success_volume) {
            sum += samples[i].rate;
            candidates++;
        }
    }
    if (candidates == 0 || candidates < o->config.success_minimum_hosts) {
        return false;
    }
    double mean = sum / (double)candidates;
    for (size_t i = 0; i < n; i++) {
        if (samples[i].total >= o->config.success_volume) {
            variance += (samples[i].rate - mean) * (samples[i].rate - mean);
        }
    }
    double threshold = mean - o->config.success_stdev / 1000.0 * sqrt(variance / (double)candidates);
    o->success_rate_average[local] = mean;
    o->success_rate_threshold[local] = threshold;
    for (size_t i = 0; i < n; i++) {
        if (samples[i].total >= o->config.success_volume && samples[i].rate < threshold) {
            count(o, o->stats.ejections_success_rate);
            count(o, o->stats.detected[type]);
            any |= eject(o, samples[i].host, type, now_ms);
        }
    }
    return any;
}

static bool eject_by_failures(mc_outlier *o, const sample *samples, size_t n, bool local, uint64_t now_ms) {
    const mc_outlier_type type = local ? MC_OUTLIER_FAILURE_PERCENTAGE_LOCAL_ORIGIN : MC_OUTLIER_FAILURE_PERCENTAGE;
    size_t candidates = 0;
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        candidates += samples[i].total >= o->config.failure_volume;
    }
    if (candidates == 0 || candidates < o->config.failure_minimum_hosts) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (samples[i].total >= o->config.failure_volume && 100.0 - samples[i].rate >= o->config.failure_threshold) {
            count(o, o->stats.detected[type]);
            any |= eject(o, samples[i].host, type, now_ms);
        }
    }
    return any;
}

/* OD-12 for one channel; `samples` has room for all hosts. */
static bool evaluate(mc_outlier *o, sample *samples, bool local, uint64_t now_ms) {
    size_t hosts = mc_hosts_count(o->hosts), n = 0;
    uint32_t volume =
        o->config.success_volume < o->config.failure_volume ? o->config.success_volume : o->config.failure_volume;
    bool enough = hosts >= o->config.success_minimum_hosts || hosts >= o->config.failure_minimum_hosts;
    o->success_rate_average[local] = o->success_rate_threshold[local] = -1;
    for (size_t i = 0; i < hosts; i++) {
        mc_host *host = mc_hosts_at(o->hosts, i);
        mc_outlier_host *state = host->outlier;
        sample s = take(host, local ? &state->local : &state->external);
        double *published = local ? &state->local_success_rate : &state->success_rate;
        *published = -1;
        if (enough && s.total > 0 && !ejected(host)) {
            *published = s.total >= volume ? s.rate : -1;
            samples[n++] = s;
        }
    }
    bool any = eject_by_success_rate(o, samples, n, local, now_ms);
    return eject_by_failures(o, samples, n, local, now_ms) || any;
}

static bool let_back(mc_outlier *o, mc_host *host, uint64_t now_ms) {
    if (!ejected(host) || !spell_due(o, &((mc_outlier_host *)host->outlier)->ejection, now_ms)) {
        return false;
    }
    uneject(o, host, now_ms);
    return true;
}

static void decay(const mc_outlier *o, mc_host *host, uint64_t now_ms) {
    mc_outlier_host *state = host->outlier;
    if (!ejected(host)) {
        spell_decay(o, &state->ejection, now_ms);
    }
    if (!degraded(host)) {
        spell_decay(o, &state->degradation, now_ms);
    }
}

bool mc_outlier_tick(mc_outlier *o, uint64_t now_ms) {
    size_t hosts = o->hosts == NULL ? 0 : mc_hosts_count(o->hosts);
    bool changed = false;
    for (size_t i = 0; i < hosts; i++) {
        changed |= let_back(o, mc_hosts_at(o->hosts, i), now_ms);
        changed |= undegrade(o, mc_hosts_at(o->hosts, i), now_ms);
    }
    sample *samples = hosts == 0 ? NULL : mc_malloc(hosts * sizeof *samples);
    if (samples != NULL) { /* out of memory: this interval's statistics wait for the next */
        changed |= evaluate(o, samples, false, now_ms);
        changed |= evaluate(o, samples, true, now_ms);
        mc_free(samples);
    }
    for (size_t i = 0; i < hosts; i++) {
        decay(o, mc_hosts_at(o->hosts, i), now_ms);
    }
    return changed;
}
