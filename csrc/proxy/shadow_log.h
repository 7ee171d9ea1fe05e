/* What the router's upstream log tells of a copy of the request (RT-55): the records of a try, as of a request that no client
 * made. The copy may outlive the stream, hence this stands alone; it lives in the copy's arena. */
#ifndef MC_PROXY_SHADOW_LOG_H
#define MC_PROXY_SHADOW_LOG_H

#include "proxy/facts.h"
#include "proxy/tracing.h"

typedef struct mc_shadow_log {
    struct mc_hcm_pin *pin; /* referenced until the end */
    struct mc_proxy *proxy;
    const mc_headers *request;
    mc_facts *facts;
    mc_try_facts *told; /* theirs of its one try */
    bool tried;         /* a host was chosen: there is something to tell of */
} mc_shadow_log;

/* NULL: nobody logs tries, or there is no memory. */
mc_shadow_log *mc_shadow_log_new(const struct mc_stream *stream, const mc_headers *request, const mc_cluster *cluster);
/* The copy goes to `host`. */
void mc_shadow_log_try(mc_shadow_log *log, mc_host *host);
/* The milliseconds between records of what lasts; 0: there are none. */
uint64_t mc_shadow_log_interval(const mc_shadow_log *log);
void mc_shadow_log_ready(const mc_shadow_log *log, const mc_span_end *how);
void mc_shadow_log_emit(const mc_shadow_log *log, mc_log_type type, const mc_span_end *how);
/* The last record; the log is gone. */
void mc_shadow_log_end(mc_shadow_log *log, const mc_span_end *how);

#endif
