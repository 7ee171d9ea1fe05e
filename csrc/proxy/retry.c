#include "proxy/retry.h"

#include "base/defaults.h"

static void count(const mc_retry *retry, mc_stat stat, mc_code_counter counter) {
    mc_counter_inc(retry->with.slab, stat);
    for (int i = 0; i < 2; i++) {
        if (retry->with.scopes[i] != NULL) {
            mc_code_stats_inc(retry->with.scopes[i], retry->with.slab, counter);
        }
    }
}
#define COUNT(retry, name, counter) count(retry, (retry)->with.cluster->stats.name, MC_CODE_##counter)

/* gRPC statuses in response headers, by retry_on bit (RF-21). */
static uint32_t grpc_bit(uint64_t status) {
    switch (status) {
    case 1: return MC_RETRY_ON_CANCELLED;
    case 4: return MC_RETRY_ON_DEADLINE_EXCEEDED;
    case 8: return MC_RETRY_ON_RESOURCE_EXHAUSTED;
    case 13: return MC_RETRY_ON_INTERNAL;
    case 14: return MC_RETRY_ON_UNAVAILABLE;
    default: return 0;
    }
}
enum {
    GRPC_BITS = MC_RETRY_ON_CANCELLED | MC_RETRY_ON_DEADLINE_EXCEEDED | MC_RETRY_ON_RESOURCE_EXHAUSTED |
    MC_RETRY_ON_INTERNAL | MC_RETRY_ON_UNAVAILABLE
};

/* --- what is configured --------------------------------------------------------------------------------------------- */

/* Running out of memory for a header's value counts as no match: then nothing is retried. */
static bool any_holds(const mc_header_matchers *matchers, const mc_headers *headers) {
    bool any;
    return mc_header_matchers_any(matchers, headers, &any) == MC_OK && any;
}

static const mc_header_id retry_headers[] = {MC_H_X_ENVOY_RETRY_ON,
                                             MC_H_X_ENVOY_RETRY_GRPC_ON,
                                             MC_H_X_ENVOY_MAX_RETRIES,
                                             MC_H_X_ENVOY_RETRIABLE_STATUS_CODES,
                                             MC_H_X_ENVOY_RETRIABLE_HEADER_NAMES,
                                             MC_H_X_ENVOY_UPSTREAM_RQ_TIMEOUT_ALT_RESPONSE};

void mc_retry_remove_headers(mc_headers *request) {
    for (size_t i = 0; i < sizeof retry_headers / sizeof retry_headers[0]; i++) {
        if (MC_UNLIKELY(mc_headers_has(request, retry_headers[i]))) {
            mc_headers_remove_known(request, retry_headers[i]);
        }
    }
}

static void read_headers(mc_retry *retry, const mc_headers *request) {
    const mc_retry_policy *policy = retry->with.policy;
    uint64_t max;
    /* Each header has tokens of its own. */
    retry->on |= mc_retry_on_parse(mc_headers_get_known(request, MC_H_X_ENVOY_RETRY_ON), NULL) & ~(uint32_t)GRPC_BITS;
    retry->on |= mc_retry_on_parse(mc_headers_get_known(request, MC_H_X_ENVOY_RETRY_GRPC_ON), NULL) & GRPC_BITS;
    if (policy != NULL && policy->retriable_request_headers != NULL &&
        !any_holds(policy->retriable_request_headers, request)) {
        retry->on = 0;
    }
    if (retry->on != 0 &&
        mc_slice_number(mc_headers_get_known(request, MC_H_X_ENVOY_MAX_RETRIES), UINT64_MAX, &max) == MC_OK) {
        retry->remaining = (uint32_t)max; /* its low half, as in Envoy */
    }
    retry->extra_codes = mc_headers_get_known(request, MC_H_X_ENVOY_RETRIABLE_STATUS_CODES);
    retry->extra_names = mc_headers_get_known(request, MC_H_X_ENVOY_RETRIABLE_HEADER_NAMES);
    retry->early_data = mc_headers_get(request, MC_SLICE("early-data")).p != NULL;
}

static void init_backoff(mc_retry *retry) { /* RF-24 */
    const mc_retry_policy *policy = retry->with.policy;
    uint64_t base =
        mc_runtime_u64(retry->with.runtime, MC_SLICE("upstream.base_retry_backoff_ms"), MC_DEFAULT_RETRY_BASE_INTERVAL);
    uint64_t max = 0;
    if (policy != NULL && !policy->default_back_off) {
        base = policy->base_interval_ms;
        max = policy->max_interval_ms;
    }
    if (mc_backoff_init(&retry->backoff, base, max) != MC_OK) { /* the route table checked both */
        retry->backoff = (mc_backoff){1, 1, 1};
    }
}

void mc_retry_init(mc_retry *retry, const mc_retry_context *with, const mc_headers *request) {
    const mc_retry_policy *policy = with->policy;
    *retry = (mc_retry){.with = *with};
    retry->on = policy == NULL ? 0 : policy->retry_on;
    retry->configured = retry->on != 0 || mc_headers_has(request, MC_H_X_ENVOY_RETRY_ON) ||
                        mc_headers_has(request, MC_H_X_ENVOY_RETRY_GRPC_ON);
    if (MC_UNLIKELY(retry->configured)) {
        retry->remaining = policy == NULL ? (uint32_t)MC_DEFAULT_NUM_RETRIES : policy->num_retries;
        init_backoff(retry);
        read_headers(retry, request);
    }
}

/* --- what is retriable ------------------------------------------------------------------------------------------------- */

static bool listed(const mc_retry *retry, uint16_t status) {
    const mc_retry_policy *policy = retry->with.policy;
    for (uint32_t i = 0; policy != NULL && i < policy->retriable_status_count; i++) {
        if (policy->retriable_status_codes[i] == status) {
            return true;
        }
    }
    mc_slice codes = retry->extra_codes, token;
    while (mc_slice_next(&codes, ',', &token)) {
        uint64_t code;
        if (mc_slice_number(token, UINT32_MAX, &code) == MC_OK && code == status) {
            return true;
        }
    }
    return false;
}

/* RF-21: one of the policy's matchers holds, or a header is there that the request named. */
static bool has_retriable_header(const mc_retry *retry, const mc_headers *response) {
    const mc_retry_policy *policy = retry->with.policy;
    mc_slice names = retry->extra_names, name;
    if (policy != NULL && policy->retriable_headers != NULL && any_holds(policy->retriable_headers, response)) {
        return true;
    }
    while (mc_slice_next(&names, ',', &name)) {
        if (name.n > 0 && mc_headers_get(response, name).p != NULL) {
            return true;
        }
    }
    return false;
}

enum { TOO_EARLY = 425 };

/* A listed 425 is retried at once, but never for a request that came as early data. */
static bool retriable_code(const mc_retry *retry, uint16_t status) {
    return (retry->on & MC_RETRY_ON_RETRIABLE_STATUS_CODES) && listed(retry, status) &&
           !(status == TOO_EARLY && retry->early_data);
}

static bool retriable_class(const mc_retry *retry, uint16_t status) {
    return ((retry->on & MC_RETRY_ON_5XX) && status >= 500 && status < 600) ||
           ((retry->on & MC_RETRY_ON_GATEWAY_ERROR) && status >= 502 && status <= 504) ||
           ((retry->on & MC_RETRY_ON_RETRIABLE_4XX) && status == 409);
}

bool mc_retry_wants_response(const mc_retry *retry, uint16_t status, const mc_headers *response) {
    uint64_t grpc;
    if (mc_headers_has(response, MC_H_X_ENVOY_RATELIMITED)) { /* RF-22 */
        return retry->on & MC_RETRY_ON_ENVOY_RATELIMITED;
    }
    return retriable_class(retry, status) || retriable_code(retry, status) ||
           ((retry->on & MC_RETRY_ON_RETRIABLE_HEADERS) && has_retriable_header(retry, response)) ||
           ((retry->on & GRPC_BITS) &&
            mc_slice_number(mc_headers_get_known(response, MC_H_GRPC_STATUS), UINT64_MAX, &grpc) == MC_OK &&
            (retry->on & grpc_bit(grpc)));
}

static bool retriable_reset(const mc_retry *retry, mc_reset_reason reason, bool request_sent) {
    const bool connect = reason == MC_RESET_LOCAL_CONNECTION_FAILURE || reason == MC_RESET_REMOTE_CONNECTION_FAILURE ||
                         reason == MC_RESET_CONNECTION_TIMEOUT;
    if (reason == MC_RESET_OVERFLOW) { /* RF-31 */
        return false;
    }
    return (retry->on & (MC_RETRY_ON_5XX | MC_RETRY_ON_GATEWAY_ERROR | MC_RETRY_ON_RESET)) ||
           ((retry->on & MC_RETRY_ON_RESET_BEFORE_REQUEST) && !request_sent) ||
           ((retry->on & MC_RETRY_ON_CONNECT_FAILURE) && connect);
}

/* --- deciding ------------------------------------------------------------------------------------------------------------- */

static mc_breakers *breakers_of(const mc_retry *retry) { return &retry->with.cluster->breakers[retry->with.priority]; }

static uint64_t now_ms(const mc_retry *retry) {
    return breakers_of(retry)->recent == NULL ? 0 : mc_loop_now_ms(retry->with.loop);
}

static void discharge(mc_retry *retry) {
    if (retry->charged) {
        retry->charged = false;
        mc_breakers_give_retry(breakers_of(retry), retry->with.slab, now_ms(retry));
    }
}

static bool enabled_by_runtime(const mc_retry *retry) {
    const uint64_t percent = mc_runtime_u64(retry->with.runtime, MC_SLICE("upstream.use_retry"), 100);
    return percent >= 100 || (percent > 0 && mc_random_next(retry->with.random) % 100 < percent);
}

/* RF-23, in its order. That no further try is wanted after one was made counts as its success, however it ended. */
static mc_retry_verdict decide(mc_retry *retry, bool wanted) {
    if (retry->charged && !wanted) {
        COUNT(retry, upstream_rq_retry_success, RETRY_SUCCESS);
    }
    if (wanted && retry->remaining == 0) { /* what was granted before may go on: another try may still answer */
        COUNT(retry, upstream_rq_retry_limit_exceeded, RETRY_LIMIT_EXCEEDED);
        return MC_RETRY_LIMIT;
    }
    discharge(retry);
    if (!wanted) {
        return MC_RETRY_NO;
    }
    retry->remaining--;
    if (!mc_breakers_may_retry(breakers_of(retry), retry->with.slab, now_ms(retry))) {
        COUNT(retry, upstream_rq_retry_overflow, RETRY_OVERFLOW);
        return MC_RETRY_OVERFLOW;
    }
    if (!enabled_by_runtime(retry)) {
        return MC_RETRY_NO;
    }
    mc_breakers_take_retry(breakers_of(retry), retry->with.slab, now_ms(retry));
    retry->charged = true;
    return MC_RETRY_YES;
}

/* RF-25: the first header that tells a time within the limit; 0: none. */
static uint64_t asked_interval(const mc_retry_policy *policy, const mc_headers *response, uint64_t wall_ms) {
    for (uint32_t i = 0; i < policy->reset_header_count; i++) {
        const mc_reset_header *header = &policy->reset_headers[i];
        const uint64_t now_s = wall_ms / 1000;
        uint64_t seconds;
        mc_slice text = mc_headers_get(response, header->name);
        if (text.p == NULL || mc_slice_number(text, UINT64_MAX, &seconds) != MC_OK ||
            (header->unix_timestamp && seconds < now_s)) {
            continue;
        }
        seconds -= header->unix_timestamp ? now_s : 0;
        if (seconds <= policy->reset_max_interval_ms / 1000) {
            return seconds * 1000;
        }
    }
    return 0;
}

mc_retry_verdict mc_retry_response(mc_retry *retry, uint16_t status, const mc_headers *response, uint64_t wall_ms) {
    const mc_retry_policy *policy = retry->with.policy;
    const bool wanted = retry->on != 0 && mc_retry_wants_response(retry, status, response);
    retry->immediate = wanted && status == TOO_EARLY && retriable_code(retry, status) &&
                       !retriable_class(retry, status) && !mc_headers_has(response, MC_H_X_ENVOY_RATELIMITED);
    if (wanted && !retry->immediate && policy != NULL && policy->reset_header_count > 0) {
        uint64_t asked = asked_interval(policy, response, wall_ms);
        retry->reset_ms = asked > 1 ? asked : retry->reset_ms;
    }
    return decide(retry, wanted);
}

mc_retry_verdict mc_retry_reset(mc_retry *retry, mc_reset_reason reason, bool request_sent) {
    retry->immediate = false;
    return decide(retry, retry->on != 0 && retriable_reset(retry, reason, request_sent));
}

mc_retry_verdict mc_retry_hedge(mc_retry *retry) {
    retry->immediate = false;
    return decide(retry, true);
}

uint64_t mc_retry_wait_ms(mc_retry *retry, mc_random *random) {
    retry->asked = !retry->immediate && retry->reset_ms > 0;
    if (retry->immediate) {
        return 0;
    }
    if (retry->asked) { /* for this response only */
        const uint64_t least = retry->reset_ms;
        retry->reset_ms = 0;
        return least + mc_random_next(random) % (least / 2);
    }
    return mc_backoff_next(&retry->backoff, random);
}

void mc_retry_begins(mc_retry *retry) {
    const mc_cluster_stats *stats = &retry->with.cluster->stats;
    COUNT(retry, upstream_rq_retry, RETRY);
    if (!retry->immediate) {
        mc_counter_inc(retry->with.slab, retry->asked ? stats->upstream_rq_retry_backoff_ratelimited
                                                      : stats->upstream_rq_retry_backoff_exponential);
    }
}

void mc_retry_stop(mc_retry *retry) {
    discharge(retry);
    retry->on = 0;
    retry->configured = false;
}
