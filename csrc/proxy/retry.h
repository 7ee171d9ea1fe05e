/* Retry state of one request: what may be retried, how often, after how long (rules RF-20 to RF-27). No I/O. */
#ifndef MC_PROXY_RETRY_H
#define MC_PROXY_RETRY_H

#include "base/backoff.h"
#include "pool/pool.h"
#include "route/route.h"

typedef enum mc_retry_verdict {
    MC_RETRY_NO,       /* not retriable */
    MC_RETRY_YES,      /* go on after mc_retry_wait_ms */
    MC_RETRY_LIMIT,    /* retriable, but num_retries are used up: flag URX */
    MC_RETRY_OVERFLOW, /* retriable, but the circuit breaker refused: flag UO */
} mc_retry_verdict;

typedef struct mc_retry {
    const mc_retry_policy *policy; /* may be NULL */
    mc_cluster *cluster;
    mc_slab *slab;
    uint32_t on; /* MC_RETRY_ON_* bits; 0: inactive */
    uint32_t remaining;
    mc_backoff backoff;      /* RF-24 */
    uint16_t extra_codes[8]; /* x-envoy-retriable-status-codes */
    uint8_t extra_count;
    mc_slice extra_names; /* x-envoy-retriable-header-names */
    bool charged;         /* holds one of the cluster's retries (CB-8) */
    bool retried;
} mc_retry;

/* Reads policy and request headers (which it removes, RF-20). */
void mc_retry_init(mc_retry *retry, const mc_retry_policy *policy, mc_headers *request, mc_cluster *cluster,
                   mc_slab *slab);
static inline bool mc_retry_active(const mc_retry *retry) { return retry->on != 0; }
/* A response's headers, or a try that ended without any. */
mc_retry_verdict mc_retry_response(mc_retry *retry, uint16_t status, const mc_headers *response);
mc_retry_verdict mc_retry_reset(mc_retry *retry, mc_reset_reason reason, bool request_sent);
/* Full jitter (RF-24). */
uint64_t mc_retry_wait_ms(mc_retry *retry, mc_random *random);
/* No further tries. */
void mc_retry_stop(mc_retry *retry);

#endif
