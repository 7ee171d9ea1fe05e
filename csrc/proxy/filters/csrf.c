/* csrf (FL-12): a request that changes something must come from its own origin, or from one that is named. */
#include "http/uri.h"
#include "proxy/filters/kind.h"
#include "route/matcher.h"

#define STATS(X) X(missing_source_origin) X(request_invalid) X(request_valid)

typedef struct policy {
    mc_fraction enabled, shadow;
    mc_string_match *origins;
    uint32_t origin_count;
} policy;

typedef struct config {
    policy policy; /* first: a route's policy takes its place */
    struct {
        STATS(MC_STAT_FIELD)
    } stats;
} config;

static bool changes_something(mc_slice method) {
    static const char *const methods[] = {"POST", "PUT", "DELETE", "PATCH"};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (mc_slice_eq(method, mc_slice_cstr(methods[i]))) {
            return true;
        }
    }
    return false;
}

/* What is no URL stands for itself, and so is nobody's origin. */
static mc_slice host_and_port(mc_slice url) {
    mc_uri_absolute parts;
    return mc_uri_parse_absolute(url, &parts) == MC_OK ? parts.authority : url;
}

static mc_slice source_of(const mc_headers *headers) {
    mc_slice origin = mc_headers_get_known(headers, MC_H_ORIGIN);
    if (mc_slice_eq(origin, MC_SLICE("null"))) { /* RFC 6454 section 7.1: of no origin; the referer does not help */
        return MC_SLICE_NONE;
    }
    return host_and_port(origin.n > 0 ? origin : mc_headers_get_known(headers, MC_H_REFERER));
}

static bool is_allowed(const policy *policy, mc_slice source, mc_slice target) {
    bool allowed = mc_slice_eq(source, target);
    for (uint32_t i = 0; i < policy->origin_count && !allowed; i++) {
        allowed = mc_string_match_test(&policy->origins[i], source) == 1;
    }
    return allowed;
}

static mc_filter_status decode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    const config *config = mc_filter_get_config(filter);
    const policy *policy = mc_filter_route_config(filter);
    const mc_runtime *runtime = mc_filter_runtime(filter);
    mc_slab *slab = mc_filter_slab(filter);
    const bool enabled = mc_fraction_holds(&policy->enabled, runtime, mc_filter_random(filter));
    if (!enabled && !mc_fraction_holds(&policy->shadow, runtime, mc_filter_random(filter))) {
        return MC_FILTER_CONTINUE;
    }
    if (!changes_something(mc_headers_get_known(headers, MC_H_METHOD))) {
        return MC_FILTER_CONTINUE;
    }
    mc_slice source = source_of(headers), target = mc_headers_get_known(headers, MC_H_AUTHORITY);
    if (source.n == 0) {
        mc_counter_inc(slab, config->stats.missing_source_origin);
    } else if (is_allowed(policy, source, target)) {
        mc_counter_inc(slab, config->stats.request_valid);
        return MC_FILTER_CONTINUE;
    }
    if (source.n > 0) {
        mc_counter_inc(slab, config->stats.request_invalid);
    }
    if (!enabled) {
        return MC_FILTER_CONTINUE;
    }
    mc_filter_reply(
        filter, &(mc_reply){.status = 403, .body = MC_SLICE_INIT("Invalid origin"), .details = "csrf_origin_mismatch"});
    return MC_FILTER_STOP;
}

static mc_status read_policy(mc_filter_compile *c, const mc_value *value, policy *out) {
    const mc_value *list;
    size_t count;
    out->enabled = (mc_fraction){100, 100, MC_SLICE_NONE};
    out->shadow = (mc_fraction){0, 100, MC_SLICE_NONE};
    if (mc_value_get(value, "filter_enabled") == NULL) {
        return mc_error_set(c->error, MC_EINVAL, "filter_enabled", "is required");
    }
    MC_TRY(mc_fraction_read(c->arena, value, "filter_enabled", &out->enabled, c->error));
    MC_TRY(mc_fraction_read(c->arena, value, "shadow_enabled", &out->shadow, c->error));
    MC_TRY(mc_value_read_list(value, "additional_origins", &list, &count, c->error));
    out->origins = mc_arena_zalloc(c->arena, count * sizeof *out->origins);
    if (out->origins == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(mc_string_match_compile(c->arena, &list[i], &out->origins[i], c->error), c->error,
                           "additional_origins[%zu]", i));
    }
    out->origin_count = (uint32_t)count;
    return MC_OK;
}

static mc_status compile(mc_filter_compile *c, const mc_value *value, void **out) {
    config *config = mc_arena_zalloc(c->arena, sizeof *config);
    if (config == NULL) {
        return MC_ENOMEM;
    }
#define COUNTER(name) config->stats.name = mc_filter_stat(c, MC_COUNTER, MC_SLICE("csrf."), #name);
    STATS(COUNTER)
#undef COUNTER
    *out = config;
    return read_policy(c, value, &config->policy);
}

static mc_status compile_route(mc_filter_compile *c, const mc_value *value, void **out) {
    policy *policy = mc_arena_zalloc(c->arena, sizeof *policy);
    *out = policy;
    return policy == NULL ? MC_ENOMEM : read_policy(c, value, policy);
}

static const mc_filter_type filter_type = {.name = "envoy.filters.http.csrf", .decode_headers = decode_headers};

const mc_filter_kind mc_filter_kind_csrf = {
    .type = "envoy.extensions.filters.http.csrf.v3.CsrfPolicy",
    .route_type = "envoy.extensions.filters.http.csrf.v3.CsrfPolicy",
    .filter = &filter_type,
    .compile = compile,
    .compile_route = compile_route,
};
