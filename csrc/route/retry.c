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
        } else if (unknown != NULL) {
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

/* The only host predicate so far: hosts already tried are passed over. */
static mc_status compile_predicates(mc_compile *c, const mc_value *value, mc_retry_policy *policy) {
    static const char previous_hosts[] =
        "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate";
    const mc_value *items, *config;
    size_t count;
    MC_TRY(mc_value_read_list(value, "retry_host_predicate", &items, &count, c->error));
    for (size_t i = 0; i < count; i++) {
        mc_slice type = MC_SLICE_NONE, name = MC_SLICE_NONE;
        MC_TRY(mc_error_in(mc_value_read_string(&items[i], "name", &name, c->error), c->error,
                           "retry_host_predicate[%zu]", i));
        MC_TRY(mc_error_in(mc_value_read_object(&items[i], "typed_config", &config, c->error), c->error,
                           "retry_host_predicate[%zu]", i));
        MC_TRY(mc_error_in(mc_value_read_string(config, "@type", &type, c->error), c->error,
                           "retry_host_predicate[%zu].typed_config", i));
        bool by_name = config == NULL && mc_slice_eq(name, MC_SLICE("envoy.retry_host_predicates.previous_hosts"));
        if (!by_name && !mc_slice_eq(type, mc_slice_cstr(previous_hosts))) {
            char path[96];
            snprintf(path, sizeof path, "retry_host_predicate[%zu]", i);
            return mc_error_set(c->error, MC_EINVAL, path, "%.*s is not supported",
                                MC_SLICE_ARG(type.n > 0 ? type : name));
        }
        policy->avoid_previous_hosts = true;
    }
    return MC_OK;
}

mc_status mc_compile_retry_policy(mc_compile *c, const mc_value *value, const mc_retry_policy **out) {
    mc_retry_policy *policy = mc_arena_zalloc(c->arena, sizeof *policy);
    const mc_value *backoff;
    int64_t attempts = 1;
    if (policy == NULL) {
        return MC_ENOMEM;
    }
    policy->num_retries = (uint32_t)MC_DEFAULT_NUM_RETRIES;
    policy->base_interval_ms = MC_DEFAULT_RETRY_BASE_INTERVAL;
    policy->max_interval_ms = MC_DEFAULT_RETRY_BASE_INTERVAL * 10;
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
    MC_TRY(compile_status_codes(c, value, policy));
    MC_TRY(mc_match_headers_compile(c->arena, value, "retriable_headers", &policy->retriable_headers, c->error));
    MC_TRY(mc_match_headers_compile(c->arena, value, "retriable_request_headers", &policy->retriable_request_headers,
                                    c->error));
    MC_TRY(compile_predicates(c, value, policy));
    *out = policy;
    return MC_OK;
}
