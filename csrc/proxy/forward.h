/* Hosts that no balancer chooses: a request says which by address (ORIGINAL_DST, rule CL-15) or by name (the dynamic forward proxy,
 * rule CL-17). The router's tries, its shadows and the filter that resolves names ahead share this. */
#ifndef MC_PROXY_FORWARD_H
#define MC_PROXY_FORWARD_H

#include "proxy/stream.h"

/* Who asks. */
typedef struct mc_seeker {
    mc_proxy *proxy;
    mc_arena *arena; /* of what is made on the way */
    const mc_headers *request;
    const mc_value *metadata, *filter_state; /* of the request; NULL: none */
    const mc_address *restored;              /* where its connection was going; NULL: it was not asked */
    const mc_lb_request *lb;                 /* what a sub-cluster's balancer is asked */
} mc_seeker;

/* A search for a host, which may have to wait for its name; zeroed, then `wait.done` set: it comes when the name is known, and the
 * search may go on. Its owner cancels the wait (mc_name_wait_cancel) when it is not interested any more. */
typedef struct mc_seek {
    mc_name_wait wait;
    bool answered;   /* set by the owner when `wait.done` came */
    const char *why; /* there is no host, in the arena or static; NULL: nobody knows better */
} mc_seek;

static inline bool mc_seeks(const mc_upstream *upstream) {
    return MC_UNLIKELY(upstream->cluster->original_dst != NULL || upstream->cluster->forward != NULL);
}
/* Of a cluster that is sought in. Borrowed; NULL: there is none, or (mc_name_waits) not yet. *from as in mc_upstream_choose. */
mc_host *mc_seek_host(mc_seek *seek, const mc_seeker *who, mc_upstream *upstream, mc_upstream **from);
/* The name has no address, as the wait was told. */
void mc_seek_failed(mc_seek *seek, mc_arena *arena, mc_slice details);

/* The key of a request's name; empty: it names none. With `state`, which may be NULL, its objects envoy.upstream.dynamic_host and
 * dynamic_port stand in for the Host header and the port. */
MC_MUST_CHECK mc_status mc_forward_key(const mc_headers *request, const mc_value *state, mc_arena *arena,
                                       mc_slice *key);
/* The name of the sub-cluster of a key; a request that names no host has one too. */
MC_MUST_CHECK mc_status mc_forward_sub_cluster(mc_slice key, mc_arena *arena, mc_slice *name);
/* A worker's view of a cache; NULL: there was no memory for it. */
mc_names *mc_forward_names(const mc_proxy *proxy, mc_slice cache);
/* "dns_resolution_failure{why}" in the arena, without spaces. NULL: out of memory. */
const char *mc_forward_details(mc_arena *arena, mc_slice why);

#endif
