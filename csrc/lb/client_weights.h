/* Client-side weighted round robin: weights of hosts from the load reports (ORCA) that come with their answers.
 *
 * Reports are kept in the host as they come, from any worker; the control side turns them into weights once an update period.
 * Times are milliseconds of one clock, above 0. */
#ifndef MC_LB_CLIENT_WEIGHTS_H
#define MC_LB_CLIENT_WEIGHTS_H

#include "lb/lb.h"

/* What a report says that weights are made of. */
typedef struct mc_load_report {
    double rps, eps; /* rps_fractional */
    double application_utilization, cpu_utilization;
    double metric; /* the greatest of metric_names_for_computing_utilization */
} mc_load_report;

/* Requests a second over utilization, errors added to it; false: the report says nothing. */
MC_MUST_CHECK bool mc_load_report_weight(const mc_load_report *report, const mc_client_weights_config *config,
                                         uint32_t *out);

/* Response header `endpoint-load-metrics`: "TEXT name=value, ..." or "JSON {...}". MC_EINVAL: it cannot be read. */
MC_MUST_CHECK mc_status mc_load_report_parse(mc_slice header, const mc_client_weights_config *config,
                                             mc_load_report *out);
/* `endpoint-load-metrics-bin`, or "BIN" in the other: an OrcaLoadReport in base64. */
MC_MUST_CHECK mc_status mc_load_report_parse_binary(mc_slice base64, const mc_client_weights_config *config,
                                                    mc_load_report *out);

/* Any thread. */
void mc_client_weight_report(mc_host *host, uint32_t weight, uint64_t now_ms);

/* Sets the hosts' weights: the reported ones where they are older than the blackout and not expired, elsewhere their median, each
 * priority's own.
 * True when one changed: the membership is to be refreshed. Control side. */
bool mc_client_weights_update(const mc_hosts *hosts, const mc_client_weights_config *config, uint64_t now_ms);

#endif
