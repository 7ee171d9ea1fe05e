/* Latency of a host as a peak-sensitive moving average (rules PE-*): it jumps up to a slow answer at once and comes down over
 * time. The state lives in the host and is shared by all workers; a lost race costs one sample.
 *
 * Times are nanoseconds of the loop's clock. */
#ifndef MC_LB_PEAK_EWMA_H
#define MC_LB_PEAK_EWMA_H

#include "lb/lb.h"

/* PE-3: a host that has no estimate gets the default one, as of now. */
void mc_peak_start(mc_host *host, const mc_peak_config *config, uint64_t now_ns);
/* PE-2: estimate of now times the requests the host would have; reading lets the estimate fall. */
double mc_peak_load(mc_host *host, const mc_peak_config *config, uint64_t now_ns);
/* The estimate of now, nanoseconds, unread. */
double mc_peak_estimate(const mc_host *host, const mc_peak_config *config, uint64_t now_ns);
/* An answer took so long. */
void mc_peak_observe(mc_host *host, const mc_peak_config *config, uint64_t rtt_ns, uint64_t now_ns);

/* PE-7: how an answer counts. */
typedef struct mc_peak_answer {
    uint16_t status;      /* 0: none came */
    int16_t grpc_status;  /* of a response of headers alone; -1: none */
    bool has_retry_after; /* Retry-After, or grpc-retry-pushback-ms */
    uint64_t retry_after_ms;
} mc_peak_answer;

/* Whether the answer counts as the penalty. */
bool mc_peak_is_failure(const mc_peak_config *config, const mc_peak_answer *answer);
/* An answer, or its failure: counts as the penalty, if one is configured. */
void mc_peak_answered(mc_host *host, const mc_peak_config *config, const mc_peak_answer *answer, uint64_t rtt_ns,
                      uint64_t now_ns);

#endif
