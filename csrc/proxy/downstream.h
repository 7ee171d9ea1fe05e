/* Downstream: a client's connection, its HTTP/1 codec, and the streams it opens (one at a time, rule H1-12). */
#ifndef MC_PROXY_DOWNSTREAM_H
#define MC_PROXY_DOWNSTREAM_H

#include "proxy/overload.h"
#include "proxy/proxy.h"

typedef struct mc_downstream mc_downstream;

/* Where a connection finds the newest configuration: the listener's side in a worker, replaced in place on an update. It lives
 * until its listener let go and the last connection ended; then on_unused is called. */
typedef struct mc_downstream_source {
    mc_hcm_pin *pin;
    uint32_t connections;
    void (*on_closed)(struct mc_downstream_source *source); /* after each connection's end; may be NULL */
    void *ctx;
    mc_stat cx_total, cx_destroy, cx_active, cx_length_ms; /* the listener's own stats (LIS-23) */
    /* Counts over all workers that its connections are in: the listener's, and all; either may be NULL. */
    _Atomic uint32_t *everywhere[2];
    bool modify_only;      /* failed health is no reason to close its connections */
    mc_overload *overload; /* NULL: nothing is ever asked of it */
} mc_downstream_source;

/* Takes over an accepted descriptor. `restored`: where the client was going (LIS-17), in place of `local`; NULL: nobody asked. */
MC_MUST_CHECK mc_status mc_downstream_accept(mc_proxy *proxy, mc_downstream_source *source, int fd,
                                             const mc_address *peer, const mc_address *local,
                                             const mc_address *restored);
/* The server side of a memory pair, for tests, simulation and benchmarks: `client` becomes the other end. */
MC_MUST_CHECK mc_status mc_downstream_memory(mc_proxy *proxy, mc_downstream_source *source, mc_conn *client,
                                             mc_net *client_net, const mc_conn_events *client_events,
                                             const mc_memory_options *options);

/* Zeroed memory of `size` that lives as long as the connection, one for each `key`; made when first asked for. NULL: out of memory. */
void *mc_downstream_object(mc_downstream *downstream, const void *key, size_t size);

/* Drains the connections of one source: its listener is gone. */
void mc_downstream_drain(mc_proxy *proxy, mc_downstream_source *source);

#endif
