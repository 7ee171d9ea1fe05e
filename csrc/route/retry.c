/* Retry policy fields (RF-20, RF-21, RF-24); deciding and waiting are the proxy's. */
#include "base/defaults.h"
#include "route/compile.h"

static const struct {
    mc_slice token;
    uint32_t bit;
} retry_tokens[] = {
#define MC_RETRY_TOKEN(id, token, bit) {MC_SLICE_INIT(token), 1u << bit},
    MC_RETRY_ON_LIST(MC_RETRY_TOKEN)
#undef MC_RETRY_TOKEN
};

uint32_t mc_retry_on_parse(mc_slice tokens, bool *unknown) {
    uint32_t bits = 0;
    mc_slice token;
    while (mc_slice_next(&tokens, ',', &token)) {
        size_t i = 0;
        while (i < sizeof retry_tokens / sizeof retry_tokens[0] && !mc_slice_eq(retry_tokens[i].token, token)) {
            i++;
        }
        if (i < sizeof retry_tokens / sizeof retry_tokens[0]) {
            bits |= retry_tokens[i].bit;
        } else if (unknown != NULL && token.n > 0) {
            *unknown = true;
        }
    }
    return bits;
}

static mc_status compile_backoff(mc_compile *c, const mc_value *value, mc_retry_policy *policy) {
    if (mc_value_get(value, "base_interval") == NULL) {
        return mc_error_set(c->error, MC_EINVAL, "base_interval", "is required");
    }
    policy->base_interval_ms = 0;
    MC_TRY(mc_value_read_duration_ms(value, "base_interval", &policy->base_interval_ms, c->error));
    if (policy->base_interval_ms < 1) {
        policy->base_interval_ms = 1; /* what is below a millisecond counts as one */
    }
    policy->max_interval_ms = policy->base_interval_ms * 10;
    if (mc_value_get(value, "max_interval") != NULL) {
        MC_TRY(mc_value_read_duration_ms(value, "max_interval", &policy->max_interval_ms, c->error));
        policy->max_interval_ms = policy->max_interval_ms < 1 ? 1 : policy->max_interval_ms;
    }
    if (policy->max_interval_ms < policy->base_interval_ms) {
        return mc_error_set(c->error, MC_EINVAL, "max_interval", "must be at least base_interval");
    }
    return MC_OK;
}

static mc_status compile_status_codes(mc_compile *c, const mc_value *value, mc_retry_policy *policy) {
    const mc_value *items;
    size_t count;
    MC_TRY(mc_value_read_list(value, "retriable_status_codes", &items, &count, c->error));
    uint16_t *codes = mc_arena_zalloc(c->arena, count * sizeof *codes);
    if (codes == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        if (items[i].kind != MC_NUMBER || !(items[i].number >= 0 && items[i].number <= UINT32_MAX)) {
            char path[96];
            snprintf(path, sizeof path, "retriable_status_codes[%zu]", i);
            return mc_error_set(c->error, MC_EINVAL, path, "must be a status code");
        }
        if (items[i].number <= UINT16_MAX) { /* no response has a larger one */
            codes[policy->retriable_status_count++] = (uint16_t)items[i].number;
        }
    }
    policy->retriable_status_codes = codes;
    return MC_OK;
}

/* Extensions of a retry policy, by type or, without a configuration, by name. */
typedef struct retry_extension {
    const char *type, *name;
    mc_status (*compile)(mc_compile *c, const mc_value *config, mc_retry_policy *policy);
} retry_extension;

static mc_status compile_previous_hosts(mc_compile *c, const mc_value *config, mc_retry_policy *policy) {
    policy->avoid_previous_hosts = true;
    return MC_OK;
}

static mc_status compile_omit_canary(mc_compile *c, const mc_value *config, mc_retry_policy *policy) {
    policy->omit_canary_hosts = true;
    return MC_OK;
}

static mc_status compile_omit_metadata(mc_compile *c, const mc_value *config, mc_retry_policy *policy) {
    const mc_value *match, *namespaces, *copy, **all;
    MC_TRY(mc_value_read_object(config, "metadata_match", &match, c->error));
    MC_TRY(
        mc_error_in(mc_value_read_object(match, "filter_metadata", &namespaces, c->error), c->error, "metadata_match"));
    const mc_value *labels = mc_value_get(namespaces, "envoy.lb");
    if (labels == NULL || labels->kind != MC_OBJECT || labels->count == 0) {
        return MC_OK; /* nothing to pass over */
    }
    MC_TRY(mc_value_copy(c->arena, labels, &copy));
    all = mc_arena_alloc(c->arena, (policy->omit_host_metadata_count + 1) * sizeof *all);
    if (all == NULL) {
        return MC_ENOMEM;
    }
    for (uint32_t i = 0; i < policy->omit_host_metadata_count; i++) {
        all[i] = policy->omit_host_metadata[i];
    }
    all[policy->omit_host_metadata_count++] = copy;
    policy->omit_host_metadata = all;
    return MC_OK;
}

static mc_status compile_previous_priorities(mc_compile *c, const mc_value *config, mc_retry_policy *policy) {
    int64_t frequency = 0;
    MC_TRY(mc_value_read_i64(config, "update_frequency", &frequency, c->error));
    if (frequency < 1 || frequency > INT32_MAX) {
        return mc_error_set(c->error, MC_EINVAL, "update_frequency", "must be greater than 0");
    }
    policy->previous_priorities_update = (uint32_t)frequency;
    return MC_OK;
}

static const retry_extension host_predicates[] = {
    {"envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
     "envoy.retry_host_predicates.previous_hosts", compile_previous_hosts},
    {"envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate",
     "envoy.retry_host_predicates.omit_canary_hosts", compile_omit_canary},
    {"envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig",
     "envoy.retry_host_predicates.omit_host_metadata", compile_omit_metadata},
    {NULL, NULL, NULL}};
static const retry_extension retry_priorities[] = {
    {"envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
     "envoy.retry_priorities.previous_priorities", compile_previous_priorities},
    {NULL, NULL, NULL}};

static mc_status compile_extension(mc_compile *c, const mc_value *value, const retry_extension *known,
                                   mc_retry_policy *policy) {
    mc_slice url = MC_SLICE_NONE, name = MC_SLICE_NONE;
    const mc_value *config;
    MC_TRY(mc_value_read_string(value, "name", &name, c->error));
    MC_TRY(mc_value_read_object(value, "typed_config", &config, c->error));
    MC_TRY(mc_error_in(mc_value_read_string(config, "@type", &url, c->error), c->error, "typed_config"));
    mc_slice type = mc_slice_from(url, mc_slice_find(url, '/') + 1);
    for (; known->type != NULL; known++) {
        if (config == NULL ? mc_slice_eq(name, mc_slice_cstr(known->name))
                           : mc_slice_eq(type, mc_slice_cstr(known->type))) {
            return mc_error_in(known->compile(c, config, policy), c->error, "typed_config");
        }
    }
    return mc_error_set(c->error, MC_EINVAL, "", "%.*s is not supported", MC_SLICE_ARG(url.n > 0 ? url : name));
}

static mc_status compile_extensions(mc_compile *c, const mc_value *value, mc_retry_policy *policy) {
    const mc_value *items, *priority;
    size_t count;
    MC_TRY(mc_value_read_list(value, "retry_host_predicate", &items, &count, c->error));
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(compile_extension(c, &items[i], host_predicates, policy), c->error,
                           "retry_host_predicate[%zu]", i));
    }
    if (mc_value_get(value, "retry_options_predicates") != NULL) {
        return mc_error_set(c->error, MC_EINVAL, "retry_options_predicates", "is not supported");
    }
    MC_TRY(mc_value_read_object(value, "retry_priority", &priority, c->error));
    return priority == NULL
               ? MC_OK
               : mc_error_in(compile_extension(c, priority, retry_priorities, policy), c->error, "retry_priority");
}

/* RF-25. */
static mc_status compile_reset_header(mc_compile *c, const mc_value *value, mc_reset_header *out) {
    static const mc_name_value formats[] = {{"SECONDS", 0}, {"UNIX_TIMESTAMP", 1}, {NULL, 0}};
    mc_slice name = MC_SLICE_NONE;
    uint64_t format = 0;
    MC_TRY(mc_value_read_string(value, "name", &name, c->error));
    if (name.n == 0) {
        return mc_error_set(c->error, MC_EINVAL, "name", "must not be empty");
    }
    MC_TRY(mc_read_enum(value, "format", formats, &format, c->error));
    out->unix_timestamp = format == 1;
    return mc_dup_lower(c->arena, name, &out->name);
}

static mc_status compile_rate_limited(mc_compile *c, const mc_value *value, mc_retry_policy *policy) {
    const mc_value *items;
    size_t count;
    MC_TRY(mc_value_read_duration_ms(value, "max_interval", &policy->reset_max_interval_ms, c->error));
    MC_TRY(mc_value_read_list(value, "reset_headers", &items, &count, c->error));
    if (count == 0) {
        return mc_error_set(c->error, MC_EINVAL, "reset_headers", "must have at least one item");
    }
    mc_reset_header *headers = mc_arena_zalloc(c->arena, count * sizeof *headers);
    if (headers == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(compile_reset_header(c, &items[i], &headers[i]), c->error, "reset_headers[%zu]", i));
    }
    policy->reset_headers = headers;
    policy->reset_header_count = (uint32_t)count;
    return MC_OK;
}

mc_status mc_compile_retry_policy(mc_compile *c, const mc_value *value, const mc_retry_policy **out) {
    mc_retry_policy *policy = mc_arena_zalloc(c->arena, sizeof *policy);
    const mc_value *backoff, *rate_limited;
    int64_t attempts = 1;
    if (policy == NULL) {
        return MC_ENOMEM;
    }
    policy->num_retries = (uint32_t)MC_DEFAULT_NUM_RETRIES;
    policy->base_interval_ms = MC_DEFAULT_RETRY_BASE_INTERVAL;
    policy->max_interval_ms = MC_DEFAULT_RETRY_BASE_INTERVAL * 10;
    policy->reset_max_interval_ms = MC_DEFAULT_RETRY_RESET_MAX_INTERVAL;
    MC_TRY(mc_read_text(c->arena, value, "retry_on", &policy->retry_on_text, c->error));
    policy->retry_on = mc_retry_on_parse(policy->retry_on_text, NULL);
    MC_TRY(mc_value_read_u32(value, "num_retries", &policy->num_retries, c->error));
    MC_TRY(mc_value_read_duration_ms(value, "per_try_timeout", &policy->per_try_timeout_ms, c->error));
    MC_TRY(mc_value_read_duration_ms(value, "per_try_idle_timeout", &policy->per_try_idle_timeout_ms, c->error));
    MC_TRY(mc_value_read_i64(value, "host_selection_retry_max_attempts", &attempts, c->error));
    policy->host_selection_retry_max_attempts = attempts < 0            ? 0
                                                : attempts > UINT32_MAX ? UINT32_MAX
                                                                        : (uint32_t)attempts;
    MC_TRY(mc_value_read_object(value, "retry_back_off", &backoff, c->error));
    if (backoff != NULL) {
        MC_TRY(mc_error_in(compile_backoff(c, backoff, policy), c->error, "retry_back_off"));
    }
    policy->default_back_off = backoff == NULL;
    MC_TRY(mc_value_read_object(value, "rate_limited_retry_back_off", &rate_limited, c->error));
    if (rate_limited != NULL) {
        MC_TRY(mc_error_in(compile_rate_limited(c, rate_limited, policy), c->error, "rate_limited_retry_back_off"));
    }
    MC_TRY(compile_status_codes(c, value, policy));
    MC_TRY(mc_match_headers_compile(c->arena, value, "retriable_headers", &policy->retriable_headers, c->error));
    MC_TRY(mc_match_headers_compile(c->arena, value, "retriable_request_headers", &policy->retriable_request_headers,
                                    c->error));
    MC_TRY(compile_extensions(c, value, policy));
    *out = policy;
    return MC_OK;
}

static mc_status read_hedge_policy(mc_compile *c, const mc_value *value, mc_hedge_policy *out) {
    const mc_value *chance;
    out->initial_requests = 1;
    out->additional_request_chance = (mc_fraction){0, 100, MC_SLICE_NONE};
    MC_TRY(mc_value_read_u32(value, "initial_requests", &out->initial_requests, c->error));
    if (out->initial_requests == 0) {
        return mc_error_set(c->error, MC_EINVAL, "initial_requests", "must be at least 1");
    }
    MC_TRY(mc_value_read_bool(value, "hedge_on_per_try_timeout", &out->hedge_on_per_try_timeout, c->error));
    MC_TRY(mc_value_read_object(value, "additional_request_chance", &chance, c->error));
    return chance == NULL ? MC_OK
                          : mc_error_in(mc_fraction_read_percent(chance, &out->additional_request_chance, c->error),
                                        c->error, "additional_request_chance");
}

mc_status mc_compile_hedge_policy(mc_compile *c, const mc_value *value, const mc_hedge_policy **out) {
    const mc_value *hedge;
    MC_TRY(mc_value_read_object(value, "hedge_policy", &hedge, c->error));
    if (hedge == NULL) {
        return MC_OK;
    }
    mc_hedge_policy *policy = mc_arena_zalloc(c->arena, sizeof *policy);
    if (policy == NULL) {
        return MC_ENOMEM;
    }
    *out = policy;
    return mc_error_in(read_hedge_policy(c, hedge, policy), c->error, "hedge_policy");
}
