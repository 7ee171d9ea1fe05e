/* cors (FL-10, FL-11): preflights answered, and responses marked for origins that may read them. */
#include "route/cors.h"

#include "proxy/filters/kind.h"

#define STATS(X) X(origin_valid) X(origin_invalid)

typedef struct config {
    struct {
        STATS(MC_STAT_FIELD)
    } stats;
} config;

/* What the policies say together, of a request that they concern. */
typedef struct state {
    mc_cors_policy policy;
    mc_slice origin;
    bool allowed;
} state;

/* --- policies --------------------------------------------------------------------------------------------------------- */

static void add_text(mc_slice *text, mc_slice further) { *text = text->n == 0 ? further : *text; }
static void add_choice(int8_t *choice, int8_t further) { *choice = *choice < 0 ? further : *choice; }

/* Each field of the first policy that sets it; whether there is a policy at all is decided by the most specific alone. */
static void add_policy(mc_cors_policy *sum, bool first, const mc_cors_policy *policy) {
    if (first) {
        *sum = *policy;
        return;
    }
    if (sum->origin_count == 0) {
        sum->origins = policy->origins;
        sum->origin_count = policy->origin_count;
    }
    add_text(&sum->allow_methods, policy->allow_methods);
    add_text(&sum->allow_headers, policy->allow_headers);
    add_text(&sum->expose_headers, policy->expose_headers);
    add_text(&sum->max_age, policy->max_age);
    add_choice(&sum->allow_credentials, policy->allow_credentials);
    add_choice(&sum->allow_private_network_access, policy->allow_private_network_access);
    add_choice(&sum->forward_not_matching_preflights, policy->forward_not_matching_preflights);
}

/* Returns whether there was one. */
static bool find_policies(mc_filter *filter, const mc_route_match *match, mc_cors_policy *sum) {
    bool found = false;
    for (const mc_route_filter *at = mc_filter_route(filter); at != NULL; at = at->outer) {
        if (at->config != NULL) {
            add_policy(sum, !found, at->config);
            found = true;
        }
    }
    if (found) {
        return true;
    }
    const mc_cors_policy *legacy[] = {match->route->cors, match->virtual_host->cors};
    for (size_t i = 0; i < 2; i++) {
        if (legacy[i] != NULL) {
            add_policy(sum, !found, legacy[i]);
            found = true;
        }
    }
    return found;
}

static bool is_enabled(mc_filter *filter, const mc_cors_policy *policy) {
    return !policy->has_filter_enabled ||
           mc_fraction_holds(&policy->filter_enabled, mc_filter_runtime(filter), mc_filter_random(filter));
}

static bool is_shadow(mc_filter *filter, const mc_cors_policy *policy) {
    return policy->has_shadow_enabled &&
           mc_fraction_holds(&policy->shadow_enabled, mc_filter_runtime(filter), mc_filter_random(filter));
}

/* --- preflights --------------------------------------------------------------------------------------------------------- */

static void add(mc_header *headers, size_t *count, const char *name, mc_slice value) {
    if (value.n > 0) {
        headers[(*count)++] = (mc_header){.name = mc_slice_cstr(name), .value = value};
    }
}

/* "*" stands for what the request asked for, nothing included. */
static void add_or_echo(mc_header *headers, size_t *count, const char *name, mc_slice value, const mc_headers *request,
                        const char *asked) {
    if (mc_slice_eq(value, MC_SLICE("*"))) {
        headers[(*count)++] =
            (mc_header){.name = mc_slice_cstr(name), .value = mc_headers_get(request, mc_slice_cstr(asked))};
    } else {
        add(headers, count, name, value);
    }
}

static void answer_preflight(mc_filter *filter, const state *state, const mc_headers *request) {
    mc_header headers[6];
    size_t count = 0;
    const mc_cors_policy *policy = &state->policy;
    mc_slice network = mc_headers_get(request, MC_SLICE("access-control-request-private-network"));
    if (state->allowed) {
        add(headers, &count, "access-control-allow-origin", state->origin);
    }
    add(headers, &count, "access-control-allow-credentials",
        policy->allow_credentials == 1 ? MC_SLICE("true") : MC_SLICE_NONE);
    add_or_echo(headers, &count, "access-control-allow-methods", policy->allow_methods, request,
                "access-control-request-method");
    add_or_echo(headers, &count, "access-control-allow-headers", policy->allow_headers, request,
                "access-control-request-headers");
    add(headers, &count, "access-control-max-age", policy->max_age);
    add(headers, &count, "access-control-allow-private-network",
        policy->allow_private_network_access == 1 && mc_slice_eq(network, MC_SLICE("true")) ? MC_SLICE("true")
                                                                                            : MC_SLICE_NONE);
    mc_filter_reply(
        filter,
        &(mc_reply){
            .status = 200, .details = "cors_response", .headers = headers, .header_count = count, .as_is = true});
}

/* --- the filter --------------------------------------------------------------------------------------------------------- */

static mc_filter_status decode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    const config *config = mc_filter_get_config(filter);
    const mc_route_match *match = mc_filter_match(filter);
    mc_slice origin = mc_headers_get_known(headers, MC_H_ORIGIN);
    if (match == NULL) {
        return MC_FILTER_STOP;
    }
    if (origin.n == 0 || match->route == NULL || match->route->action != MC_ROUTE_TO_CLUSTER) {
        return MC_FILTER_CONTINUE;
    }
    state *state = mc_arena_zalloc(mc_filter_arena(filter), sizeof *state);
    if (state == NULL) {
        return mc_filter_out_of_memory(filter);
    }
    if (!find_policies(filter, match, &state->policy)) {
        return MC_FILTER_CONTINUE;
    }
    const bool enabled = is_enabled(filter, &state->policy);
    if (!enabled && !is_shadow(filter, &state->policy)) {
        return MC_FILTER_CONTINUE;
    }
    state->origin = origin;
    state->allowed = mc_cors_origin_allowed(&state->policy, origin) == 1;
    mc_counter_inc(mc_filter_slab(filter), state->allowed ? config->stats.origin_valid : config->stats.origin_invalid);
    if (!enabled) {
        return MC_FILTER_CONTINUE;
    }
    mc_filter_set_state(filter, state);
    if (!mc_slice_eq(mc_headers_get_known(headers, MC_H_METHOD), MC_SLICE("OPTIONS")) ||
        mc_headers_get(headers, MC_SLICE("access-control-request-method")).n == 0 ||
        (!state->allowed && state->policy.forward_not_matching_preflights != 0)) {
        return MC_FILTER_CONTINUE;
    }
    answer_preflight(filter, state, headers);
    return MC_FILTER_STOP;
}

static mc_filter_status encode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    const state *state = mc_filter_get_state(filter);
    if (state == NULL || !state->allowed) {
        return MC_FILTER_CONTINUE;
    }
    const mc_cors_policy *policy = &state->policy;
    mc_status status = mc_headers_set(headers, MC_SLICE("access-control-allow-origin"), state->origin);
    if (status == MC_OK && policy->allow_credentials == 1) {
        status = mc_headers_set(headers, MC_SLICE("access-control-allow-credentials"), MC_SLICE("true"));
    }
    if (status == MC_OK && policy->expose_headers.n > 0) {
        status = mc_headers_set(headers, MC_SLICE("access-control-expose-headers"), policy->expose_headers);
    }
    return status == MC_OK ? MC_FILTER_CONTINUE : mc_filter_out_of_memory(filter);
}

static mc_status compile(mc_filter_compile *c, const mc_value *value, void **out) {
    config *config = mc_arena_zalloc(c->arena, sizeof *config);
    if (config == NULL) {
        return MC_ENOMEM;
    }
#define COUNTER(name) config->stats.name = mc_filter_stat(c, MC_COUNTER, MC_SLICE("cors."), #name);
    STATS(COUNTER)
#undef COUNTER
    *out = config;
    return MC_OK;
}

static mc_status compile_route(mc_filter_compile *c, const mc_value *value, void **out) {
    const mc_cors_policy *policy = NULL;
    mc_status status = mc_cors_policy_compile(c->arena, value, &policy, c->error);
    *out = (void *)policy;
    return status;
}

static const mc_filter_type filter_type = {
    .name = "envoy.filters.http.cors", .decode_headers = decode_headers, .encode_headers = encode_headers};

const mc_filter_kind mc_filter_kind_cors = {
    .type = "envoy.extensions.filters.http.cors.v3.Cors",
    .route_type = "envoy.extensions.filters.http.cors.v3.CorsPolicy",
    .filter = &filter_type,
    .compile = compile,
    .compile_route = compile_route,
};
