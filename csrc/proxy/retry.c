#include "proxy/retry.h"

#include "base/defaults.h"

#define COUNT(retry, name) mc_counter_inc((retry)->slab, (retry)->cluster->stats.name)

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

static void read_codes(mc_retry *retry, mc_slice list) {
    mc_slice token;
    while (mc_slice_next(&list, ',', &token)) {
        uint64_t code;
        if (retry->extra_count < sizeof retry->extra_codes / sizeof retry->extra_codes[0] &&
            mc_slice_u64(token, &code) == MC_OK && code < 1000) {
            retry->extra_codes[retry->extra_count++] = (uint16_t)code;
        }
    }
}

/* Running out of memory for a header's value counts as no match: then nothing is retried. */
static bool any_holds(const mc_header_matchers *matchers, const mc_headers *headers) {
    bool any;
    return mc_header_matchers_any(matchers, headers, &any) == MC_OK && any;
}

static void read_headers(mc_retry *retry, mc_headers *request) {
    static const mc_header_id ids[] = {MC_H_X_ENVOY_RETRY_ON, MC_H_X_ENVOY_RETRY_GRPC_ON, MC_H_X_ENVOY_MAX_RETRIES,
                                       MC_H_X_ENVOY_RETRIABLE_STATUS_CODES, MC_H_X_ENVOY_RETRIABLE_HEADER_NAMES};
    uint64_t max;
    retry->on |= mc_retry_on_parse(mc_headers_get_known(request, MC_H_X_ENVOY_RETRY_ON), NULL);
    retry->on |= mc_retry_on_parse(mc_headers_get_known(request, MC_H_X_ENVOY_RETRY_GRPC_ON), NULL);
    if (retry->policy != NULL && retry->policy->retriable_request_headers != NULL &&
        !any_holds(retry->policy->retriable_request_headers, request)) {
        retry->on = 0;
    }
    if (retry->on != 0 && mc_slice_u64(mc_headers_get_known(request, MC_H_X_ENVOY_MAX_RETRIES), &max) == MC_OK) {
        retry->remaining = max > UINT32_MAX ? UINT32_MAX : (uint32_t)max;
    }
    read_codes(retry, mc_headers_get_known(request, MC_H_X_ENVOY_RETRIABLE_STATUS_CODES));
    retry->extra_names = mc_headers_get_known(request, MC_H_X_ENVOY_RETRIABLE_HEADER_NAMES);
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        if (mc_headers_has(request, ids[i])) {
            mc_headers_remove_known(request, ids[i]);
        }
    }
}

void mc_retry_init(mc_retry *retry, const mc_retry_policy *policy, mc_headers *request, mc_cluster *cluster,
                   mc_slab *slab) {
    *retry = (mc_retry){.policy = policy, .cluster = cluster, .slab = slab};
    retry->remaining = (uint32_t)MC_DEFAULT_NUM_RETRIES;
    uint64_t base = MC_DEFAULT_RETRY_BASE_INTERVAL, max = 0;
    if (policy != NULL) {
        retry->on = policy->retry_on;
        retry->remaining = policy->num_retries;
        base = policy->base_interval_ms;
        max = policy->max_interval_ms;
    }
    if (mc_backoff_init(&retry->backoff, base, max) != MC_OK) { /* the route table checked both */
        retry->backoff = (mc_backoff){base, base, base};
    }
    read_headers(retry, request);
}

static bool listed(const mc_retry *retry, uint16_t status) {
    for (uint32_t i = 0; retry->policy != NULL && i < retry->policy->retriable_status_count; i++) {
        if (retry->policy->retriable_status_codes[i] == status) {
            return true;
        }
    }
    for (uint8_t i = 0; i < retry->extra_count; i++) {
        if (retry->extra_codes[i] == status) {
            return true;
        }
    }
    return false;
}

/* RF-21: one of the policy's matchers holds, or a header is there that the request named. */
static bool has_retriable_header(const mc_retry *retry, const mc_headers *response) {
    mc_slice names = retry->extra_names, name;
    if (retry->policy != NULL && retry->policy->retriable_headers != NULL &&
        any_holds(retry->policy->retriable_headers, response)) {
        return true;
    }
    while (mc_slice_next(&names, ',', &name)) {
        if (name.n > 0 && mc_headers_get(response, name).p != NULL) {
            return true;
        }
    }
    return false;
}

static bool retriable_response(const mc_retry *retry, uint16_t status, const mc_headers *response) {
    uint64_t grpc;
    if (mc_headers_has(response, MC_H_X_ENVOY_RATELIMITED)) { /* RF-22 */
        return retry->on & MC_RETRY_ON_ENVOY_RATELIMITED;
    }
    return ((retry->on & MC_RETRY_ON_5XX) && status >= 500 && status < 600) ||
           ((retry->on & MC_RETRY_ON_GATEWAY_ERROR) && status >= 502 && status <= 504) ||
           ((retry->on & MC_RETRY_ON_RETRIABLE_4XX) && status == 409) ||
           ((retry->on & MC_RETRY_ON_RETRIABLE_STATUS_CODES) && listed(retry, status)) ||
           ((retry->on & MC_RETRY_ON_RETRIABLE_HEADERS) && has_retriable_header(retry, response)) ||
           (mc_slice_u64(mc_headers_get_known(response, MC_H_GRPC_STATUS), &grpc) == MC_OK &&
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

static void discharge(mc_retry *retry) {
    if (retry->charged) {
        retry->charged = false;
        mc_breaker_give(&retry->cluster->retries);
    }
}

/* RF-23, in its order. */
static mc_retry_verdict decide(mc_retry *retry, bool wanted) {
    discharge(retry);
    if (!wanted) {
        return MC_RETRY_NO;
    }
    if (retry->remaining == 0) {
        COUNT(retry, upstream_rq_retry_limit_exceeded);
        return MC_RETRY_LIMIT;
    }
    retry->remaining--;
    if (mc_breaker_open(&retry->cluster->retries)) {
        COUNT(retry, upstream_rq_retry_overflow);
        return MC_RETRY_OVERFLOW;
    }
    mc_breaker_take(&retry->cluster->retries);
    retry->charged = retry->retried = true;
    COUNT(retry, upstream_rq_retry);
    COUNT(retry, upstream_rq_retry_backoff_exponential);
    return MC_RETRY_YES;
}

mc_retry_verdict mc_retry_response(mc_retry *retry, uint16_t status, const mc_headers *response) {
    bool wanted = retry->on != 0 && retriable_response(retry, status, response);
    mc_retry_verdict verdict = decide(retry, wanted);
    if (!wanted && retry->retried) {
        COUNT(retry, upstream_rq_retry_success);
    }
    return verdict;
}

mc_retry_verdict mc_retry_reset(mc_retry *retry, mc_reset_reason reason, bool request_sent) {
    return decide(retry, retry->on != 0 && retriable_reset(retry, reason, request_sent));
}

uint64_t mc_retry_wait_ms(mc_retry *retry, mc_random *random) { return mc_backoff_next(&retry->backoff, random); }

void mc_retry_stop(mc_retry *retry) {
    discharge(retry);
    retry->on = 0;
}
