/* Retry state of one request: what may be retried, how often, after how long (rules RF-20 to RF-27). No I/O. */
#ifndef MC_PROXY_RETRY_H
#define MC_PROXY_RETRY_H

#include "base/backoff.h"
#include "base/runtime.h"
#include "pool/pool.h"
#include "route/route.h"

typedef enum mc_retry_verdict {
    MC_RETRY_NO,       /* not retriable */
    MC_RETRY_YES,      /* go on after mc_retry_wait_ms */
    MC_RETRY_LIMIT,    /* retriable, but num_retries are used up: flag URX */
    MC_RETRY_OVERFLOW, /* retriable, but the circuit breaker refused: flag UO */
} mc_retry_verdict;

/* What it draws on; all borrowed. */
typedef struct mc_retry_context {
    const mc_retry_policy *policy; /* may be NULL */
    const mc_runtime *runtime;     /* may be NULL */
    mc_random *random;
    mc_cluster *cluster;
    mc_rq_priority priority;
    mc_slab *slab;
    mc_loop *loop;            /* its time is that of budgets with an interval; NULL where there are none */
    mc_code_stats *scopes[2]; /* where retries count beside the cluster (RF-46); may be NULL */
} mc_retry_context;

typedef struct mc_retry {
    mc_retry_context with;
    uint32_t on; /* MC_RETRY_ON_* bits; 0: nothing is retried */
    uint32_t remaining;
    mc_backoff backoff;   /* RF-24 */
    uint64_t reset_ms;    /* what the response asked for (RF-25); 0: nothing */
    mc_slice extra_codes; /* x-envoy-retriable-status-codes */
    mc_slice extra_names; /* x-envoy-retriable-header-names */
    bool early_data;      /* the request came as early data */
    bool configured;      /* by policy or headers, even if nothing is retriable; false once stopped */
    bool immediate;       /* the next try does not wait */
    bool asked;           /* it waits as long as the response asked */
    bool charged;         /* holds one of the cluster's retries (CB-8) */
} mc_retry;

/* Reads policy and request headers, whose bytes stay borrowed. */
void mc_retry_init(mc_retry *retry, const mc_retry_context *with, const mc_headers *request);
/* Removes those headers (RF-20), and the one of RF-14: when there is a host to send the request to, so that logs of others still tell them. */
void mc_retry_remove_headers(mc_headers *request);
/* Whether another try may follow, so that the body has to be kept (RF-28). */
static inline bool mc_retry_active(const mc_retry *retry) { return retry->on != 0; }
/* A response's headers, or a try that ended without any; `wall_ms` is the time of day, for RF-25. */
mc_retry_verdict mc_retry_response(mc_retry *retry, uint16_t status, const mc_headers *response, uint64_t wall_ms);
mc_retry_verdict mc_retry_reset(mc_retry *retry, mc_reset_reason reason, bool request_sent);
/* A try is slow, and another one is to start beside it (RF-16). */
mc_retry_verdict mc_retry_hedge(mc_retry *retry);
/* Whether this response would be retried; decides nothing. */
bool mc_retry_wants_response(const mc_retry *retry, uint16_t status, const mc_headers *response);
/* The wait before the try that was granted: full jitter (RF-24), or what the response asked for (RF-25). */
uint64_t mc_retry_wait_ms(mc_retry *retry, mc_random *random);
/* The wait is over: from now on the further try counts. */
void mc_retry_begins(mc_retry *retry);
/* No further tries. */
void mc_retry_stop(mc_retry *retry);

#endif
