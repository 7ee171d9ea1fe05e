/* Downstream: a client's connection, its HTTP/1 codec, and the streams it opens (one at a time, rule H1-12). */
#ifndef MC_PROXY_DOWNSTREAM_H
#define MC_PROXY_DOWNSTREAM_H

#include "proxy/proxy.h"

typedef struct mc_downstream mc_downstream;

/* Where a connection finds the newest configuration: the listener's, replaced on update. The listener outlives its
 * connections' use of it: mc_downstream_orphan when it goes first. */
typedef struct mc_downstream_source {
    mc_hcm_pin *pin;
    void (*on_close)(struct mc_downstream_source *source); /* a connection ended; may be NULL */
    void *ctx;
} mc_downstream_source;

/* Takes over an accepted descriptor. */
MC_MUST_CHECK mc_status mc_downstream_accept(mc_proxy *proxy, mc_downstream_source *source, int fd, const mc_address *peer,
                                             const mc_address *local);
/* The server side of a memory pair, for tests, simulation and benchmarks: `client` becomes the other end. */
MC_MUST_CHECK mc_status mc_downstream_memory(mc_proxy *proxy, mc_downstream_source *source, mc_conn *client, mc_net *client_net,
                                             const mc_conn_events *client_events, const mc_memory_options *options);

#endif
